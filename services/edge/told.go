package edge

import (
	"sync"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// toldMost is how many cursors are remembered twice over: some 2 MB where that many have moved.
const toldMost = 8192

// told remembers how far the cursors were that came lately. A fan-out that takes over from another tells again what that one told, and one
// that was paused tells what it still had: so an older cursor may come behind a newer one, and no device is to see a cursor move back.
// Beyond the bound the oldest are forgotten.
type told struct {
	mu     sync.Mutex // guards the following fields
	seqs   map[cursorOf]chat.Seq
	before map[cursorOf]chat.Seq
}

// cursorOf is one of the cursors of a person in a chat. One that only their own devices are told of says nothing to the others.
type cursorOf struct {
	chat               chat.ID
	user               chat.UserID
	delivered, private bool
}

// look tells whose cursor a frame is, and whether it lies behind one that came before it.
func (t *told) look(frame []byte) (whose chat.UserID, behind bool) {
	r, err := wire.DecodeCursor(frame)
	if err != nil {
		return "", false // the devices may know better
	}
	of := cursorOf{chat: r.Chat, user: r.User, delivered: r.Type == wire.TypeDelivered, private: r.Private}
	t.mu.Lock()
	defer t.mu.Unlock()
	last, known := t.seqs[of]
	if !known {
		last = t.before[of]
	}
	if r.Seq < last {
		return r.User, true
	}
	if t.seqs == nil || len(t.seqs) >= toldMost {
		t.seqs, t.before = map[cursorOf]chat.Seq{}, t.seqs
	}
	t.seqs[of] = r.Seq
	return r.User, false
}
