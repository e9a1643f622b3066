package fanout

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// When the last event of a chat is lost between here and an edge, no later one shows the hole. So when a chat falls quiet its
// receivers' edges are told its head, once for each burst of events.

// Times and bounds of telling heads.
const (
	// quiet is how long a chat must have no event before its head is told; headsEvery how often that is looked at.
	quiet      = 4 * time.Second
	headsEvery = time.Second
	// quietChats bounds how many chats wait; for what is beyond it no head is told.
	quietChats = 200_000
	// headsPerFrame bounds one frame.
	headsPerFrame = 500
)

// heads knows the chats that had an event lately.
type heads struct {
	mu   sync.Mutex // guards the following field
	last map[chat.ID]heard
}

type heard struct {
	seq chat.Seq
	at  time.Time
}

// note takes the events that were published.
func (h *heads) note(done map[chat.ID]chat.Seq) {
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	for id, seq := range done {
		if _, there := h.last[id]; there || len(h.last) < quietChats {
			h.last[id] = heard{seq, now}
		}
	}
}

// fallen takes out the chats that fell quiet.
func (h *heads) fallen(now time.Time) map[chat.ID]chat.Seq {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := map[chat.ID]chat.Seq{}
	for id, x := range h.last {
		if now.Sub(x.at) >= quiet {
			out[id] = x.seq
			delete(h.last, id)
		}
	}
	return out
}

// tellHeads tells the heads of chats that fell quiet until ctx ends.
func (s *Server) tellHeads(ctx context.Context) error {
	for bus.Sleep(ctx, headsEvery) == nil {
		frames := map[chat.UserID]map[chat.ID]chat.Seq{}
		fell := s.heads.fallen(time.Now())
		s.c.Log.Warm(ctx, slices.Collect(maps.Keys(fell)))
		for id, seq := range fell {
			snap, err := s.c.Log.Known(ctx, id)
			if err != nil {
				continue // the broker is away: edges read again what they may have missed
			}
			for _, u := range snap.State.ReceiversAt(seq) {
				if frames[u] == nil {
					frames[u] = map[chat.ID]chat.Seq{}
				}
				if len(frames[u]) < headsPerFrame {
					frames[u][id] = seq
				}
			}
		}
		for u, f := range frames {
			if err := s.c.Bus.Conn().Publish(subject.User(u), wire.Encode(wire.Heads{Type: wire.TypeHeads, Heads: f})); err != nil {
				break
			}
		}
	}
	return nil
}
