package local

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// speech makes messages of about 100 bytes of words, the same ones for the same seed.
type speech struct{ *rand.Rand }

func newSpeech(seed uint64) speech { return speech{rand.New(rand.NewPCG(seed, 7))} }

var words = strings.Fields(`the we to and you it is of in that have can tomorrow evening bring table train ticket late again meet where station please thanks
	really kitchen window garden price until Sunday morning coffee already nobody found letter broken bicycle cheaper music weather yellow winter answer`)

func (s speech) text() string {
	var b strings.Builder
	for b.Len() < 95 {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(words[s.IntN(len(words))])
	}
	return b.String()
}

// message is an event as a chat's log has it. The chat began with an event that is none, so n is one less than seq.
func (s speech) message(id chat.ID, seq chat.Seq, sender chat.UserID, stream uint64) store.Entry {
	at := chat.Now()
	e := chat.Event{Type: chat.Message, Chat: id, Seq: seq, N: uint64(seq) - 1, Sender: sender, SentAt: &at, Text: s.text(),
		ClientID: chat.ClientID(fmt.Sprintf("%08x-%04x-7%03x-8%03x-%012x", s.Uint32(), s.Uint32N(1<<16), s.Uint32N(1<<12), s.Uint32N(1<<12), s.Uint64N(1<<48)))}
	return store.Entry{Event: e, Body: wire.Encode(e), Stream: stream}
}

// crowd are chats in which two people each talk in turns, at random. Those of another kind are others, in which the same is said.
type crowd struct {
	speech
	kind string
	seqs []chat.Seq
}

func newCrowd(kind string, chats int) *crowd {
	return &crowd{speech: newSpeech(1), kind: kind, seqs: make([]chat.Seq, chats)}
}

// messages are the next n.
func (c *crowd) messages(n int) []store.Entry {
	events := make([]store.Entry, n)
	for i := range events {
		events[i] = c.next()
	}
	return events
}

// next is somebody's next message.
func (c *crowd) next() store.Entry {
	i := c.IntN(len(c.seqs))
	c.seqs[i]++
	id := chat.ID(fmt.Sprintf("g06h0j8lm5pd2s0%s%07d", c.kind, i))
	sender := chat.UserID(fmt.Sprintf("06h0j8lm5pd2s0%s%06d%d", c.kind, i, c.seqs[i]%2))
	return c.message(id, c.seqs[i]+1, sender, 0)
}
