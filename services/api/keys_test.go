package api

import (
	"context"
	"crypto/ed25519"
	"net/http"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/chatmesh/chatmesh/pkg/auth"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/subject"
)

// another is a further api of the same mesh, with a key that it made itself. stop ends it.
func another(t *testing.T, w *world, node string) (s *Server, stop func()) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	check(t, err)
	signer, err := auth.NewSigner(key, 10*time.Minute)
	check(t, err)
	s, err = New(Config{Bus: w.bus, Log: w.log, Store: w.store, Hasher: w.hasher, Signer: signer, Verifier: auth.NewVerifier(),
		Logger: meshtest.Logger(t), Version: "1.0.0", Node: node})
	check(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	ended := false
	stop = func() {
		if cancel(); !ended {
			ended = true
			check(t, <-done)
		}
	}
	t.Cleanup(stop)
	meshtest.Eventually(t, meshtest.Patience, "the other api is ready", func() bool { return s.Check(t.Context()) == nil })
	return s, stop
}

func as(t *testing.T, token string) *http.Request {
	t.Helper()
	req, err := http.NewRequest("GET", "/v1/users/me", nil)
	check(t, err)
	req.Header.Set("Authorization", "Bearer "+token)
	return req
}

func TestTokensOfAnAPIThatIsGoneStayGoodAndCanBeRefreshedElsewhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.person("ann")
	old, stop := another(t, w, "n2")
	a, err := old.begin(t.Context(), mustUser(t, w, p), "")
	check(t, err)
	g := a.body.(grant)
	stop()
	w.call(g.AccessToken, "GET", "/v1/users/me", nil).want(t, 200, "")
	young, _ := another(t, w, "n2") // it comes back, with another key
	if _, err := young.authenticate(as(t, g.AccessToken)); err != nil {
		t.Errorf("after a restart: got %v; want the token taken", err)
	}
	var next grant
	w.call("", "POST", "/v1/sessions/refresh", map[string]string{"refresh_token": g.RefreshToken}).want(t, 200, "").into(t, &next)
	if _, err := young.authenticate(as(t, next.AccessToken)); err != nil {
		t.Errorf("the new token: got %v; want it taken", err)
	}
	w.call(next.AccessToken, "DELETE", "/v1/sessions/current", nil).want(t, 204, "")
	meshtest.Eventually(t, meshtest.Patience, "the token is refused everywhere", func() bool {
		_, err := young.authenticate(as(t, next.AccessToken))
		return chat.Is(err, chat.Unauthorized)
	})
}

func TestAPublishedKeyOutlivesItsLastTokenAndThenGoes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	kv, err := w.bus.JetStream().Stream(t.Context(), subject.KVStream(subject.Keys))
	check(t, err)
	m, err := kv.GetLastMsgForSubject(t.Context(), subject.KV(subject.Keys, w.signer.KeyID()))
	check(t, err)
	life, err := time.ParseDuration(m.Header.Get(jetstream.MsgTTLHeader))
	check(t, err)
	for _, ttl := range []time.Duration{time.Second, time.Minute, 10 * time.Minute, time.Hour, 24 * time.Hour} {
		// What was published just before the last beat of a node that died has to last for a token made just before it died.
		if left := keyLife(ttl) - keyBeat(ttl); left < ttl+slack {
			t.Errorf("tokens of %v: the key lasts for %v after a beat is missed; want more", ttl, left)
		}
	}
	if want := keyLife(w.signer.TTL()); life != want {
		t.Errorf("got an age of %v; want %v", life, want)
	}
}

func TestNoTokenIsMadeBeforeOthersCanKnowItsKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.person("ann")
	u := mustUser(t, w, p)
	_, key, err := ed25519.GenerateKey(nil)
	check(t, err)
	signer, err := auth.NewSigner(key, 10*time.Minute)
	check(t, err)
	s, err := New(Config{Bus: w.bus, Log: w.log, Store: w.store, Hasher: w.hasher, Signer: signer, Verifier: auth.NewVerifier(),
		Logger: meshtest.Logger(t), Version: "1.0.0", Node: "n2"})
	check(t, err)
	if _, err := s.begin(t.Context(), u, ""); !chat.Is(err, chat.Unavailable) {
		t.Errorf("got %v; want unavailable", err)
	}
	if err := s.Check(t.Context()); err == nil {
		t.Error("it is ready; want it to wait for its key to be published")
	}
}
