package edge

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// ask calls the edge's endpoint for operators.
func (r *rig) ask(action string, over time.Duration) DrainAnswer {
	r.t.Helper()
	var a DrainAnswer
	if err := r.bus.Call(r.t.Context(), subject.DrainEndpoint(r.edge.c.Node), DrainRequest{Action: action, OverMS: over.Milliseconds()}, &a); err != nil {
		r.t.Fatalf("%s: %v", action, err)
	}
	return a
}

// told returns the times that a device was given, and when it has its first.
func (d *device) told() (ms []float64) {
	for _, f := range d.got() {
		if f["type"] == "draining" {
			ms = append(ms, f["reconnect_after_ms"].(float64))
		}
	}
	return ms
}

// refused dials and returns the answer, which is no WebSocket.
func (r *rig) refused() (status int, retryAfter string) {
	r.t.Helper()
	ws, res, err := (&websocket.Dialer{Subprotocols: []string{wire.Subprotocol}}).Dial(r.url, nil)
	if err == nil {
		_ = ws.Close()
		return http.StatusSwitchingProtocols, ""
	}
	if res == nil {
		r.t.Fatalf("dial: %v", err)
	}
	return res.StatusCode, res.Header.Get("Retry-After")
}

func TestADrainTellsEachClientATimeOfItsOwnAndClosesThemOneAfterTheOther(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.another("e2", func(*Config) {})
	const people, over = 40, 6 * time.Second
	closed := make([]time.Time, people)
	var all sync.WaitGroup
	var devices []*device
	for i := range people {
		d := r.connect(chat.UserID(fmt.Sprintf("u%d", i)), nil)
		devices = append(devices, d)
		all.Go(func() { <-d.done; closed[i] = time.Now() })
	}
	began := time.Now()
	a := r.ask(ActionDrain, over)
	if !a.Draining || a.Node != "e1" || a.Capacity != 1000 {
		t.Errorf("got %+v; want that e1 drains", a)
	}
	status, retry := r.refused()
	if status != http.StatusServiceUnavailable || retry == "" {
		t.Errorf("a new connection: got %d, Retry-After %q; want 503 and when", status, retry)
	}
	meshtest.Eventually(t, meshtest.Patience, "the node says so", func() bool {
		v, err := r.bus.Key(t.Context(), subject.Nodes, "edge.e1")
		return err == nil && strings.Contains(string(v), `"draining":true`)
	})
	all.Wait()
	times := map[float64]bool{}
	for i, d := range devices {
		if code := d.closed(); code != wire.CloseDraining {
			t.Errorf("%d: got %d; want %d", i, code, wire.CloseDraining)
		}
		ms := d.told()
		if len(ms) != 1 || ms[0] < 0 || ms[0] > float64(over.Milliseconds()) {
			t.Fatalf("%d: got times %v; want one within %v", i, ms, over)
		}
		times[ms[0]] = true
		// Never before its own time: it would have no connection until then.
		if after := closed[i].Sub(began); after < time.Duration(ms[0])*time.Millisecond {
			t.Errorf("%d: closed after %v; want %v ms", i, after, ms[0])
		}
	}
	slices.SortFunc(closed, time.Time.Compare)
	if len(times) < people/2 || closed[people-1].Sub(closed[0]) < over/4 {
		t.Errorf("got %d different times, the first and the last close %v apart; want them spread", len(times), closed[people-1].Sub(closed[0]))
	}
	meshtest.Eventually(t, meshtest.Patience, "the edge is empty", func() bool { a := r.ask(ActionNone, 0); return a.Connections == 0 && a.Leaving == 0 })
	if a := r.ask(ActionUndo, 0); a.Draining {
		t.Errorf("after undo: got %+v", a)
	}
	r.connect("ben", nil)
}

func TestThatAnEdgeDrainsAndDrainsNoMoreIsToldAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	quickest := time.Hour
	for i := range 8 { // by itself it tells how it stands every 3 s
		drains, began := i%2 == 0, time.Now()
		r.ask(map[bool]string{true: ActionDrain, false: ActionUndo}[drains], time.Hour)
		meshtest.Eventually(t, meshtest.Patience, "the node says so", func() bool {
			v, err := r.bus.Key(t.Context(), subject.Nodes, "edge.e1")
			return err == nil && strings.Contains(string(v), `"draining":true`) == drains
		})
		quickest = min(quickest, time.Since(began))
	}
	if quickest > 2*time.Second {
		t.Errorf("told after %v at best; want it at once", quickest)
	}
}

func TestWhatIsAskedBeforeOnesTimeIsAnsweredAndUndoLetsTheOthersStay(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.group("c1", "ben")
	d := r.connect("ann", nil)
	r.ask(ActionDrain, time.Hour) // so that nobody's time comes
	for n := range 30 {
		d.write(map[string]any{"type": "send", "id": n, "chat": "c1", "client_id": fmt.Sprintf("x%d", n), "text": "t"})
	}
	d.await("last ack", func(f map[string]any) bool { return f["type"] == "ack" && f["id"] == 29.0 })
	if got := r.ask(ActionNone, 0); got.Leaving != 1 || got.Connections != 1 {
		t.Errorf("got %+v; want one that is to leave", got)
	}
	if got := r.ask(ActionUndo, 0); got.Leaving != 0 || got.Draining {
		t.Errorf("got %+v; want none", got)
	}
	r.ask(ActionDrain, time.Millisecond)
	if code := d.closed(); code != wire.CloseDraining {
		t.Errorf("got %d; want %d", code, wire.CloseDraining)
	}
	if got := d.told(); len(got) != 2 {
		t.Errorf("told %d times; want once by each drain", len(got))
	}
}

func TestAFullEdgeRefusesAndTakesTheNextWhenSomebodyHasGone(t *testing.T) {
	t.Parallel()
	r := newRig(t).another("small", func(c *Config) { c.MaxConnections = 3 })
	var devices []*device
	for i := range 3 {
		devices = append(devices, r.connect(chat.UserID(fmt.Sprintf("u%d", i)), nil))
	}
	for range 5 {
		if status, retry := r.refused(); status != http.StatusServiceUnavailable || retry == "" {
			t.Fatalf("got %d, Retry-After %q; want 503 and when", status, retry)
		}
	}
	if res, err := http.Get("http" + strings.TrimPrefix(r.url, "ws")); err != nil || res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("what is no WebSocket: got %v, %v", res, err)
	} else {
		_ = res.Body.Close()
	}
	meshtest.Eventually(t, meshtest.Patience, "the node says that it is full", func() bool {
		v, err := r.bus.Key(t.Context(), subject.Nodes, "edge.small")
		return err == nil && strings.Contains(string(v), `"load":3`) && strings.Contains(string(v), `"capacity":3`)
	})
	_ = devices[0].ws.Close()
	meshtest.Eventually(t, meshtest.Patience, "there is room again", func() bool { return r.edge.Connections() == 2 })
	for range 5 { // an upgrade that fails takes no place
		if res, err := http.Get("http" + strings.TrimPrefix(r.url, "ws")); err != nil || res.StatusCode != http.StatusBadRequest {
			t.Errorf("what is no WebSocket: got %v, %v", res, err)
		} else {
			_ = res.Body.Close()
		}
	}
	r.connect("ben", nil)
	if status, _ := r.refused(); status != http.StatusServiceUnavailable {
		t.Errorf("the fourth: got %d; want 503", status)
	}
}

func TestWhoIsSentAwayStaysOnlineUntilThereWasTimeToArriveElsewhere(t *testing.T) {
	t.Parallel()
	const grace = 10 * time.Second // a busy machine needs some of it to let ben arrive
	r := newRig(t)
	other := r.another("e2", func(*Config) {})
	r = r.another("e3", func(c *Config) { c.MoveGrace = grace })
	var mu sync.Mutex
	keys := map[string]bool{} // of people, by key
	offline := 0
	r.background(func(ctx context.Context) error {
		r.bus.Watch(ctx, subject.Presence, nil, nil, func(k bus.KeyChange) {
			mu.Lock()
			defer mu.Unlock()
			if !strings.HasPrefix(k.Key, "ben.") {
				return
			}
			keys[k.Key] = k.Value != nil
			if !keys["ben.e3"] && !keys["ben.e2"] {
				offline++
			}
		})
		return nil
	})
	has := func(key string, want bool) func() bool {
		return func() bool { mu.Lock(); defer mu.Unlock(); return keys[key] == want }
	}
	d := r.connect("ben", nil)
	meshtest.Eventually(t, meshtest.Patience, "ben is online", has("ben.e3", true))
	r.ask(ActionDrain, 100*time.Millisecond)
	if code := d.closed(); code != wire.CloseDraining {
		t.Fatalf("got %d; want %d", code, wire.CloseDraining)
	}
	left := time.Now()
	meshtest.Eventually(t, meshtest.Patience, "the connection has ended", func() bool { return r.edge.Connections() == 0 })
	other.connect("ben", nil)
	meshtest.Eventually(t, meshtest.Patience, "ben is online elsewhere", has("ben.e2", true))
	meshtest.Eventually(t, meshtest.Patience, "the old key goes", has("ben.e3", false))
	if after := time.Since(left); after < grace/2 { // left is when it was seen
		t.Errorf("the old key went after %v; want %v", after, grace)
	}
	mu.Lock()
	defer mu.Unlock()
	if offline != 0 {
		t.Errorf("went offline %d times; want never", offline)
	}
}

func TestAnEdgeThatStopsMovesItsClientsIfThereIsAnother(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	other := r.another("e2", func(c *Config) { c.Grace = 12 * time.Second })
	meshtest.Eventually(t, meshtest.Patience, "they know each other", func() bool { return other.edge.edges.Elsewhere("e2") })
	var devices []*device
	closed := make([]time.Time, 20)
	var all sync.WaitGroup
	for i := range closed {
		d := other.connect(chat.UserID(fmt.Sprintf("u%d", i)), nil)
		devices = append(devices, d)
		all.Go(func() { <-d.done; closed[i] = time.Now() })
	}
	began := time.Now()
	other.stop()
	took := time.Since(began)
	all.Wait()
	slices.SortFunc(closed, time.Time.Compare)
	t.Logf("closed over %v, stopped after %v", closed[len(closed)-1].Sub(closed[0]), took)
	if spread := closed[len(closed)-1].Sub(closed[0]); spread < time.Second || took > 24*time.Second {
		t.Errorf("closed over %v, stopped after %v; want them spread over 6s and the grace of 12s kept", spread, took)
	}
	for i, d := range devices {
		if code, ms := d.closed(), d.told(); code != wire.CloseDraining || len(ms) != 1 {
			t.Errorf("%d: got %d, told %v; want %d, told once", i, code, ms, wire.CloseDraining)
		}
	}
}

func TestWhatNoOperatorCanMeanIsRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for name, c := range map[string]struct {
		body string
		code chat.Code
	}{
		"no JSON":    {`{`, chat.BadRequest},
		"unknown":    {`{"action":"explode"}`, chat.BadRequest},
		"negative":   {`{"action":"drain","over_ms":-1}`, chat.BadRequest},
		"too long":   {`{"action":"drain","over_ms":3600001}`, chat.BadRequest},
		"overflow":   {`{"action":"drain","over_ms":9223372036854775807}`, chat.BadRequest},
		"alone":      {`{"action":"share"}`, chat.Conflict},
		"no number":  {`{"action":"drain","over_ms":"1"}`, chat.BadRequest},
		"only looks": {``, ""},
	} {
		m, err := r.bus.Conn().Request(subject.DrainEndpoint("e1"), []byte(c.body), meshtest.Patience)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := m.Header.Get(subject.HeaderServiceError); got != string(c.code) {
			t.Errorf("%s: got %q, %s; want %q", name, got, m.Data, c.code)
		}
	}
	if r.edge.hub.shut.Load() {
		t.Error("it drains")
	}
}
