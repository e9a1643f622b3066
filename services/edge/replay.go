package edge

import (
	"context"
	"encoding/json"
	"time"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// Bounds of a replay.
const (
	// replayBefore covers how long a dead connection to the broker may go unnoticed.
	replayBefore = 20 * time.Second
	// replayEvents is how many events of a partition are read again; where there are more, all clients are told to sync.
	replayEvents = 20_000
	replayBytes  = 8 << 20
	replayTime   = 30 * time.Second
)

// replay reads again from the logs what the broker may not have delivered, since the ground was last firm, and hands out what
// the devices do not have. Where that is too much, or cannot be read, it tells them to sync.
func (s *Server) replay(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, replayTime)
	defer cancel()
	since := s.firm().Add(-replayBefore)
	for p := range s.c.Partitions {
		if err := s.replayPartition(ctx, p, since); err != nil {
			s.c.Logger.Warn("what may be lost cannot be read again: clients are told to sync", "partition", p, "error", err)
			frame := wire.Encode(wire.Resync{Type: wire.TypeResync})
			for _, person := range s.hub.people() {
				s.m.resyncs.Inc()
				person.toAll(frame)
			}
			return
		}
	}
	s.m.replays.Inc()
}

func (s *Server) replayPartition(ctx context.Context, p int, since time.Time) error {
	stream, logs := subject.ChatStream(p), subject.Logs(p)
	var msgs []*bus.Msg
	for attempt := 0; ; attempt++ {
		var err error
		if msgs, err = s.c.Bus.Since(ctx, stream, logs, since, replayEvents, replayBytes); err == nil {
			break
		}
		if bus.Sleep(ctx, bus.Backoff(attempt)) != nil {
			return err
		}
	}
	for read := 0; len(msgs) > 0; {
		if read += len(msgs); read > replayEvents {
			return errTooMuch
		}
		for _, m := range msgs {
			if err := s.replayEvent(ctx, m); err != nil {
				return err
			}
		}
		var err error
		if msgs, err = s.c.Bus.From(ctx, stream, logs, msgs[len(msgs)-1].Sequence+1, replayEvents, replayBytes); err != nil {
			return err
		}
	}
	return nil
}

var errTooMuch = chat.Errorf(chat.TooLarge, "more than %d events", replayEvents)

// replayEvent hands an event to those of its receivers who are here. Who has it already does not get it again.
func (s *Server) replayEvent(ctx context.Context, m *bus.Msg) error {
	h, err := wire.Peek(m.Data)
	if err != nil || h.Seq == 0 {
		return nil // poison: put aside by the workers
	}
	snap, err := s.c.Log.Known(ctx, h.Chat)
	if err == nil && snap.Head.Seq < h.Seq {
		snap, err = s.c.Log.Snapshot(ctx, h.Chat)
	}
	if err != nil {
		return err
	}
	for _, u := range snap.State.ReceiversAt(h.Seq) {
		if p := s.hub.person(u); p != nil {
			p.event(frame{chat: h.Chat, seq: h.Seq, data: m.Data, stream: m.Sequence})
		}
	}
	return nil
}

// compare checks the heads of chats that fell quiet against what was handed out, and repairs what is behind.
func (p *person) compare(data []byte) {
	var f wire.Heads
	if err := json.Unmarshal(data, &f); err != nil {
		p.s.c.Logger.Error("heads are damaged", "error", err)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, seq := range f.Heads {
		last, known := p.last[id]
		switch {
		case p.holes[id] != nil || known && last >= seq:
		case known:
			p.open(id, last, &hole{upTo: seq})
		case time.Since(p.since) > headsAge:
			// They were here when it came, and got nothing of this chat before: what they miss is not known.
			if p.last == nil {
				p.last = map[chat.ID]chat.Seq{}
			}
			p.last[id] = seq
			p.resync(id)
		}
	}
}

// headsAge is longer than a head is old when the edges are told of it.
const headsAge = 15 * time.Second
