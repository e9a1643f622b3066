package edge

import (
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/chatmesh/chatmesh/docs"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/doctest"
	"github.com/chatmesh/chatmesh/pkg/limit"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// limits is a table of limits whose time the test moves.
type limits struct{ ns atomic.Int64 }

func (l *limits) now() time.Time { return time.Unix(1_800_000_000, l.ns.Load()) }

// advance lets as much time pass as a refusal asks for.
func (l *limits) advance(t testing.TB, refusal map[string]any) {
	t.Helper()
	ms, _ := refusal["retry_after_ms"].(float64)
	if refusal["code"] != string(chat.RateLimited) || ms <= 0 {
		t.Fatalf("got %v; want rate_limited with retry_after_ms", refusal)
	}
	l.ns.Add(int64(ms * float64(time.Millisecond)))
}

// newLimitedRig is newRig whose edge has limits other than those by default.
func newLimitedRig(t *testing.T, entries ...string) (*rig, *limits) {
	t.Helper()
	rules, err := limit.ParseRules(entries)
	if err != nil {
		t.Fatal(err)
	}
	l := &limits{}
	r := newRig(t).another("e2", func(c *Config) {
		c.Limits, c.TrustedProxies = limit.NewTable(rules, l.now), []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
	return r, l
}

// answer waits for the answer to the request with an id.
func (d *device) answer(id string) map[string]any {
	d.t.Helper()
	return d.await("the answer to "+id, func(f map[string]any) bool { return f["id"] == id })
}

func send(id string) map[string]any {
	return map[string]any{"type": "send", "id": id, "chat": "c1", "client_id": id, "text": "x"}
}

func TestEveryFrameOfAClientIsOfALimitedKind(t *testing.T) {
	d := doctest.Parse(t, docs.AsyncAPI())
	var types []string
	for _, m := range d.Messages("hearClients") {
		types = append(types, d.TypeOf(m))
	}
	for _, frame := range types {
		if kinds[frame] == "" {
			t.Errorf("%s has no kind", frame)
		}
	}
	for frame, kind := range kinds {
		if !slices.Contains(limit.Kinds(), kind) {
			t.Errorf("%s is of kind %q, which there is not", frame, kind)
		}
	}
}

func TestWhoFloodsIsRefusedUntilTheTimeToldAndHarmsNobody(t *testing.T) {
	t.Parallel()
	r, clock := newLimitedRig(t, "send=1/m:5")
	r.group("c1", "ben")
	ann, ben := r.connect("ann", nil), r.connect("ben", nil)
	for i := range 20 {
		ann.write(send("m" + string(rune('a'+i))))
	}
	refused := ann.answer("mt")
	for i := range 20 {
		want := "ack"
		if i >= 5 {
			want = "error"
		}
		if f := ann.answer("m" + string(rune('a'+i))); f["type"] != want {
			t.Errorf("message %d: got %v; want %s", i, f, want)
		}
	}
	ben.write(send("b"))
	if f := ben.answer("b"); f["type"] != "ack" {
		t.Errorf("somebody else: got %v; want it sent", f)
	}
	ann.write(map[string]any{"type": "sync", "id": "s", "chat": "c1", "after": 0})
	if f := ann.answer("s"); f["type"] != "page" {
		t.Errorf("another kind: got %v; want a page", f)
	}
	clock.advance(t, refused)
	ann.write(send("again"))
	if f := ann.answer("again"); f["type"] != "ack" {
		t.Errorf("after the time told: got %v; want it sent", f)
	}
}

func TestEveryFrameIsRefusedWhereItsKindIsUsedUp(t *testing.T) {
	t.Parallel()
	var entries []string
	for kind, rates := range limit.DefaultRules().Rates {
		if _, ok := rates[limit.Person]; ok {
			entries = append(entries, string(kind)+"=1/d:1")
		}
	}
	r, _ := newLimitedRig(t, append(entries, "ping.session=1/d:1")...)
	r.group("c1", "ben")
	ann, ben := r.connect("ann", nil), r.connect("ben", nil)
	for frame, kind := range kinds {
		if frame == wire.TypeHello || frame == wire.TypeTyping {
			continue
		}
		// Some kinds have several frames: the first of them uses it up.
		_ = r.edge.c.Limits.Allow(limit.Who{Person: "ann", Session: "s-ann"}, kind)
		ann.write(map[string]any{"type": frame, "id": "2-" + frame, "chat": "c1", "seq": 1})
		if a := ann.answer("2-" + frame); a["code"] != string(chat.RateLimited) || a["retry_after_ms"] == nil {
			t.Errorf("%s: got %v; want it refused with the time to wait", frame, a)
		}
	}
	for _, id := range []string{"t1", "t2"} {
		ann.write(map[string]any{"type": "typing", "id": id, "chat": "c1"})
		if a := ann.answer(id); a["type"] != "ack" {
			t.Errorf("got %v; want too much typing dropped without a word", a)
		}
	}
	r.deliver("ben", r.say("c1", 1))
	ben.await("the message", func(f map[string]any) bool { return f["type"] == "message" })
	n := 0
	for _, f := range ben.got() {
		if f["type"] == "typing" {
			n++
		}
	}
	if n != 1 {
		t.Errorf("ben was told of typing %d times; want once", n)
	}
}

func TestOneConnectionTooManyIsRefusedAndThoseThatAreThereStay(t *testing.T) {
	t.Parallel()
	r, _ := newLimitedRig(t, "connections=2")
	first, second := r.connect("ann", nil), r.connect("ann", nil)
	tooMany := func() {
		t.Helper()
		d := r.dial().listen()
		d.write(map[string]any{"type": "hello", "id": "h", "token": r.token("ann", "s-3")})
		if f := d.answer("h"); f["code"] != string(chat.RateLimited) || f["retry_after_ms"] == nil {
			t.Errorf("got %v; want rate_limited with a time to wait", f)
		}
		if got := d.closed(); got != wire.CloseLimited {
			t.Errorf("got close code %d; want %d", got, wire.CloseLimited)
		}
	}
	tooMany()
	r.connect("ben", nil)
	for _, d := range []*device{first, second} {
		d.write(map[string]any{"type": "ping", "id": "p"})
		d.answer("p")
	}
	// Who goes makes room.
	if err := second.ws.Close(); err != nil {
		t.Fatal(err)
	}
	meshtest.Eventually(t, meshtest.Patience, "the second is gone", func() bool {
		p := r.edge.hub.person("ann")
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.conns) == 1
	})
	third := r.connect("ann", nil)
	tooMany()
	// One that was pinged and did not answer makes room before it is given up.
	p := r.edge.hub.person("ann")
	p.mu.Lock()
	p.conns[0].read.Store(time.Now().Add(-silentAfter - 5*time.Second).Unix())
	p.mu.Unlock()
	r.connect("ann", nil)
	<-first.done
	third.write(map[string]any{"type": "ping", "id": "p"})
	third.answer("p")
}

func TestConnectionsAndHellosAreLimited(t *testing.T) {
	t.Parallel()
	r, clock := newLimitedRig(t, "connect.address=1/m:4", "hello=1/m:1")
	contract := doctest.ParseHTTP(t, docs.OpenAPI())
	dial := func(from string) (*websocket.Conn, *http.Response) {
		t.Helper()
		ws, res, err := websocket.DefaultDialer.Dial(r.url, http.Header{"X-Forwarded-For": {from}})
		if err == nil {
			r.open = append(r.open, ws)
		} else if res == nil {
			t.Fatal(err)
		}
		return ws, res
	}
	for range 4 {
		if _, res := dial("2001:db8:1:2::1"); res.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("got %d; want a WebSocket", res.StatusCode)
		}
	}
	_, res := dial("2001:db8:1:2::99")
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Retry-After") != "60" && res.Header.Get("Retry-After") != "61" ||
		!strings.Contains(string(body), `"retry_after_ms":`) {
		t.Errorf("another address of the same /64: got %d %v %s, %v; want 429 with the time to wait", res.StatusCode, res.Header, body, err)
	}
	req, err := http.NewRequestWithContext(t.Context(), "GET", "http"+strings.TrimPrefix(r.url, "ws"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := contract.CheckAnswer(req, res.StatusCode, res.Header, body); err != nil {
		t.Errorf("%s: %v", body, err)
	}
	if _, res := dial("2001:db8:1:3::1"); res.StatusCode != http.StatusSwitchingProtocols {
		t.Errorf("another /64: got %d; want a WebSocket", res.StatusCode)
	}
	r.connect("ann", nil)
	again := func() *device {
		d := r.dial().listen()
		d.write(map[string]any{"type": "hello", "id": "h", "token": r.token("ann", "s-2")})
		return d
	}
	d := again()
	refused := d.answer("h")
	if got := d.closed(); got != wire.CloseLimited {
		t.Errorf("got close code %d; want %d", got, wire.CloseLimited)
	}
	clock.advance(t, refused)
	again().await("welcome", func(f map[string]any) bool { return f["type"] == "welcome" })
}

func TestPollsAreCountedAndSoAreStrangersWhoPoll(t *testing.T) {
	t.Parallel()
	r, _ := newLimitedRig(t, "poll=1/d:2", "open.address=1/d:2")
	stranger, ann, ben := r.poller("eve"), r.poller("ann"), r.poller("ben")
	stranger.token = "nonsense"
	for _, c := range []struct {
		who    *poller
		path   string
		status int
	}{
		{stranger, "/poll?wait=0s", 401}, {stranger, "/events", 401}, {stranger, "/poll?wait=0s", 429},
		{ann, "/poll?wait=0s", 200}, {ann, "/poll?wait=0s", 200}, {ann, "/poll?wait=0s", 429}, {ann, "/events", 429},
		{ben, "/poll?wait=0s", 200},
	} {
		if status, body := c.who.get(r, c.path); status != c.status {
			t.Errorf("%s: got %d %s; want %d", c.path, status, body, c.status)
		}
	}
}

func TestAllConnectionsOfAPersonTogetherWatchABoundedNumberOfPeople(t *testing.T) {
	t.Parallel()
	base := newRig(t)
	for _, u := range []chat.UserID{"a", "b", "c", "d", "e"} {
		base.shares[u] = true
	}
	rules, err := limit.ParseRules([]string{"watched=3"})
	if err != nil {
		t.Fatal(err)
	}
	r := base.another("e2", func(c *Config) { c.Limits = limit.NewTable(rules, nil) })
	one, two := r.connect("ann", nil), r.connect("ann", nil)
	watch := func(d *device, id string, users ...string) map[string]any {
		d.write(map[string]any{"type": "watch", "id": id, "users": users})
		return d.answer(id)
	}
	if f := watch(one, "1", "a", "b"); f["type"] != "presence" {
		t.Fatalf("got %v; want both watched", f)
	}
	if f := watch(two, "2", "c"); f["type"] != "presence" {
		t.Fatalf("got %v; want the third watched", f)
	}
	if f := watch(two, "3", "c"); f["type"] != "presence" {
		t.Errorf("got %v; want who is watched already to cost nothing", f)
	}
	if f := watch(two, "4", "d"); f["code"] != string(chat.BadRequest) {
		t.Errorf("got %v; want the fourth refused", f)
	}
	if f := watch(r.connect("ben", nil), "5", "d", "e"); f["type"] != "presence" {
		t.Errorf("got %v; want somebody else to have their own", f)
	}
	if f := watch(one, "6"); f["type"] != "ack" {
		t.Errorf("got %v; want all forgotten", f)
	}
	if f := watch(two, "7", "d", "e"); f["type"] != "presence" {
		t.Errorf("got %v; want room for two", f)
	}
	if err := two.ws.Close(); err != nil {
		t.Fatal(err)
	}
	meshtest.Eventually(t, meshtest.Patience, "what the second watched is given back", func() bool {
		r.edge.watchers.mu.Lock()
		defer r.edge.watchers.mu.Unlock()
		return r.edge.watchers.of["ann"] == 0
	})
}
