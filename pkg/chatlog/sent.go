package chatlog

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"sync/atomic"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// A message that is sent again is to get the seq of the first time, however late. The broker knows the ids of the last
// minutes, the tail and the store those of all time; but to ask the store for every message would cost more than the append.
// So the cache of a chat holds the ids that it has seen pass, without a gap up to the head, and of each sender who writes here
// those from before, read once. An id that is not among them was never sent: most messages cost a look into a set. One
// that is among them is looked for exactly, in the store and the tail.

// ID is a message id as the cache holds it: the first 8 of its 18 bytes. Two that are the same by chance cost a look-up.
type ID uint64

// IDOf is the id of a message.
func IDOf(chat chat.ID, sender chat.UserID, client chat.ClientID) ID {
	return shortID(messageID(chat, sender, client))
}

// shortID cuts the id under which the broker knows a message; zero where it is none.
func shortID(key string) ID {
	var b [idBytes]byte
	if len(key) != base64.RawURLEncoding.EncodedLen(idBytes) {
		return 0
	}
	if n, err := base64.RawURLEncoding.Decode(b[:], []byte(key)); err != nil || n != idBytes {
		return 0
	}
	return ID(binary.BigEndian.Uint64(b[:]))
}

// idBytes is how much of the digest a message id is.
const idBytes = 18

// messageID is the id under which the broker recognizes a message sent twice. The chat is part of it, because the id is
// looked up across the whole stream.
func messageID(id chat.ID, sender chat.UserID, client chat.ClientID) string {
	b := make([]byte, 0, 3*chat.MaxID)
	b = append(b, id...)
	b = append(b, '\n')
	b = append(b, sender...)
	b = append(b, '\n')
	b = append(b, client...)
	sum := sha256.Sum256(b)
	return base64.RawURLEncoding.EncodeToString(sum[:idBytes])
}

// Sent are the ids of all messages that a person has sent to a chat, up to at least the event UpTo. Without Complete there are
// too many to list: then each is looked for.
type Sent struct {
	IDs      []ID
	UpTo     chat.Seq
	Complete bool
}

// MaxSent is how many ids of one person in one chat are listed at most.
const MaxSent = 20_000

// Bounds of the ids in the cache: of one chat, and of all (about 40 bytes each). A chat that would go beyond forgets its own and
// reads them again when they are needed.
const (
	maxPassed = 4 * MaxSent
	maxIDs    = 4_000_000
)

// passed are the ids of messages of one chat: all after the event since up to the head of the entry, and all of the senders in of.
type passed struct {
	total *atomic.Int64 // of all chats; nil where none are held
	since chat.Seq
	// whole says that they are those of all messages that the chat has.
	whole bool
	ids   map[ID]struct{}
	of    map[chat.UserID]struct{}
}

// begin starts anew with what the head of a chat tells. The ids of a chat in which nobody has written yet, or whose first message is its
// last event, are known in full: nobody need be asked.
func (p *passed) begin(h Head) {
	p.forget(h.Seq)
	p.whole = p.total != nil && h.N == 0
	if h.only != 0 && p.total != nil && p.total.Load() < maxIDs {
		p.whole, p.ids = true, map[ID]struct{}{}
		p.put(h.only)
	}
}

// add takes the id of the message at seq, which follows those it has.
func (p *passed) add(id ID, seq chat.Seq) {
	switch {
	case p.total == nil:
		return
	case len(p.ids) >= maxPassed || p.total.Load() >= maxIDs:
		p.forget(seq)
		return
	case p.ids == nil:
		p.ids = map[ID]struct{}{}
	}
	p.put(id)
}

func (p *passed) put(id ID) {
	if _, there := p.ids[id]; !there {
		p.ids[id] = struct{}{}
		p.total.Add(1)
	}
}

// forget drops all; what comes after the event since is taken again.
func (p *passed) forget(since chat.Seq) {
	if p.total != nil {
		p.total.Add(-int64(len(p.ids)))
	}
	p.since, p.whole, p.ids, p.of = since, false, nil, nil
}

type answer int

const (
	unknown answer = iota
	never
	perhaps
)

// ask tells whether a message was sent before, as far as is known.
func (e *entry) ask(sender chat.UserID, id ID) answer {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, ok := e.passed.ids[id]; ok {
		return perhaps
	}
	if _, ok := e.passed.of[sender]; ok || e.passed.whole {
		return never
	}
	return unknown
}

// since is the event behind which the ids of all messages are known.
func (e *entry) since() chat.Seq {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.passed.since
}

// learn takes what a sender has sent from before, and tells whether it closes up with what was seen passing.
func (e *entry) learn(sender chat.UserID, s Sent) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	p := &e.passed
	if p.total == nil || s.UpTo < p.since || len(p.ids)+len(s.IDs) > maxPassed || p.total.Load()+int64(len(s.IDs)) > maxIDs {
		return false
	}
	if e.passed.ids == nil {
		e.passed.ids = map[ID]struct{}{}
	}
	if e.passed.of == nil {
		e.passed.of = map[chat.UserID]struct{}{}
	}
	for _, id := range s.IDs {
		p.put(id)
	}
	e.passed.of[sender] = struct{}{}
	return true
}

// isNew tells whether a message was certainly never sent. It asks Older once for each sender whom it does not know, unless the ids of the
// whole chat are known.
func (l *Log) isNew(ctx context.Context, id chat.ID, sender chat.UserID, key string) bool {
	e, ok := l.cache.Get(id)
	if !ok {
		return false
	}
	short := shortID(key)
	if a := e.ask(sender, short); a != unknown {
		return a == never
	}
	l.m.loads.Inc()
	s, err := l.sent(ctx, Asked{id, sender, e.since()})
	if err != nil || !s.Complete || !e.learn(sender, s) {
		return false
	}
	return e.ask(sender, short) == never
}

// sent asks Older what a person has sent, together with others where it can.
func (l *Log) sent(ctx context.Context, asked Asked) (Sent, error) {
	if l.asks != nil {
		return l.asks.ask(ctx, asked)
	}
	return l.older.Sent(ctx, asked.Chat, asked.Sender, asked.Since)
}
