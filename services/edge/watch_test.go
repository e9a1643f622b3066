package edge

import (
	"testing"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

func (r *rig) share(u chat.UserID, yes bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.shares[u] = yes; !yes {
		delete(r.shares, u)
	}
}

func (r *rig) noWatches(why string) {
	r.t.Helper()
	meshtest.Eventually(r.t, meshtest.Patience, why, func() bool {
		r.edge.watchers.mu.Lock()
		defer r.edge.watchers.mu.Unlock()
		return len(r.edge.watchers.by) == 0
	})
}

func TestAWatchEndsWhenItsPersonMayNotBeSeenAnyMore(t *testing.T) {
	r := newRig(t)
	d := r.connect("ann", nil)
	watch := func(id string) {
		r.share("ben", true)
		d.write(map[string]any{"type": "watch", "id": id, "users": []string{"ben"}})
		d.await("presence of ben", func(f map[string]any) bool { return f["type"] == "presence" && f["id"] == id })
		r.share("ben", false)
	}
	watch("w1")
	if err := r.bus.Conn().Publish(subject.User("ann"), wire.Encode(wire.Recheck{Type: wire.TypeRecheck})); err != nil {
		t.Fatal(err)
	}
	r.noWatches("the watch has ended with a recheck")
	watch("w2")
	at := chat.Now()
	r.deliver("ann", store.Item{Seq: 2, Body: wire.Encode(chat.Event{Type: chat.Changed, Chat: "d1", Seq: 2, Change: chat.Blocked, By: "ben", At: &at})})
	r.noWatches("the watch has ended with a block")
	d.await("the block", func(f map[string]any) bool { return f["change"] == "blocked" })
	for _, f := range d.got() {
		if f["type"] == wire.TypeRecheck {
			t.Errorf("a client is told %v", f)
		}
	}
}
