package api

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// Find returns where a message stands, in the store or behind what the store has. It fails with store.ErrNotFound only where
// it is sure, otherwise with Unavailable. While the store is away it is sure where the log still has the whole chat, and of
// a client id that says itself that it is new.
func (o *Older) Find(ctx context.Context, id chat.ID, sender chat.UserID, client chat.ClientID) (store.Found, error) {
	// The record first: what the store gets after it is found in the tail, what it had before it is found in the store.
	rec, err := o.record(ctx, id)
	if err == nil {
		var f store.Found
		f, err = o.found(ctx, id, sender, client)
		if err == nil {
			return f, nil
		}
	}
	away := !errors.Is(err, store.ErrNotFound)
	if away {
		rec = store.Record{}
	}
	var f store.Found
	var first chat.Seq
	mark := []byte(`"client_id":"` + string(client) + `"`) // stands so in no text: its quotes are escaped
	var bad error
	walked := o.walk(ctx, id, rec.Seq, rec.Stream, tailPage, func(it store.Item) bool {
		if first == 0 {
			first = it.Seq
		}
		if !bytes.Contains(it.Body, mark) {
			return true
		}
		e, err := wire.DecodeEvent(it.Body)
		if err != nil {
			bad = err
			return false
		}
		if e.Type == chat.Message && e.Sender == sender && e.ClientID == client {
			f = store.Found{Seq: e.Seq, SentAt: e.Time()}
			return false
		}
		return true
	})
	switch {
	case walked != nil:
		return store.Found{}, walked
	case bad != nil:
		return store.Found{}, bad
	case f.Seq > 0:
		return f, nil
	case away && first != 1 && !isNew(client, time.Now()):
		return store.Found{}, unavailable("the store cannot be used at the moment", err)
	}
	return store.Found{}, store.ErrNotFound
}

// Sent returns the ids of all that a person has sent to a chat: what the store has, and what is behind it in the log. It is not
// complete where there are more than chatlog.MaxSent, or where the store is away and the log has not the whole chat. Who knows what
// follows the event since needs nothing behind it: then the log is only read where the store does not have that event yet.
func (o *Older) Sent(ctx context.Context, id chat.ID, sender chat.UserID, since chat.Seq) (chatlog.Sent, error) {
	// The record first: what the store gets after it is found in the tail, what it had before it is found in the store.
	rec, err := o.record(ctx, id)
	var clients []chat.ClientID
	if err == nil {
		stored, cancel := context.WithTimeout(ctx, storeTime)
		clients, err = o.history.Sent(stored, id, sender, chatlog.MaxSent)
		cancel()
	}
	if err != nil {
		rec, clients = store.Record{}, nil
	}
	s := chatlog.Sent{IDs: make([]chatlog.ID, 0, len(clients)), UpTo: rec.Seq, Complete: err == nil && len(clients) < chatlog.MaxSent}
	for _, c := range clients {
		s.IDs = append(s.IDs, chatlog.IDOf(id, sender, c))
	}
	if err == nil && since > 0 && rec.Seq >= since {
		return s, nil
	}
	own := []byte(`"sender":"` + string(sender) + `"`) // stands so in no text: its quotes are escaped
	var bad error
	walked := o.walk(ctx, id, rec.Seq, rec.Stream, tailPage, func(it store.Item) bool {
		if err != nil && it.Seq == 1 {
			s.Complete = true // the log has the whole chat
		}
		s.UpTo = it.Seq
		if !bytes.Contains(it.Body, own) {
			return true
		}
		e, err := wire.DecodeEvent(it.Body)
		if err != nil {
			bad = err
			return false
		}
		if e.Type == chat.Message && e.Sender == sender {
			s.IDs = append(s.IDs, chatlog.IDOf(id, sender, e.ClientID))
		}
		s.Complete = s.Complete && len(s.IDs) < chatlog.MaxSent
		return s.Complete
	})
	return s, errors.Join(walked, bad)
}

// found is history.Find within storeTime.
func (o *Older) found(ctx context.Context, id chat.ID, sender chat.UserID, client chat.ClientID) (store.Found, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	return o.history.Find(ctx, id, sender, client)
}

// A client id is new if it was made within newFor, which is far less than the log retains, or by a clock that is fast by
// no more than newSkew.
const (
	newFor  = time.Hour
	newSkew = 5 * time.Minute
)

// isNew tells whether a client id is a UUIDv7, as the SDKs make them, of the last hour: a message with it, if there is one,
// is younger, so that the log's tail has it.
func isNew(client chat.ClientID, now time.Time) bool {
	u, err := uuid.Parse(string(client))
	if err != nil || u.Version() != 7 {
		return false
	}
	made := time.UnixMilli(int64(binary.BigEndian.Uint64(append([]byte{0, 0}, u[:6]...))))
	return made.After(now.Add(-newFor)) && made.Before(now.Add(newSkew))
}
