package api

import (
	"strings"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/pkg/auth"
	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
)

func TestANodeThatStartsBeforeTheBrokerAnswersWhenItComes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.broker.Stop()
	s, err := New(Config{Bus: w.broker.Bus(t), Log: w.log, Store: w.store, Hasher: w.hasher, Signer: w.signer, Verifier: auth.NewVerifier(),
		Logger: meshtest.Logger(t), Version: "1.0.0", Node: "n2"})
	check(t, err)
	w.run(s.Run)
	if err := bus.Sleep(t.Context(), 300*time.Millisecond); err != nil || !chat.Is(s.Check(t.Context()), chat.Unavailable) {
		t.Fatalf("got %v without a broker; want unavailable", s.Check(t.Context()))
	}
	w.broker.Start()
	meshtest.Eventually(t, meshtest.Patience, "the node is ready", func() bool { return s.Check(t.Context()) == nil })
}

func TestWhatIsMissingIsToldAtTheStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	whole := Config{Bus: w.bus, Log: w.log, Store: w.store, Hasher: w.hasher, Signer: w.signer, Verifier: auth.NewVerifier(),
		Logger: meshtest.Logger(t), Version: "1.0.0", Node: "n"}
	if _, err := New(whole); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Config){
		"bus":      func(c *Config) { c.Bus = nil },
		"log":      func(c *Config) { c.Log = nil },
		"store":    func(c *Config) { c.Store = nil },
		"hasher":   func(c *Config) { c.Hasher = nil },
		"signer":   func(c *Config) { c.Signer = nil },
		"verifier": func(c *Config) { c.Verifier = nil },
		"logger":   func(c *Config) { c.Logger = nil },
		"version":  func(c *Config) { c.Version = "" },
		"node":     func(c *Config) { c.Node = "" },
		"timeout":  func(c *Config) { c.Settings.RequestTimeout = -1 },
		"session":  func(c *Config) { c.Settings.RefreshTTL = time.Minute },
		"metrics":  func(c *Config) { c.Metrics = w.registry }, // the names are taken
	} {
		c := whole
		change(&c)
		if _, err := New(c); err == nil || !strings.HasPrefix(err.Error(), "api: ") {
			t.Errorf("%s: got %v; want an error", name, err)
		}
	}
}
