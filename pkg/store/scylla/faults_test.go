package scylla_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/meshtest/cqltest"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/store/scylla"
)

// link is a connection to the server that can be made slow, reset and cut.
type link struct {
	t     *testing.T
	proxy *toxiproxy.Proxy
}

// through returns a link to a server that is up, and options that go through it.
func through(t *testing.T, o scylla.Options) (*link, scylla.Options) {
	t.Helper()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	p := toxiproxy.NewProxy(server, "cql", "127.0.0.1:0", o.Hosts[0])
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	o.Hosts = []string{p.Listen}
	return &link{t, p}, o
}

// cut closes all connections and lets nobody in.
func (l *link) cut() { l.proxy.Stop() }

// mend lets connections in again, on the same port.
func (l *link) mend() {
	l.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		err := l.proxy.Start()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			l.t.Fatalf("the link cannot be mended: %v", err)
		}
	}
}

// poison adds a toxic to what the server says, until the function that it returns is called.
func (l *link) poison(kind, attributes string) (cure func()) {
	l.t.Helper()
	json := fmt.Sprintf(`{"name":%q,"type":%q,"stream":"downstream","attributes":{%s}}`, kind, kind, attributes)
	if _, err := l.proxy.Toxics.AddToxicJson(strings.NewReader(json)); err != nil {
		l.t.Fatal(err)
	}
	return func() {
		l.t.Helper()
		if err := l.proxy.Toxics.RemoveToxic(context.WithoutCancel(l.t.Context()), kind); err != nil {
			l.t.Fatal(err)
		}
	}
}

func TestAStoreStartsWithoutTheClusterAndIsThereWhenItComes(t *testing.T) {
	t.Parallel()
	l, o := through(t, cqltest.Options(t))
	l.cut()
	began := time.Now()
	s, err := scylla.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if took := time.Since(began); took > o.Timeout/2 {
		t.Errorf("Open took %v without a cluster; want it not to wait for one", took)
	}
	wantPing(t, s, scylla.ErrUnreachable, "")
	if _, err := s.Record(t.Context(), "chat"); !errors.Is(err, scylla.ErrUnreachable) {
		t.Errorf("Record: got error %v; want ErrUnreachable", err)
	}
	l.mend()
	cqltest.WaitUsable(t, s)
	if err := s.Write(t.Context(), store.Batch{Events: []store.Entry{message("chat", 1)}}); err != nil {
		t.Errorf("Write: got error %v; want none", err)
	}
}

func TestASlowClusterCostsTheBudgetOfACallAndNoMore(t *testing.T) {
	t.Parallel()
	l, o := through(t, cqltest.Options(t))
	o.Timeout = 2 * time.Second
	s := cqltest.Open(t, o)
	o.Timeout = time.Minute
	patient := cqltest.Open(t, o)
	if err := patient.Write(t.Context(), store.Batch{Events: []store.Entry{message("chat", 1)}}); err != nil {
		t.Fatal(err)
	}
	cure := l.poison("latency", `"latency":200`)
	if items, err := patient.Page(t.Context(), "chat", store.Range{Limit: 50}); err != nil || len(items) != 1 {
		t.Errorf("Page with a latency of 200 ms: got %d events, error %v; want 1", len(items), err)
	}
	cure()
	cure = l.poison("latency", `"latency":60000`)
	began := time.Now()
	_, err := s.Page(t.Context(), "chat", store.Range{Limit: 50})
	if took := time.Since(began); err == nil || took > 30*time.Second {
		t.Errorf("Page with a latency of a minute: got error %v after %v; want one after 2 s", err, took)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began = time.Now()
	if _, err = patient.Record(ctx, "chat"); err == nil || time.Since(began) > 30*time.Second { // its own budget is a minute
		t.Errorf("Record with a context of 100 ms: got error %v after %v; want one at once", err, time.Since(began))
	}
	cure()
	cqltest.WaitUsable(t, s)
	wantEvents(t, s, "chat", 1)
}

// wantEvents waits until a chat has events 1 to n; a call may still fail while the driver comes back.
func wantEvents(t *testing.T, s *scylla.Store, id chat.ID, n int) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		items, err := s.Page(t.Context(), id, store.Range{})
		if err == nil {
			for i, it := range items {
				if it.Seq != chat.Seq(i+1) {
					t.Fatalf("Page: got seq %d at place %d; want no holes", it.Seq, i)
				}
			}
			if len(items) < n {
				t.Fatalf("Page: got %d events; want %d", len(items), n)
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("Page after 2 min: got error %v; want none", err)
		}
	}
}

// writing writes the events of a chat one after the other, each until it is confirmed, as the persister does.
func writing(t *testing.T, s *scylla.Store, id chat.ID) (stop func() (confirmed int)) {
	var confirmed atomic.Int64
	var wg sync.WaitGroup
	end := make(chan struct{})
	wg.Go(func() {
		for seq := chat.Seq(1); ; {
			select {
			case <-end:
				return
			default:
			}
			e := message(id, seq)
			e.Event.ClientID = chat.ClientID(fmt.Sprintf("client-%d", seq))
			if err := s.Write(t.Context(), store.Batch{Events: []store.Entry{e}}); err != nil {
				time.Sleep(20 * time.Millisecond)
				continue
			}
			confirmed.Store(int64(seq))
			seq++
		}
	})
	return func() int { close(end); wg.Wait(); return int(confirmed.Load()) }
}

func TestWhatWasConfirmedIsThereAfterResetsAndOutagesAndNobodyRestartsAnything(t *testing.T) {
	t.Parallel()
	l, o := through(t, cqltest.Options(t))
	o.Timeout = 2 * time.Second
	s := cqltest.Open(t, o)
	stop := writing(t, s, "chat")
	for range 3 {
		time.Sleep(300 * time.Millisecond)
		cure := l.poison("reset_peer", `"timeout":50`)
		time.Sleep(300 * time.Millisecond)
		cure()
		time.Sleep(300 * time.Millisecond)
		l.cut()
		time.Sleep(300 * time.Millisecond)
		l.mend()
	}
	// Away for longer than the store's patience: calls fail at once instead of queueing.
	l.cut()
	wantPing(t, s, scylla.ErrUnreachable, "")
	began := time.Now()
	for range 100 {
		if _, err := s.Record(t.Context(), "chat"); err == nil {
			t.Fatalf("Record without a cluster: got no error; want one")
		}
	}
	if took := time.Since(began); took > 10*o.Timeout { // to wait would take 100 of them
		t.Errorf("100 calls without a cluster took %v; want them to fail at once", took)
	}
	l.mend()
	began = time.Now()
	cqltest.WaitUsable(t, s)
	if took := time.Since(began); took > 30*time.Second { // the driver by itself tries once a minute
		t.Errorf("the store was back after %v; want less than 30 s", took)
	}
	time.Sleep(300 * time.Millisecond)
	n := stop()
	if n < 10 {
		t.Fatalf("the test is weak: %d events were written", n)
	}
	wantEvents(t, s, "chat", n)
	if rec, err := s.Record(t.Context(), "chat"); err != nil || rec.Seq < chat.Seq(n) {
		t.Errorf("Record: got seq %d, error %v; want %d", rec.Seq, err, n)
	}
}

func TestALostAnswerOfALightweightTransactionIsReadAndNotGuessed(t *testing.T) {
	t.Parallel()
	l, o := through(t, cqltest.Options(t))
	s := cqltest.Open(t, o)
	n := store.Session{User: "user", ID: "session", CreatedAt: chat.Now(), ExpiresAt: chat.TimeOf(time.Now().Add(time.Hour))}
	if err := s.CreateSession(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	lost := 0
	for i := range byte(6) {
		// Answers are lost and connections end; meanwhile requests arrive, so that some are done and some are not.
		cure := l.poison("timeout", `"timeout":100`)
		rotated, created := make(chan error, 1), make(chan error, 1)
		next := [32]byte{i + 1}
		u := store.User{ID: chat.UserID(fmt.Sprintf("user-%d", i)), Name: fmt.Sprintf("name_%d", i), CreatedAt: chat.Now()}
		go func() { rotated <- s.RotateSession(t.Context(), n.User, n.ID, n.Refresh, next, n.ExpiresAt.Time) }()
		go func() { created <- s.CreateUser(t.Context(), u) }()
		time.Sleep(time.Duration(100+60*int(i)) * time.Millisecond)
		cure()
		err := <-rotated
		got := n
		eventually(t, "Session", func() (err error) { got, err = s.Session(t.Context(), n.User, n.ID); return err })
		switch {
		case errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrNotFound):
			t.Fatalf("RotateSession in round %d: got error %v; want an answer that is true: nobody else changes anything", i, err)
		case err == nil && got.Refresh != next, got.Refresh != next && got.Refresh != n.Refresh:
			t.Fatalf("Session in round %d: got digest %d; want that of the rotation", i, got.Refresh[0])
		case err != nil:
			lost++
		}
		n.Refresh = got.Refresh
		if err := <-created; errors.Is(err, store.ErrTaken) || errors.Is(err, store.ErrConflict) {
			t.Fatalf("CreateUser in round %d: got error %v; want an answer that is true: nobody else has the name", i, err)
		}
		eventually(t, "CreateUser", func() error { return s.CreateUser(t.Context(), u) })
		if found, err := s.UserByName(t.Context(), u.Name); err != nil || found.ID != u.ID {
			t.Fatalf("UserByName in round %d: got %v, error %v; want %s", i, found.ID, err, u.ID)
		}
	}
	if lost == 6 {
		t.Errorf("every rotation failed; want those that reached the server to be answered")
	}
}

// eventually repeats a call that fails because the driver has not come back yet.
func eventually(t *testing.T, call string, f func() error) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s after 2 min: got error %v; want none", call, err)
		}
	}
}

func TestAnAbsentClusterIsTriedAFewTimesASecondAndNoMore(t *testing.T) {
	t.Parallel()
	// It takes connections and ends them: the fastest way to fail.
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var tried atomic.Int64
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			tried.Add(1)
			_ = c.Close()
		}
	})
	s, err := scylla.Open(cqltest.At(listener.Addr().String()))
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for time.Since(began) < 4*time.Second || tried.Load() < 2 && time.Since(began) < time.Minute {
		time.Sleep(10 * time.Millisecond)
	}
	watch := time.Since(began)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_ = listener.Close()
	wg.Wait()
	if n := tried.Load(); n < 2 || float64(n) > 15*watch.Seconds() {
		t.Errorf("got %d connections in %v; want 2 and at most 15 a second", n, watch)
	}
}

// wrongSecretsAreNamedAndNotShown checks what an operator is told who has set the wrong password or authority.
func wrongSecretsAreNamedAndNotShown(t *testing.T, o scylla.Options) {
	t.Helper()
	o.Log = slog.New(slog.DiscardHandler)
	password, authority, plain := o, o, o
	password.Password, password.PasswordFile = "not-the-secret", ""
	authority.CAFile, authority.TLS = "", true
	plain.CAFile = ""
	for what, tc := range map[string]struct {
		o    scylla.Options
		says string
	}{"the password": {password, "password"}, "the authority": {authority, "certificate"}, "no TLS": {plain, ""}} {
		s, err := scylla.Open(tc.o)
		if err != nil {
			t.Fatal(err)
		}
		wantPing(t, s, scylla.ErrUnreachable, tc.says)
		if err := s.Ping(t.Context()); strings.Contains(fmt.Sprint(err), "not-the-secret") {
			t.Errorf("%s: the error shows the password: %v", what, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestAServerThatStandsStillOrDiesIsFoundAgainWithAllThatItConfirmed(t *testing.T) {
	t.Parallel()
	server := cqltest.StartSecure(t)
	o := server.Options(t)
	wrongSecretsAreNamedAndNotShown(t, o)
	if err := scylla.Migrate(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	o.Timeout = 2 * time.Second
	s, other := cqltest.Open(t, o), cqltest.Open(t, o)
	stop := writing(t, s, "chat")
	time.Sleep(500 * time.Millisecond)
	server.Pause(t)
	began := time.Now()
	if _, err := s.Record(t.Context(), "chat"); err == nil || time.Since(began) > 15*o.Timeout { // nobody answers before it is resumed
		t.Errorf("Record: got error %v after %v; want one within the budget", err, time.Since(began))
	}
	wantPing(t, s, scylla.ErrUnreachable, "")
	if took := time.Since(began); took > time.Minute {
		t.Errorf("that nobody answers is seen after %v; want it within seconds", took)
	}
	began = time.Now()
	if err := other.Close(); err != nil || time.Since(began) > 30*time.Second {
		t.Errorf("Close while nobody answers: got error %v after %v; want none, soon", err, time.Since(began))
	}
	server.Resume(t)
	cqltest.WaitUsable(t, s)
	time.Sleep(500 * time.Millisecond)
	server.Stop(t)
	wantPing(t, s, scylla.ErrUnreachable, "")
	server.Again(t)
	cqltest.WaitUsable(t, s)
	time.Sleep(500 * time.Millisecond)
	n := stop()
	wantEvents(t, s, "chat", n)
	if err := s.Close(); err != nil {
		t.Errorf("Close: got error %v; want none", err)
	}
}
