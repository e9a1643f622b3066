package edge

import (
	"bytes"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// came is what was read of a message on a person's subject.
type came struct {
	data  []byte
	reply string
	head  wire.Head
	// stream is the event's sequence in its partition's stream; zero where it is not known.
	stream uint64
	// foreign says that nobody published it to a person; err is why it is no frame.
	foreign bool
	err     error
	// whose is the person whose cursor it is, empty for all else; stale says that it is behind one that has come before.
	whose chat.UserID
	stale bool
}

// read reads a message, and lets the log know of an event. Of a group, the same message comes for each member who is here, one behind the
// other: it is read once, and its bytes are kept once.
func (s *Server) read(m *nats.Msg, later *pending) came {
	if later == nil || len(m.Header) > 0 {
		return s.readAnew(m)
	}
	if e := &later.last; e.data == nil || m.Reply != e.reply || !bytes.Equal(m.Data, e.data) {
		*e, later.same = s.readAnew(m), 0
	} else {
		later.same++
	}
	return later.last
}

func (s *Server) readAnew(m *nats.Msg) came {
	e := came{data: m.Data, reply: m.Reply}
	id := ""
	if m.Reply == "" { // no event, or one of a fan-out that says it in headers yet
		e.stream, _ = strconv.ParseUint(m.Header.Get(subject.HeaderStream), 10, 64)
		id = m.Header.Get(jetstream.MsgIDHeader)
	} else {
		var event bool
		if e.stream, id, event = subject.EventOf(m.Reply); !event {
			e.foreign = true
			return e
		}
	}
	if e.head, e.err = wire.Peek(m.Data); e.err != nil {
		return e
	}
	if e.head.Type == wire.TypeRead || e.head.Type == wire.TypeDelivered {
		e.whose, e.stale = s.told.look(m.Data)
	}
	if typ := chat.EventType(e.head.Type); typ.Known() {
		s.c.Log.Observe(chatlog.Observed{Chat: e.head.Chat, Type: typ, Seq: e.head.Seq, Stream: e.stream, ID: id, Body: m.Data})
	}
	return e
}
