package chatlog

import (
	"sync/atomic"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// chats are the chats that are remembered. They are bounded by the memory that they take, since one may have two members or a thousand:
// the one used longest ago is forgotten first.
type chats struct {
	*lru.Cache[chat.ID, *entry]
	// room is how many bytes they may take, used how many they do, message ids not counted.
	room int64
	used *atomic.Int64
}

// What a chat takes in the cache, in bytes: measured by BenchmarkCacheMemory.
const (
	chatBytes   = 450
	memberBytes = 104
	// defaultCache is what the cache takes unless Config says otherwise, mostChats how many chats it has at most.
	defaultCache = 64 << 20
	mostChats    = 1 << 20
)

// weigh is about how many bytes a chat with a state takes.
func weigh(s *chat.State) int64 {
	return chatBytes + memberBytes*int64(len(s.Members)+len(s.Left)+len(s.Pins)) + int64(len(s.Title)+len(s.Description))
}

func newChats(room int64, most int) (chats, error) {
	used := new(atomic.Int64)
	c, err := lru.NewWithEvict(most, func(_ chat.ID, e *entry) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.passed.forget(0)
		e.passed.total = nil // whoever still has it adds nothing
		used.Add(-e.weight)
		e.weight, e.used = 0, nil
	})
	return chats{c, room, used}, err
}

// put adds a chat, or returns what is remembered of it by now. It tells how many were forgotten for it.
func (c chats) put(id chat.ID, e *entry) (there *entry, evicted int) {
	e.mu.Lock()
	e.used = c.used
	e.weighAgain()
	e.mu.Unlock()
	there, is, full := c.PeekOrAdd(id, e)
	if is {
		e.mu.Lock()
		c.used.Add(-e.weight)
		e.mu.Unlock()
		return there, 0
	}
	if full {
		evicted++
	}
	for c.used.Load() > c.room && c.Len() > 1 {
		if _, _, ok := c.RemoveOldest(); !ok {
			break
		}
		evicted++
	}
	return nil, evicted
}

// weighAgain counts what the chat takes now. Who calls it holds mu.
func (e *entry) weighAgain() {
	if e.used == nil {
		return // forgotten: it counts no more
	}
	now := weigh(e.snap.State)
	e.used.Add(now - e.weight)
	e.weight = now
}
