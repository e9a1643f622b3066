package bus_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/pki"
)

func TestAConnectionHasTheInboxOfItsRoleWhereItHasAnNKey(t *testing.T) {
	m, _ := broker(t)
	dir := t.TempDir()
	if err := pki.Write(dir, nil, []string{"edge", "api"}, strings.ToUpper); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "api.nk")
	for name, c := range map[string]struct {
		config bus.Config
		want   string
	}{
		"nothing":          {bus.Config{Role: "edge"}, "_INBOX."},
		"a folder":         {bus.Config{Role: "edge", NKey: dir}, "_INBOX_edge."},
		"a file":           {bus.Config{Role: "api", NKey: file}, "_INBOX_api."},
		"a prefix of ours": {bus.Config{Role: "api", NKey: file, Inbox: "a.b"}, "a.b."},
		"only a prefix":    {bus.Config{Inbox: "x"}, "x."},
	} {
		c.config.URL, c.config.Logger = m.ClientURL(), slog.New(slog.DiscardHandler)
		b, err := bus.Connect(c.config)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := b.Conn().NewInbox(); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: got the inbox %s; want it to begin with %s", name, got, c.want)
		}
		b.Close()
	}
}

func TestAnNKeyThatCannotBeReadIsAnErrorAtOnceAndIsNotQuoted(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "edge.nk"), []byte("SUCANARY"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, role := range []string{"edge", "api"} {
		b, err := bus.Connect(bus.Config{URL: "nats://127.0.0.1:1", NKey: dir, Role: role, Logger: slog.New(slog.DiscardHandler)})
		if err == nil {
			b.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "the NKey of "+role) || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%s: got %v; want it refused by name", role, err)
		}
	}
}

// The broker learns of a new key a while after the client has it: the client must not give up meanwhile.
func TestAConnectionThatIsRefusedTriesAgain(t *testing.T) {
	p := meshtest.NewProductionCluster(t, nil)
	c := p.Config("edge")
	stranger := t.TempDir()
	if err := pki.Write(stranger, nil, []string{"edge"}, strings.ToUpper); err != nil {
		t.Fatal(err)
	}
	c.NKey = stranger
	b, err := bus.Connect(c)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	meshtest.Eventually(t, patience, "several refusals", func() bool { return len(p.Violations()) > 8 })
	if b.Check(t.Context()) == nil || b.Conn().IsClosed() {
		t.Fatalf("got the status %v; want it to try on", b.Conn().Status())
	}
}
