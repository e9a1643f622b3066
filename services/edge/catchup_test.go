package edge

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// archive has what the log of some chats has forgotten, as the api would answer for it.
type archive struct {
	noStore
	mu    sync.Mutex // guards the following fields
	down  error
	chats map[chat.ID]store.Record
	items map[chat.ID][]store.Item
}

func newArchive() *archive {
	return &archive{chats: map[chat.ID]store.Record{}, items: map[chat.ID][]store.Item{}}
}

func (a *archive) Record(_ context.Context, id chat.ID) (store.Record, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r, ok := a.chats[id]
	if a.down == nil && !ok {
		return r, store.ErrNotFound
	}
	return r, a.down
}

func (a *archive) Page(_ context.Context, id chat.ID, r store.Range) (chatlog.Page, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var p chatlog.Page
	size := 0
	for _, it := range a.items[id] {
		if it.Seq <= r.After || r.Before > 0 && it.Seq >= r.Before {
			continue
		}
		if size += len(it.Body); len(p.Items) == r.Limit || len(p.Items) > 0 && r.MaxBytes > 0 && size > r.MaxBytes {
			p.More = true
			break
		}
		p.Items = append(p.Items, it)
	}
	if n := len(p.Items); n > 0 {
		p.From, p.To = p.Items[0].Seq, p.Items[n-1].Seq
	}
	return p, a.down
}

// age moves a chat out of the log, as time does.
func (a *archive) age(r *rig, id chat.ID) {
	r.t.Helper()
	ctx := context.Background()
	snap, err := r.log.Snapshot(ctx, id)
	if err != nil {
		r.t.Fatal(err)
	}
	items, err := r.log.After(ctx, id, 0, 0, 100_000, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	p := r.log.Partition(id)
	s, err := r.bus.JetStream().Stream(ctx, subject.ChatStream(p))
	if err == nil {
		err = s.Purge(ctx, jetstream.WithPurgeSubject(subject.LogAndState(p, id)))
	}
	if err != nil {
		r.t.Fatal(err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.items[id] = items
	a.chats[id] = store.Record{Seq: snap.Head.Seq, N: snap.Head.N, At: snap.Head.At, Stream: snap.Head.Stream, State: snap.State}
}

// fill makes chats of ann and ben, and appends messages to each, several chats at a time.
func (r *rig) fill(chats, messages int, text string) []chat.ID {
	r.t.Helper()
	ids := make([]chat.ID, chats)
	var wg sync.WaitGroup
	next := make(chan int)
	for range 64 {
		wg.Go(func() {
			for i := range next {
				id := chat.ID(fmt.Sprintf("c%04d", i))
				_, err := r.log.Append(r.t.Context(), id, chat.Create{By: "ann", Kind: chat.Group, Title: "t", Members: []chat.UserID{"ben"}})
				for n := 0; n < messages && err == nil; n++ {
					_, err = r.log.Append(r.t.Context(), id, chat.Send{Sender: "ann", ClientID: chat.ClientID(fmt.Sprintf("f%d", n)), Text: text})
				}
				if err != nil {
					r.t.Error(err)
				}
			}
		})
	}
	for i := range ids {
		ids[i] = chat.ID(fmt.Sprintf("c%04d", i))
		next <- i
	}
	close(next)
	wg.Wait()
	return ids
}

// hello says hello with a cursor of 1 in each chat, and asks for heads.
func (r *rig) hello(d *device, ids []chat.ID) {
	r.t.Helper()
	cursors := make(map[chat.ID]chat.Seq, len(ids))
	for _, id := range ids {
		cursors[id] = 1
	}
	d.write(map[string]any{"type": "hello", "token": r.token("ben", "s"), "cursors": cursors, "heads": true})
}

// follow is a client: it moves cursors by what comes, and syncs what it is told to and what it sees to be missing. It returns when every
// chat is at want. It fails where a connection brings an event twice or out of order.
func follow(t *testing.T, d *device, cursor map[chat.ID]chat.Seq, want func() map[chat.ID]chat.Seq) (synced int) {
	t.Helper()
	pushed := map[chat.ID]chat.Seq{}
	asked := map[chat.ID]bool{}
	ask := func(id chat.ID) {
		if !asked[id] {
			asked[id], synced = true, synced+1
			d.write(map[string]any{"type": "sync", "id": string(id), "chat": id, "after": cursor[id]})
		}
	}
	at := 0
	meshtest.Eventually(t, meshtest.Patience, "every chat is complete", func() bool {
		d.mu.Lock()
		frames := d.frames[at:]
		at = len(d.frames)
		d.mu.Unlock()
		for _, f := range frames {
			id := chat.ID(fmt.Sprint(f["chat"]))
			switch f["type"] {
			case "message", "chat":
				seq := chat.Seq(f["seq"].(float64))
				if seq <= pushed[id] {
					t.Fatalf("%s: %d came after %d", id, seq, pushed[id])
				}
				if pushed[id] = seq; seq == cursor[id]+1 {
					cursor[id] = seq
				} else if seq > cursor[id] {
					ask(id)
				}
			case "resync":
				if f["chat"] == nil {
					t.Fatal("told to sync everything")
				}
				ask(id)
			case "page":
				asked[id] = false
				for _, e := range f["messages"].([]any) {
					if seq := chat.Seq(e.(map[string]any)["seq"].(float64)); seq == cursor[id]+1 {
						cursor[id] = seq
					} else if seq > cursor[id] {
						t.Fatalf("%s: a page has %d behind %d", id, seq, cursor[id])
					}
				}
				if f["has_more"] == true {
					ask(id)
				}
			case "error":
				t.Fatalf("got %v", f)
			}
		}
		for id, seq := range want() {
			if cursor[id] < seq {
				return false
			}
		}
		return true
	})
	return synced
}

func TestADeviceBackAfterAMonthIn500ChatsGetsHeadsFirstThenPagesAndTheRestOnDemand(t *testing.T) {
	const chats, messages = 500, 20
	old := newArchive()
	r := newRigWith(t, old)
	ids := r.fill(chats, messages, "some text that is as long as people write")
	for _, id := range ids[:50] {
		old.age(r, id)
	}
	// Others go on writing meanwhile.
	var mu sync.Mutex
	want, cursor := map[chat.ID]chat.Seq{}, map[chat.ID]chat.Seq{}
	for _, id := range ids {
		want[id], cursor[id] = messages+1, 1
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		rng := rand.New(rand.NewPCG(3, 4))
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			it := r.say(ids[50+rng.IntN(chats-50)], n)
			mu.Lock()
			h, _ := wire.Peek(it.Body)
			want[h.Chat] = it.Seq
			mu.Unlock()
			r.deliver("ben", it)
		}
	}()
	d := r.dial().listen()
	var most, frames int
	watched, gone := make(chan struct{}), make(chan struct{})
	go func() { // what the edge holds for the connection
		defer close(gone)
		for {
			select {
			case <-watched:
				return
			case <-time.After(time.Millisecond):
			}
			for _, c := range r.edge.hub.all() {
				c.mu.Lock()
				most, frames = max(most, c.outBytes), max(frames, len(c.out))
				c.mu.Unlock()
			}
		}
	}()
	start := time.Now()
	r.hello(d, ids)
	d.await("a page", is("message", ""))
	first := time.Since(start)
	time.AfterFunc(500*time.Millisecond, sync.OnceFunc(func() { close(stop) }))
	synced := follow(t, d, cursor, func() map[chat.ID]chat.Seq {
		select {
		case <-done:
			return want
		default:
			return map[chat.ID]chat.Seq{"not yet": 1}
		}
	})
	close(watched)
	<-gone

	// Heads come before all else, of all chats, in frames that are small.
	heads, events := map[string]any{}, 0
	for _, f := range d.got() {
		switch f["type"] {
		case "heads":
			some := f["heads"].(map[string]any)
			if len(some) > cursorsAtOnce {
				t.Errorf("a frame has %d heads; want at most %d", len(some), cursorsAtOnce)
			}
			for id, h := range some {
				heads[id] = h
			}
		case "message", "chat":
			// What is live of a chat may come as soon as the client has it up to there; these all miss something.
			if events++; len(heads) < chats {
				t.Fatalf("an event came after %d heads; want all %d first", len(heads), chats)
			}
		}
	}
	for id, h := range heads {
		if h := h.(map[string]any); h["seq"].(float64) < messages+1 || h["n"].(float64) != h["seq"].(float64)-1 {
			t.Errorf("%s: got head %v; want at least %d, and one less messages than events", id, h, messages+1)
		}
	}
	if synced < 200 {
		t.Errorf("synced %d times; want that many of 500 chats are left to the client", synced)
	}
	if most > queueLow+readBytes+64<<10 || frames > queueFew+chat.MaxPage+heldFrames {
		t.Errorf("%d bytes in %d frames waited for the connection; want at most about %d", most, frames, queueLow+readBytes)
	}
	t.Logf("first event after %v, all %d chats after %v; %d events pushed, %d times synced; at most %d bytes in %d frames waited",
		first, chats, time.Since(start), events, synced, most, frames)
}

func TestTheChatThatWasActiveLastIsCaughtUpFirst(t *testing.T) {
	r := newRig(t)
	var ids []chat.ID
	for _, n := range []int{3, 1, 4, 0, 2} {
		id := chat.ID(fmt.Sprintf("c%d", n))
		r.group(id, "ben")
		ids = append(ids, id)
	}
	for n := range 5 {
		r.say(chat.ID(fmt.Sprintf("c%d", n)), n)
	}
	d := r.dial().listen()
	r.hello(d, ids)
	d.await("the last", func(f map[string]any) bool { return f["chat"] == "c0" })
	var got []any
	for _, f := range d.got() {
		if f["type"] == "message" {
			got = append(got, f["chat"])
		}
	}
	if fmt.Sprint(got) != "[c4 c3 c2 c1 c0]" {
		t.Errorf("got %v; want the latest first", got)
	}
}

func TestWhatCannotBeToldOfOneChatDoesNotKeepBackTheOthers(t *testing.T) {
	old := newArchive()
	r := newRigWith(t, old)
	ids := r.fill(4, 3, "text")
	old.age(r, ids[0])
	old.mu.Lock()
	old.down = errors.New("the api is away")
	old.mu.Unlock()
	d := r.dial().listen()
	r.hello(d, ids)
	d.await("resync of the chat that only the store has", func(f map[string]any) bool { return f["type"] == "resync" && f["chat"] == string(ids[0]) })
	for _, id := range ids[1:] {
		meshtest.Eventually(t, meshtest.Patience, "the others", func() bool { return slices.Equal(d.seqs(id), upTo(4)[1:]) })
	}
	d.write(map[string]any{"type": "ping", "id": "end"})
	d.await("pong", is("pong", "end"))
	for _, f := range d.got() {
		if f["type"] == "resync" && f["chat"] != string(ids[0]) {
			t.Errorf("got %v; want it for the one chat only", f)
		}
	}
}

func TestCatchUpsBeyondTheBoundWaitForTheirTurnAndAreToldToSyncIfItDoesNotCome(t *testing.T) {
	r := newRig(t)
	ids := r.fill(2, 3, "text")
	for range catchUpsAtOnce {
		r.edge.catchUps <- struct{}{}
	}
	waits := r.dial().listen()
	r.hello(waits, ids)
	waits.await("welcome, at once", is("welcome", ""))
	meshtest.Eventually(t, meshtest.Patience, "a frame that belongs to no catch-up", func() bool {
		r.deliver("ben", store.Item{Body: wire.Encode(wire.Typing{Type: wire.TypeTyping, Chat: ids[0], User: "ann"})})
		return slices.ContainsFunc(waits.got(), is("typing", ""))
	})
	r.deliver("ben", r.say(ids[0], 1))
	<-r.edge.catchUps
	for i, id := range ids {
		meshtest.Eventually(t, meshtest.Patience, "its turn", func() bool { return len(waits.seqs(id)) == 4-i })
		if got := waits.seqs(id); !slices.Equal(got, upTo(5 - i)[1:]) {
			t.Errorf("got %v; want 2 to %d", got, 5-i)
		}
	}
	r.edge.catchUps <- struct{}{}
	never := r.dial().listen()
	r.hello(never, ids)
	for _, id := range ids {
		meshtest.Eventually(t, meshtest.Patience, "resync", func() bool {
			return slices.ContainsFunc(never.got(), func(f map[string]any) bool { return f["type"] == "resync" && f["chat"] == string(id) })
		})
	}
	it := r.say(ids[1], 9)
	r.deliver("ben", it)
	meshtest.Eventually(t, meshtest.Patience, "what is live", func() bool { return slices.Contains(never.seqs(ids[1]), it.Seq) })
}
