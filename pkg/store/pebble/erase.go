package pebble

import (
	"encoding/binary"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
)

// erase puts a stub in the place of an event, unless one of a later deletion is there. What follows from the event follows
// from the stub where the event was not there yet.
func (x *tx) erase(en *store.Entry, key []byte, isNew bool) error {
	e := &en.Event
	before, _, err := x.erased(e.Chat, e.Seq)
	if err != nil || before >= e.Deleted.Seq {
		return err
	}
	there := !isNew
	if there {
		v, err := x.get(key)
		if err != nil {
			return err
		}
		there = v != nil
	}
	x.set(key, bodyOf(en))
	x.set(erasedKey(e.Chat, e.Seq), binary.AppendUvarint(nil, uint64(e.Deleted.Seq)))
	target := e.Seq
	if e.Type == chat.Edited {
		target = e.Target
		_, marked, err := x.erased(e.Chat, target)
		if err != nil {
			return err
		}
		if !marked {
			x.set(erasedKey(e.Chat, target), binary.AppendUvarint(nil, 0))
		}
	}
	if err := x.unmention(e.Chat, target); err != nil {
		return err
	}
	if there {
		x.set(purgeKey(e.Chat, e.Seq), []byte{})
		return nil
	}
	bare := *e
	bare.Mentions = nil
	return x.follow(&bare)
}

// erased returns by which deletion the event at seq was erased, zero where it was not, and whether it is forgotten whom it mentions.
func (x *tx) erased(id chat.ID, seq chat.Seq) (by chat.Seq, marked bool, err error) {
	v, err := x.get(erasedKey(id, seq))
	if err != nil || v == nil {
		return 0, false, err
	}
	f := fields{b: v}
	by = chat.Seq(f.uint())
	return by, true, f.done()
}

// mention makes a message findable for whom it, or an edit of it, mentions.
func (x *tx) mention(e *chat.Event, target chat.Seq) error {
	if len(e.Mentions) == 0 {
		return nil
	}
	if _, marked, err := x.erased(e.Chat, target); err != nil || marked {
		return err
	}
	for _, u := range e.Mentions {
		x.set(mentionKey(u, e.Chat, target), []byte{})
		x.set(mentionedKey(e.Chat, target, u), []byte{})
	}
	return nil
}

// unmention forgets whom a message mentions.
func (x *tx) unmention(id chat.ID, target chat.Seq) error {
	prefix := mentionedPrefix(id, target)
	keys, err := x.keys(prefix)
	for _, k := range keys {
		x.delete([]byte(k))
		x.delete(mentionKey(chat.UserID(k[len(prefix):]), id, target))
	}
	return err
}

// reaction keeps the latest reaction of a person to a message with an emoji.
func (x *tx) reaction(e *chat.Event) error {
	key := reactionKey(e.Chat, e.Target, e.By, e.Emoji)
	v, err := x.get(key)
	if err != nil {
		return err
	}
	if v != nil {
		f := fields{b: v}
		if before := chat.Seq(f.uint()); f.bad || before >= e.Seq {
			return nil
		}
	}
	x.set(key, encodeReaction(e))
	return nil
}

// checkEvent fails with BadRequest where an event has no place in the store.
func checkEvent(e *chat.Event) error {
	if e.Seq == 0 {
		return chat.Errorf(chat.BadRequest, "an event without seq")
	}
	if e.Deleted != nil && e.Deleted.Seq == 0 {
		return chat.Errorf(chat.BadRequest, "a stub does not say which deletion erased it")
	}
	if err := firstError(checkIDs("chat", e.Chat), checkIDs("mention", e.Mentions...)); err != nil {
		return err
	}
	switch {
	case e.Type == chat.Message:
		return firstError(checkIDs("sender", e.Sender), checkIDs("client_id", e.ClientID))
	case e.Type == chat.Edited || e.Type == chat.Reacted:
		if e.Target == 0 {
			return chat.Errorf(chat.BadRequest, "an event that changes a message does not say which")
		}
		if e.Type == chat.Reacted && (e.Emoji == "" || len(e.Emoji) > chat.MaxEmoji) {
			return chat.Errorf(chat.BadRequest, "emoji is empty or longer than %d bytes", chat.MaxEmoji)
		}
		return checkIDs("by", e.By)
	case e.Change == chat.MemberAdded || e.Change == chat.MemberRemoved:
		return checkIDs("user", e.User)
	case e.Change == chat.Created:
		for _, m := range e.Members {
			if err := checkIDs("user", m.UserID); err != nil {
				return err
			}
		}
	}
	return nil
}
