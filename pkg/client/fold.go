package client

import (
	"maps"
	"slices"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// Fold keeps the messages of one chat as they stand, from pages of history and from the events that Next returns, in whatever order both
// come. The zero value is empty. It holds what it was given until it is let go of, and must not be used by several goroutines.
//
// A device that was away reads the newest page, then takes the events of Next: what a page shows already counts once.
type Fold struct {
	fates    chat.Fold
	messages map[chat.Seq]shown
}

// shown is a message with all that became of it up to an event.
type shown struct {
	chat.Folded
	upTo chat.Seq
}

// Event takes an event, as Next or Sync returned it.
func (f *Fold) Event(e *chat.Event) {
	f.fates.Add(e)
	if e.Type == chat.Message {
		f.message(shown{chat.Folded{Event: *e}, e.Seq})
	}
}

// Page takes a page of history.
func (f *Fold) Page(h History) {
	for _, m := range h.Messages {
		if m.Type == chat.Message {
			f.message(shown{m, max(h.FoldedTo, m.Seq)})
		} else {
			f.fates.Add(&m.Event)
		}
	}
}

// message keeps of two states of a message the later one.
func (f *Fold) message(m shown) {
	if f.messages == nil {
		f.messages = map[chat.Seq]shown{}
	}
	had, ok := f.messages[m.Seq]
	if ok && (had.Deleted != nil || had.upTo >= m.upTo && m.Deleted == nil) {
		return
	}
	if m.Reply == nil {
		m.Reply = had.Reply
	}
	f.messages[m.Seq] = m
}

// Message returns a message as it stands, and whether it is known.
func (f *Fold) Message(seq chat.Seq) (chat.Folded, bool) {
	m, ok := f.messages[seq]
	if !ok {
		return chat.Folded{}, false
	}
	out := f.fates.Over(m.Folded, m.upTo)
	if out.Deleted == nil {
		if answered, ok := f.messages[out.ReplyTo]; ok {
			now := f.fates.Over(answered.Folded, answered.upTo)
			out.Reply = now.Shown()
		}
	}
	return out, true
}

// Messages are those that are known, as they stand, ascending by seq.
func (f *Fold) Messages() []chat.Folded {
	out := make([]chat.Folded, 0, len(f.messages))
	for _, seq := range slices.Sorted(maps.Keys(f.messages)) {
		m, _ := f.Message(seq)
		out = append(out, m)
	}
	return out
}
