package api

import (
	"cmp"
	"context"
	"math"
	"net/http"
	"slices"
	"strconv"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// What became of a message, in full: a page shows it in short.

// parseSeq reads a seq as it stands in a path.
func parseSeq(s string) (chat.Seq, bool) {
	n, err := strconv.ParseUint(s, 10, 64)
	return chat.Seq(n), err == nil && n > 0 && n <= math.MaxInt64
}

// seen is target for who only looks at a message: one that the caller has hidden is none.
func (c *call) seen(s *Server) (*target, error) {
	id, seq, err := c.message()
	if err != nil {
		return nil, err
	}
	t, err := s.target(c.ctx, id, seq, c.who.User)
	if err == nil && len(s.hidden(c.ctx, c.who.User, id, span{seq, seq})) > 0 {
		err = errNoMessage
	}
	return t, err
}

// getMessage returns a message as it stands.
func (s *Server) getMessage(c *call) (answer, error) {
	t, err := c.seen(s)
	if err != nil {
		return answer{}, err
	}
	return answer{http.StatusOK, t.message}, nil
}

// version is a text that a message had, from the event at Seq on.
type version struct {
	Seq      chat.Seq      `json:"seq"`
	Text     string        `json:"text"`
	Mentions []chat.UserID `json:"mentions,omitempty"`
	At       chat.Time     `json:"at"`
}

// listing is what of a list is asked for: what follows after, at most limit.
func (c *call) listing() (after chat.Seq, limit int, err error) {
	q, err := c.query()
	if err != nil {
		return 0, 0, err
	}
	n, _, err := number(q, "after")
	if err != nil {
		return 0, 0, err
	}
	limit, err = limitOf(q, defaultPage, chat.MaxPage)
	return chat.Seq(n), limit, err
}

// listed is the message of a call that lists something of it, behind after and at most limit. It fails with errNoMessage also where the
// message was deleted.
func (c *call) listed(s *Server) (t *target, after chat.Seq, limit int, err error) {
	if after, limit, err = c.listing(); err != nil {
		return nil, 0, 0, err
	}
	if t, err = c.seen(s); err == nil && t.message.Deleted != nil {
		err = errNoMessage
	}
	return t, after, limit, err
}

// edits returns the texts that a message had, the first one first and the present one last.
func (s *Server) edits(c *call) (answer, error) {
	t, after, limit, err := c.listed(s)
	if err != nil {
		return answer{}, err
	}
	var seqs []chat.Seq
	for _, seq := range append([]chat.Seq{t.message.Seq}, t.fold.Edits(t.message.Seq)...) {
		if seq > after {
			seqs = append(seqs, seq)
		}
	}
	out := struct {
		Edits   []version `json:"edits"`
		HasMore bool      `json:"has_more"`
	}{Edits: []version{}}
	for size := 0; len(seqs) > 0; {
		n := min(textsAtOnce, len(seqs), limit-len(out.Edits))
		if n == 0 || size > pageBytes {
			out.HasMore = true
			break
		}
		events, err := t.events(c.ctx, seqs[:n], false)
		if err != nil {
			return answer{}, err
		}
		for _, e := range events {
			if e.Deleted != nil {
				return answer{}, errNoMessage // just now
			}
			size += len(e.Text)
			out.Edits = append(out.Edits, version{Seq: e.Seq, Text: e.Text, Mentions: e.Mentions, At: e.Time()})
		}
		seqs = seqs[n:]
	}
	return answer{http.StatusOK, out}, nil
}

// reacted is one reaction that stands.
type reacted struct {
	Seq   chat.Seq    `json:"seq"`
	User  chat.UserID `json:"user_id"`
	Emoji string      `json:"emoji"`
	At    chat.Time   `json:"at"`
}

// reactions returns the reactions to a message that stand, the earliest first.
func (s *Server) reactions(c *call) (answer, error) {
	t, after, limit, err := c.listed(s)
	if err != nil {
		return answer{}, err
	}
	out := struct {
		Reactions []reacted `json:"reactions"`
		HasMore   bool      `json:"has_more"`
	}{Reactions: []reacted{}}
	for _, r := range t.fold.Standing(t.message.Seq) {
		if r.Seq <= after {
			continue
		}
		if len(out.Reactions) == limit {
			out.HasMore = true
			break
		}
		out.Reactions = append(out.Reactions, reacted{Seq: r.Seq, User: r.By, Emoji: r.Emoji, At: r.At})
	}
	return answer{http.StatusOK, out}, nil
}

// messageReceipts says who of those for whom a message was has it on a device, and who has read it.
type messageReceipts struct {
	Seq            chat.Seq      `json:"seq"`
	ReadCount      int           `json:"read_count"`
	DeliveredCount int           `json:"delivered_count"`
	Read           []chat.UserID `json:"read"`
	Delivered      []chat.UserID `json:"delivered"`
}

// receiptsOf returns who has read a message: of the members to whom it went, who still are members and let others know, but for its sender.
func (s *Server) receiptsOf(c *call) (answer, error) {
	t, err := c.seen(s)
	if err != nil {
		return answer{}, err
	}
	cursors, err := s.cursorsOf(c.ctx, t.snap)
	if err != nil {
		return answer{}, err
	}
	tells, err := s.tellsReceipts(c.ctx, t.snap.State, c.who.User)
	if err != nil {
		return answer{}, err
	}
	m := t.message
	out := messageReceipts{Seq: m.Seq, Read: []chat.UserID{}, Delivered: []chat.UserID{}}
	for _, at := range cursors {
		member, _ := t.snap.State.Member(at.User)
		if at.User == m.Sender || member.Since > m.Seq || !tells(at.User) {
			continue
		}
		if at.Seq >= m.Seq {
			out.Read = append(out.Read, at.User)
		}
		if max(at.Seq, at.Delivered) >= m.Seq {
			out.Delivered = append(out.Delivered, at.User)
		}
	}
	out.ReadCount, out.DeliveredCount = len(out.Read), len(out.Delivered)
	return answer{http.StatusOK, out}, nil
}

// pinned is a message that is pinned to its chat, as it stands.
type pinned struct {
	chat.PinnedMessage
	Message chat.Folded `json:"message"`
}

// pins returns the pinned messages of a chat, in the order in which they were pinned, their texts cut as in the list of chats. Those that
// the caller has hidden are left out.
func (s *Server) pins(c *call) (answer, error) {
	id, err := c.chat()
	if err != nil {
		return answer{}, err
	}
	snap, err := s.member(c.ctx, id, c.who.User)
	if err != nil {
		return answer{}, err
	}
	out := struct {
		Pins []pinned `json:"pins"`
	}{Pins: []pinned{}}
	if len(snap.State.Pins) == 0 {
		return answer{http.StatusOK, out}, nil
	}
	p, err := s.fates(c.ctx, snap, firstPinned(snap.State), chat.Fold{}, span{})
	if err != nil {
		return answer{}, underChat(err)
	}
	for some := range slices.Chunk(snap.State.Pins, textsAtOnce) {
		messages, err := s.pinnedMessages(c.ctx, p, c.who.User, some)
		if err != nil {
			return answer{}, underChat(err)
		}
		out.Pins = append(out.Pins, messages...)
	}
	return answer{http.StatusOK, out}, nil
}

func firstPinned(st *chat.State) chat.Seq {
	return slices.MinFunc(st.Pins, func(a, b chat.PinnedMessage) int { return cmp.Compare(a.Seq, b.Seq) }).Seq
}

func (s *Server) pinnedMessages(ctx context.Context, p *fates, viewer chat.UserID, pins []chat.PinnedMessage) ([]pinned, error) {
	seqs, spans := make([]chat.Seq, len(pins)), make([]span, len(pins))
	for i, pin := range pins {
		seqs[i], spans[i] = pin.Seq, span{pin.Seq, pin.Seq}
	}
	events, err := p.events(ctx, seqs, false)
	if err != nil {
		return nil, err
	}
	if err := p.marks(ctx, spans...); err != nil {
		return nil, err
	}
	messages, err := p.folded(ctx, events, false)
	if err != nil {
		return nil, err
	}
	var out []pinned
	for i, m := range messages {
		if m.Deleted == nil && len(s.hidden(ctx, viewer, m.Chat, spans[i])) == 0 {
			m.Text, m.Truncated = chat.Cut(m.Text, previewText)
			out = append(out, pinned{pins[i], m})
		}
	}
	return out, nil
}
