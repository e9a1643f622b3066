package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/chatmesh/chatmesh/pkg/auth"
	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// changed says where a message was changed: Seq is the event that made it as it was wanted, which may have been there before.
type changed struct {
	Chat   chat.ID  `json:"chat"`
	Seq    chat.Seq `json:"seq"`
	Target chat.Seq `json:"target"`
	// SentAt and Duplicate are told of a message that was passed on.
	SentAt    *chat.Time `json:"sent_at,omitempty"`
	Duplicate bool       `json:"duplicate,omitempty"`
}

// staleTries is how often a message is read again because the chat's messages were edited or deleted meanwhile.
const staleTries = 20

// eraseTime is how long erasing may take before the answer; what is left the persister erases.
const eraseTime = 5 * time.Second

// target is a message that somebody wants to change, as it was when the head of the chat was that of fates.
type target struct {
	*fates
	message chat.Folded
	by      chat.UserID
}

// target reads a message for a member who wants to change it. It fails with errNoChat, or with errNoMessage where none stands at seq.
func (s *Server) target(ctx context.Context, id chat.ID, seq chat.Seq, by chat.UserID) (*target, error) {
	snap, err := s.member(ctx, id, by)
	if err != nil {
		return nil, err
	}
	if seq == 0 || seq > snap.Head.Seq {
		return nil, errNoMessage
	}
	p, err := s.fates(ctx, snap, seq, chat.Fold{}, span{})
	if err != nil {
		return nil, underChat(err)
	}
	if max(snap.State.LastEdit, snap.State.LastErasure) > p.to {
		return nil, unavailable("the history is being written", errHole)
	}
	m, err := p.message(ctx, seq)
	return &target{fates: p, message: m, by: by}, err
}

// place is the message as commands name it.
func (t *target) place() chat.Target {
	return chat.Target{Seq: t.message.Seq, Sender: t.message.Sender, Head: t.snap.Head.Seq}
}

// strong tells whether the person may delete the messages of others.
func (t *target) strong() bool {
	m, _ := t.snap.State.Member(t.by)
	return m.Role == chat.Owner || m.Role == chat.Admin
}

// changeMessage does to a message what plan says: append a command or, where it is done already, name the event that did it. The message
// is read again as long as others come first.
func (s *Server) changeMessage(ctx context.Context, id chat.ID, seq chat.Seq, by chat.UserID,
	plan func(*target) (cmd chat.Command, done chat.Seq, err error)) (changed, *target, chatlog.Receipt, error) {
	out := changed{Chat: id, Target: seq}
	for n := range staleTries {
		if n > 0 && bus.Sleep(ctx, bus.Backoff(min(n-1, 4))/10) != nil {
			break
		}
		t, err := s.target(ctx, id, seq, by)
		if err != nil {
			return out, nil, chatlog.Receipt{}, err
		}
		cmd, done, err := plan(t)
		if err != nil || cmd == nil {
			out.Seq = done
			return out, t, chatlog.Receipt{}, err
		}
		r, err := s.log.Append(ctx, id, cmd)
		if errors.Is(err, chat.ErrStale) {
			continue
		}
		if out.Seq = r.Seq; err == nil && r.Seq == 0 { // it was done by others just now
			out.Seq = r.State.Seq
		}
		return out, t, r, underChat(err)
	}
	return out, nil, chatlog.Receipt{}, unavailable("the messages of this chat change all the time", chat.ErrStale)
}

// edit gives a message of the person another text, whose mentions replace those that were.
func (s *Server) edit(ctx context.Context, id chat.ID, seq chat.Seq, by chat.UserID, text string, mentions []chat.UserID) (changed, error) {
	if err := chat.CheckText(text); err != nil {
		return changed{}, err
	}
	out, _, _, err := s.changeMessage(ctx, id, seq, by, func(t *target) (chat.Command, chat.Seq, error) {
		m, edits := t.message, t.fold.Edits(seq)
		switch {
		case m.Deleted != nil:
			return nil, 0, errNoMessage
		case m.Sender != by:
			return nil, 0, chat.Errorf(chat.Forbidden, "only its sender edits a message")
		case m.Forwarded != nil:
			return nil, 0, chat.Errorf(chat.Forbidden, "a message that was passed on is not edited")
		case m.Text == text && slices.Equal(m.Mentions, mentions):
			return nil, slices.Max(append(edits, seq)), nil
		case len(edits) >= chat.MaxEdits:
			return nil, 0, chat.Errorf(chat.Conflict, "a message is edited at most %d times", chat.MaxEdits)
		}
		return chat.Edit{By: by, Target: t.place(), Text: text, Mentions: mentions}, 0, nil
	})
	return out, err
}

// react gives a message an emoji of the person, or takes it back.
func (s *Server) react(ctx context.Context, id chat.ID, seq chat.Seq, by chat.UserID, emoji string, remove bool) (changed, error) {
	if err := chat.CheckEmoji(emoji); err != nil {
		return changed{}, err
	}
	out, _, _, err := s.changeMessage(ctx, id, seq, by, func(t *target) (chat.Command, chat.Seq, error) {
		if t.message.Deleted != nil {
			return nil, 0, errNoMessage
		}
		now := t.fold.Stand(seq, by, emoji)
		if there := now.Seq > 0 && !now.Removed; there != remove {
			return nil, max(now.Seq, seq), nil
		}
		used := map[string]bool{}
		for _, r := range t.fold.Standing(seq) {
			used[r.Emoji] = true
		}
		if !remove && !used[emoji] && len(used) >= chat.MaxReactions {
			return nil, 0, chat.Errorf(chat.Conflict, "a message has at most %d different reactions", chat.MaxReactions)
		}
		return chat.React{By: by, Target: t.place(), Emoji: emoji, Removed: remove}, 0, nil
	})
	return out, err
}

// pin pins a message to its chat, or takes it down.
func (s *Server) pin(ctx context.Context, id chat.ID, seq chat.Seq, by chat.UserID, remove bool) (changed, error) {
	out, _, _, err := s.changeMessage(ctx, id, seq, by, func(t *target) (chat.Command, chat.Seq, error) {
		if t.message.Deleted != nil {
			return nil, 0, errNoMessage
		}
		return chat.Pin{By: by, Target: t.place(), Removed: remove}, 0, nil
	})
	return out, err
}

// delete erases a message for everyone: its text and those of its edits are gone from log and store when it returns, unless one of both
// cannot be reached. Then the persister erases them.
func (s *Server) delete(ctx context.Context, id chat.ID, seq chat.Seq, by chat.UserID) (changed, error) {
	var gone []chat.Event
	out, t, r, err := s.changeMessage(ctx, id, seq, by, func(t *target) (chat.Command, chat.Seq, error) {
		m := t.message
		switch {
		case m.Sender != by && !t.strong():
			return nil, 0, chat.Errorf(chat.Forbidden, "that takes a stronger role")
		case m.Deleted != nil:
			return nil, m.Deleted.Seq, nil
		}
		var err error
		if gone, err = t.events(ctx, append([]chat.Seq{seq}, t.fold.Edits(seq)...), false); err != nil {
			return nil, 0, err
		}
		for i := range gone {
			if gone[i].Deleted != nil { // by somebody else, just now
				return nil, gone[i].Deleted.Seq, nil
			}
			gone[i].Text = "" // nobody needs it any more
		}
		return chat.Delete{By: by, Target: t.place(), Events: gone}, 0, nil
	})
	if err == nil && r.Seq > 0 {
		s.erase(ctx, t.snap.State.Chat, gone, chat.Erasure{Seq: r.Seq, By: by, At: r.SentAt})
	}
	return out, err
}

// erase takes the texts of events out of the log and the store, behind whose deletion stubs stand already. It ends early where one of both
// fails: the persister does the same for every stub that it carries.
func (s *Server) erase(ctx context.Context, id chat.ID, events []chat.Event, d chat.Erasure) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), eraseTime)
	defer cancel()
	seqs := make([]chat.Seq, len(events))
	for i, e := range events {
		seqs[i] = e.Seq
	}
	err := s.log.Scrub(ctx, id, seqs...)
	rec, unstored := s.store.Record(ctx, id)
	if errors.Is(unstored, store.ErrNotFound) {
		unstored = nil
	}
	var b store.Batch
	for _, e := range events {
		if e.Seq <= rec.Seq {
			e = e.Stub(d)
			b.Erased = append(b.Erased, store.Entry{Event: e, Body: wire.Encode(e)})
		}
	}
	if unstored == nil && len(b.Erased) > 0 {
		unstored = s.store.Write(ctx, b)
	}
	if err = errors.Join(err, unstored); err != nil {
		s.logger.Warn("erasing is left to the persister", "events", len(events), "error", err)
	}
}

// message is the chat of the path, and the seq of the message. What is no seq is no message.
func (c *call) message() (chat.ID, chat.Seq, error) {
	id, err := c.chat()
	if err != nil {
		return "", 0, err
	}
	n, ok := parseSeq(c.r.PathValue("seq"))
	if !ok {
		return id, 0, errNoMessage
	}
	return id, n, nil
}

func (s *Server) editMessage(c *call) (answer, error) {
	id, seq, err := c.message()
	if err != nil {
		return answer{}, err
	}
	var in struct {
		Text     string   `json:"text"`
		Mentions []string `json:"mentions"`
	}
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	mentions, err := chat.ParseMentions(in.Mentions)
	if err != nil {
		return answer{}, err
	}
	return did(s.edit(c.ctx, id, seq, c.who.User, in.Text, mentions))
}

// did answers with what was changed.
func did(out changed, err error) (answer, error) { return answer{http.StatusOK, out}, err }

// deleteMessage erases a message for all, or takes it out of the caller's sight.
func (s *Server) deleteMessage(c *call) (answer, error) {
	id, seq, err := c.message()
	if err != nil {
		return answer{}, err
	}
	q, err := c.query()
	if err != nil {
		return answer{}, err
	}
	return did(s.deleteFor(c.ctx, id, seq, c.who.User, q.Get("for")))
}

// deleteFor deletes a message for "all" or for "me".
func (s *Server) deleteFor(ctx context.Context, id chat.ID, seq chat.Seq, by chat.UserID, whom string) (changed, error) {
	switch whom {
	case "all":
		return s.delete(ctx, id, seq, by)
	case "me":
		_, err := s.hide(&call{ctx: ctx, who: auth.Identity{User: by}}, id, seq)
		return changed{Chat: id, Seq: seq, Target: seq}, err
	}
	return changed{}, chat.Errorf(chat.BadRequest, "for is one of all, me")
}

func (s *Server) putReaction(c *call) (answer, error) { return s.reaction(c, false) }

func (s *Server) deleteReaction(c *call) (answer, error) { return s.reaction(c, true) }

func (s *Server) reaction(c *call, remove bool) (answer, error) {
	id, seq, err := c.message()
	if err != nil {
		return answer{}, err
	}
	return did(s.react(c.ctx, id, seq, c.who.User, c.r.PathValue("emoji"), remove))
}

func (s *Server) putPin(c *call) (answer, error) { return s.pinning(c, false) }

func (s *Server) deletePin(c *call) (answer, error) { return s.pinning(c, true) }

func (s *Server) pinning(c *call, remove bool) (answer, error) {
	id, seq, err := c.message()
	if err != nil {
		return answer{}, err
	}
	return did(s.pin(c.ctx, id, seq, c.who.User, remove))
}

// ChangeAnswer names the event that made it so.
type ChangeAnswer = changed

func (s *Server) microChange(ctx context.Context, q wire.ChangeRequest) (any, error) {
	id, err := chat.ParseID(q.Chat)
	if err != nil {
		return nil, err
	}
	user, err := chat.ParseUserID(q.User)
	if err != nil {
		return nil, err
	}
	mentions, err := chat.ParseMentions(q.Mentions)
	if err != nil {
		return nil, err
	}
	var out changed
	switch q.Action {
	case wire.TypeEdit:
		out, err = s.edit(ctx, id, q.Seq, user, q.Text, mentions)
	case wire.TypeDelete:
		out, err = s.deleteFor(ctx, id, q.Seq, user, q.For)
	case wire.TypeReact:
		out, err = s.react(ctx, id, q.Seq, user, q.Emoji, q.Remove)
	case wire.TypePin:
		out, err = s.pin(ctx, id, q.Seq, user, q.Remove)
	case wire.ActionForward:
		var r chatlog.Receipt
		r, err = s.post(ctx, id, user, outgoing{ClientID: q.ClientID, Forward: &Place{Chat: q.From, Seq: q.Seq}})
		out = changed{Chat: id, Seq: r.Seq, Target: q.Seq, SentAt: &r.SentAt, Duplicate: r.Duplicate}
	default:
		err = chat.Errorf(chat.BadRequest, "action is one of edit, delete, react, pin, forward")
	}
	if err != nil {
		return nil, err // no answer beside a refusal
	}
	return out, nil
}
