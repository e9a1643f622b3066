package edge

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/online"
	"github.com/chatmesh/chatmesh/pkg/prefs"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// change is one of a person's key in the bucket of presence.
type change struct {
	there bool
	state online.State
	at    time.Time
}

// keyOf follows the key of a person on an edge and returns what happened to it so far.
func (r *rig) keyOf(key string) func() []change {
	var mu sync.Mutex
	var all []change
	r.background(func(ctx context.Context) error {
		r.bus.Watch(ctx, subject.Presence, nil, nil, func(k bus.KeyChange) {
			mu.Lock()
			defer mu.Unlock()
			if k.Key == key {
				all = append(all, change{k.Value != nil, online.StateOf(k.Value), time.Now()})
			}
		})
		return nil
	})
	return func() []change { mu.Lock(); defer mu.Unlock(); return slices.Clone(all) }
}

// comes waits until the last change of a key is as wanted.
func comes(t *testing.T, what string, key func() []change, there bool, state online.State) {
	t.Helper()
	meshtest.Eventually(t, meshtest.Patience, what, func() bool {
		all := key()
		return len(all) > 0 && all[len(all)-1].there == there && all[len(all)-1].state == state
	})
}

func (r *rig) prefer(user chat.UserID, how func(*prefs.Preferences)) {
	r.t.Helper()
	if _, err := prefs.Change(r.t.Context(), r.bus, user, how); err != nil {
		r.t.Fatal(err)
	}
}

func TestWhoIsInvisibleIsSoFromTheFirstMomentAndSwitchesLive(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	key := r.keyOf("ann.e1")
	r.prefer("ann", func(p *prefs.Preferences) { p.Invisible = true })
	d := r.connect("ann", nil)
	hidden := online.State{Invisible: true}
	comes(t, "ann is there", key, true, hidden)
	if all := key(); len(all) != 1 {
		t.Errorf("got %+v; want nothing said before it was known that ann is invisible", all)
	}
	other := r.connect("ann", nil)
	r.prefer("ann", func(p *prefs.Preferences) { p.Invisible = false })
	comes(t, "ann shows herself", key, true, online.State{})
	r.prefer("ann", func(p *prefs.Preferences) { p.Invisible, p.ReadReceipts = true, false })
	comes(t, "ann hides", key, true, hidden)
	for _, dev := range []*device{d, other} {
		dev.await("both devices are told", func(f map[string]any) bool {
			return f["type"] == "preferences" && f["presence"] == "invisible" && f["read_receipts"] == false && f["typing"] == true
		})
	}
	// Word that comes late changes nothing.
	late := prefs.Preferences{ReadReceipts: true, Typing: true, Revision: 1}
	if err := r.bus.Conn().Publish(subject.User("ann"), wire.Encode(late.Frame())); err != nil {
		t.Fatal(err)
	}
	d.await("the late word", func(f map[string]any) bool { return f["type"] == "preferences" && f["revision"] == 1.0 })
	if p := r.edge.hub.person("ann").preferences(); !p.Invisible || p.ReadReceipts {
		t.Errorf("got %+v; want the later preferences", p)
	}
}

func TestAChangeWhoseWordWasLostIsReadWhenTheEdgeLooksAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	key := r.keyOf("ann.e1")
	r.connect("ann", nil)
	comes(t, "ann is there", key, true, online.State{})
	if err := r.bus.Keep(t.Context(), subject.Preferences, "ann", []byte(`{"read_receipts":true,"typing":true,"invisible":true}`)); err != nil {
		t.Fatal(err)
	}
	r.edge.Lost()
	comes(t, "ann is invisible", key, true, online.State{Invisible: true})
}

func TestSomebodyIsAwayWhenAllDevicesHereAreIdle(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.group("c1")
	r.say("c1", 1)
	key := r.keyOf("ann.e1")
	phone, laptop := r.connect("ann", nil), r.connect("ann", nil)
	away := online.State{Away: true}
	idle := func(d *device, is bool) {
		d.write(map[string]any{"type": "idle", "id": "i", "idle": is})
		d.await("the ack", func(f map[string]any) bool { return f["type"] == "ack" && f["id"] == "i" })
	}
	comes(t, "ann is there", key, true, online.State{})
	idle(phone, true)
	idle(laptop, true)
	comes(t, "ann is away", key, true, away)
	if all := key(); len(all) != 2 {
		t.Errorf("got %+v; want nothing said while one device was in use", all)
	}
	// What a program does by itself wakes nobody.
	for _, f := range []map[string]any{{"type": "ping", "id": "p"}, {"type": "sync", "id": "s", "chat": "c1", "after": 0},
		{"type": "delivered", "id": "d", "chat": "c1", "seq": 2}, {"type": "watch", "id": "w", "users": []string{}}} {
		laptop.write(f)
		laptop.await("an answer", func(g map[string]any) bool { return g["id"] == f["id"] })
	}
	if all := key(); len(all) != 2 {
		t.Errorf("got %+v; want ann away yet", all)
	}
	laptop.write(map[string]any{"type": "read", "id": "r", "chat": "c1", "seq": 2})
	comes(t, "who reads is back", key, true, online.State{})
	idle(laptop, true)
	comes(t, "ann is away again", key, true, away)
	r.connect("ann", nil)
	comes(t, "somebody who connects is there", key, true, online.State{})
	// Without a word a device is idle after a time.
	r.edge.hub.person("ann").doze(time.Now().Add(time.Hour))
	comes(t, "nobody did anything", key, true, away)
	idle(phone, false)
	comes(t, "somebody is at the phone", key, true, online.State{})
	r.edge.hub.person("ann").doze(time.Now().Add(-time.Hour))
	comes(t, "they did something within the time", key, true, online.State{})
}

func TestWhoComesBackWithinTheGraceIsNotSeenToGo(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const grace = 6 * time.Second
	e := r.another("e2", func(c *Config) { c.PresenceGrace = grace })
	key := r.keyOf("ann.e2")
	laptop := e.connect("ann", nil)
	comes(t, "ann is there", key, true, online.State{})
	laptop.write(map[string]any{"type": "idle", "id": "i", "idle": true})
	comes(t, "ann is away", key, true, online.State{Away: true})
	phone := e.connect("ann", nil)
	comes(t, "ann is there again", key, true, online.State{})
	before := len(key())
	vanish := func(d *device) {
		t.Helper()
		n := e.edge.Connections()
		_ = d.ws.NetConn().Close()
		meshtest.Eventually(t, meshtest.Patience, "the connection has ended", func() bool { return e.edge.Connections() == n-1 })
	}
	for range 4 { // a mobile that flaps, for longer than the grace
		vanish(phone)
		phone = e.connect("ann", nil)
		began := time.Now()
		meshtest.Eventually(t, meshtest.Patience, "some time passes", func() bool { return time.Since(began) > grace/3 })
	}
	vanish(laptop)
	vanish(phone)
	phone = e.connect("ann", nil)
	if all := key(); len(all) != before {
		t.Errorf("got %+v; want nothing said of a device that flaps", all[before:])
	}
	vanish(phone)
	gone := time.Now()
	comes(t, "ann has gone", key, false, online.State{})
	if all := key(); all[len(all)-1].at.Sub(gone) < grace/2 {
		t.Errorf("gone after %v; want the grace of %v", all[len(all)-1].at.Sub(gone), grace)
	}
}

func TestWhoLogsOutIsGoneAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	e := r.another("e2", func(c *Config) { c.PresenceGrace = time.Minute })
	key := r.keyOf("ann.e2")
	d := e.connect("ann", nil)
	comes(t, "ann is there", key, true, online.State{})
	if err := r.bus.Keep(t.Context(), subject.Revoked, "s-ann", wire.Encode(map[string]string{"user": "ann"})); err != nil {
		t.Fatal(err)
	}
	if code := d.closed(); code != wire.CloseSessionEnded {
		t.Errorf("got %d; want %d", code, wire.CloseSessionEnded)
	}
	comes(t, "ann has gone", key, false, online.State{})
}

func TestCursorsOfWhoTellsNobodyArePrivateAndOthersAreNotTold(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.group("c1", "ben")
	for i := range 3 {
		r.say("c1", i)
	}
	d := r.connect("ben", nil)
	stored := func(subj string) (c wire.Read) {
		t.Helper()
		msgs, err := r.bus.LastFor(t.Context(), subject.CursorStream(subject.Partition("c1", 2)), subj)
		if err != nil || len(msgs) != 1 {
			t.Fatalf("got %d cursors, %v; want one", len(msgs), err)
		}
		if c, err = wire.DecodeCursor(msgs[0].Data); err != nil {
			t.Fatal(err)
		}
		return c
	}
	mark := func(typ string, seq int) {
		t.Helper()
		d.write(map[string]any{"type": typ, "id": typ + string(rune('0'+seq)), "chat": "c1", "seq": seq})
		d.await("the ack", is("ack", typ+string(rune('0'+seq))))
	}
	p := subject.Partition("c1", 2)
	mark("read", 2)
	if c := stored(subject.Cursor(p, "c1", "ben")); c.Private || c.Seq != 2 {
		t.Errorf("got %+v; want what others are told", c)
	}
	r.prefer("ben", func(p *prefs.Preferences) { p.ReadReceipts = false })
	d.await("the change", func(f map[string]any) bool { return f["type"] == "preferences" })
	mark("read", 3)
	mark("delivered", 4)
	if c := stored(subject.Cursor(p, "c1", "ben")); !c.Private || c.Seq != 3 {
		t.Errorf("got %+v; want a private cursor at 3", c)
	}
	if c := stored(subject.Delivered(p, "c1", "ben")); !c.Private || c.Seq != 4 {
		t.Errorf("got %+v; want a private one at 4", c)
	}
	for _, f := range []any{wire.Read{Type: wire.TypeRead, Chat: "c1", Seq: 4, User: "ann", N: 3}, wire.Delivered{Type: wire.TypeDelivered, Chat: "c1", Seq: 4, User: "ann"},
		wire.Read{Type: wire.TypeRead, Chat: "c1", Seq: 3, User: "ben", N: 2, Private: true}} {
		r.deliver("ben", store.Item{Body: wire.Encode(f)})
	}
	d.await("the own cursor", func(f map[string]any) bool { return f["type"] == "read" && f["user"] == "ben" && f["private"] == true })
	for _, f := range d.got() {
		if f["user"] == "ann" {
			t.Errorf("who tells nobody is told %v", f)
		}
	}
}

func TestTypingExpiresIsPacedTakenBackAndNotToldOfWhoSwitchedItOff(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.group("c1", "ben")
	r.group("c2", "ben")
	ann, ben := r.connect("ann", nil), r.connect("ben", nil)
	says := func(id string, stopped bool) {
		ann.write(map[string]any{"type": "typing", "id": id, "chat": "c1", "stopped": stopped})
		ann.await("the ack", is("ack", id))
	}
	began := time.Now()
	for _, id := range []string{"a", "b", "c", "d", "e"} {
		says(id, false)
	}
	most := 3 + int(time.Since(began)/(2*time.Second)) // two at once, and the end
	says("s", true)
	ann.write(map[string]any{"type": "typing", "chat": "c2"})
	ben.await("another chat", func(f map[string]any) bool { return f["type"] == "typing" && f["chat"] == "c2" })
	var c1 []map[string]any
	for _, f := range ben.got() {
		if f["type"] == "typing" && f["chat"] == "c1" {
			c1 = append(c1, f)
		}
	}
	if len(c1) < 2 || len(c1) > most {
		t.Fatalf("got %v; want at most %d", c1, most)
	}
	first, last := c1[0], c1[len(c1)-1]
	if first["expires_in_ms"] != float64(wire.TypingExpires.Milliseconds()) || first["stopped"] != nil || last["stopped"] != true || last["expires_in_ms"] != nil {
		t.Errorf("got %v first and %v last; want an expiry, then that it is over", first, last)
	}
	r.prefer("ann", func(p *prefs.Preferences) { p.Typing = false })
	ann.await("the change", func(f map[string]any) bool { return f["type"] == "preferences" })
	r.group("c3", "ben")
	ann.write(map[string]any{"type": "typing", "id": "off", "chat": "c3"})
	ann.await("an ack all the same", is("ack", "off"))
	r.deliver("ben", r.say("c3", 1)) // behind it
	ben.await("the message", func(f map[string]any) bool { return f["type"] == "message" && f["chat"] == "c3" })
	for _, f := range ben.got() {
		if f["type"] == "typing" && f["chat"] == "c3" {
			t.Errorf("got %v of somebody who has switched it off", f)
		}
	}
}

func TestOnlyTheOwnDevicesAreToldHowSomebodyInvisibleIs(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.share("ann", true)
	own, other := r.connect("ann", nil), r.connect("ben", nil)
	for _, d := range []*device{own, other} {
		d.write(map[string]any{"type": "watch", "id": "w", "users": []string{"ann"}})
		d.await("the answer", is("presence", "w"))
	}
	tell := func(subj string, p wire.Presence) {
		t.Helper()
		p.Type, p.User = wire.TypePresence, "ann"
		if err := r.bus.Conn().Publish(subj, wire.Encode(p)); err != nil {
			t.Fatal(err)
		}
	}
	tell(subject.PresenceOf("ann"), wire.Presence{State: wire.Offline})
	tell(subject.PresenceOwn("ann"), wire.Presence{Online: true, State: wire.Away, Invisible: true})
	tell(subject.PresenceOf("ann"), wire.Presence{Online: true, State: wire.Online})
	told := func(d *device) (out []string) {
		for _, f := range d.got() {
			if f["type"] == "presence" && f["id"] == nil {
				out = append(out, f["state"].(string))
			}
		}
		return out
	}
	for _, c := range []struct {
		d    *device
		want []string
	}{{own, []string{"away", "online"}}, {other, []string{"offline", "online"}}} {
		c.d.await("the last", func(f map[string]any) bool { return f["type"] == "presence" && f["state"] == "online" })
		if got := told(c.d); !slices.Equal(got, c.want) {
			t.Errorf("got %v; want %v", got, c.want)
		}
	}
	for _, d := range []*device{own, other} {
		d.write(map[string]any{"type": "watch", "id": "none", "users": []string{}})
		d.await("the ack", is("ack", "none"))
	}
	r.edge.watchers.mu.Lock()
	defer r.edge.watchers.mu.Unlock()
	if w := r.edge.watchers; len(w.by) != 0 || w.all != 0 {
		t.Errorf("got %d people watched, %d watches; want none", len(w.by), w.all)
	}
}

func TestOnlyTheLastPartingOfAPersonCounts(t *testing.T) {
	t.Parallel()
	p := partings{last: map[chat.UserID]time.Time{}}
	now := time.Unix(1000, 0)
	at := func(s int) time.Time { return now.Add(time.Duration(s) * time.Second) }
	p.add(parting{user: "ann", at: at(5)})
	p.add(parting{user: "ben", at: at(3), moved: true}) // sent away: an earlier time
	p.add(parting{user: "ann", at: at(8)})
	if next, ok := p.next(); !ok || !next.Equal(at(3)) || p.moved != 1 {
		t.Errorf("got %v, %v, %d moved; want ben first", next, ok, p.moved)
	}
	for _, c := range []struct {
		s    int
		want []chat.UserID
	}{{2, nil}, {4, []chat.UserID{"ben"}}, {6, nil}, {9, []chat.UserID{"ann"}}} {
		if got := p.due(at(c.s)); !slices.Equal(got, c.want) {
			t.Errorf("after %d s: got %v; want %v", c.s, got, c.want)
		}
	}
	if _, ok := p.next(); ok || len(p.last) != 0 || p.moved != 0 {
		t.Errorf("got %+v; want nobody left", p)
	}
	for range partingsMax {
		p.add(parting{user: "cid", at: at(1)})
	}
	if p.add(parting{user: "dan", at: at(1)}) {
		t.Error("a full queue takes one more")
	}
}
