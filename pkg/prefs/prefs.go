// Package prefs keeps what each person lets others learn of them, in the bucket of preferences. It promises that who has said
// nothing has the defaults, that of two changes at once none is lost, and that what cannot be read counts as what tells others
// the least.
package prefs

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// Preferences are those of one person. The zero value tells others the least but that the person is online.
type Preferences struct {
	// ReadReceipts lets others know how far the person has chats and has read them, and the person how far others are.
	ReadReceipts bool
	// Typing lets others know that the person is writing.
	Typing bool
	// Invisible has others see the person offline.
	Invisible bool
	// Revision grows with each change; zero where there was none.
	Revision uint64
}

// Default are the preferences of who has said nothing.
func Default() Preferences { return Preferences{ReadReceipts: true, Typing: true} }

// stored is the value of a key.
type stored struct {
	ReadReceipts bool `json:"read_receipts"`
	Typing       bool `json:"typing"`
	Invisible    bool `json:"invisible"`
}

// decode reads a value. What is none tells others nothing.
func decode(m *bus.Msg) Preferences {
	if len(m.Header.Values("KV-Operation")) > 0 {
		p := Default()
		p.Revision = m.Sequence
		return p
	}
	s := stored{ReadReceipts: true, Typing: true}
	if json.Unmarshal(m.Data, &s) != nil {
		s = stored{Invisible: true}
	}
	return Preferences{ReadReceipts: s.ReadReceipts, Typing: s.Typing, Invisible: s.Invisible, Revision: m.Sequence}
}

// Frame is what the devices and edges of the person are told.
func (p Preferences) Frame() wire.Preferences {
	f := wire.Preferences{Type: wire.TypePreferences, ReadReceipts: p.ReadReceipts, Typing: p.Typing, Presence: wire.Visible, Revision: p.Revision}
	if p.Invisible {
		f.Presence = wire.Invisible
	}
	return f
}

// FromFrame reads what Frame made. It is false for anything else.
func FromFrame(data []byte) (Preferences, bool) {
	var f wire.Preferences
	if json.Unmarshal(data, &f) != nil || f.Type != wire.TypePreferences || f.Revision == 0 {
		return Preferences{}, false
	}
	return Preferences{ReadReceipts: f.ReadReceipts, Typing: f.Typing, Invisible: f.Presence != wire.Visible, Revision: f.Revision}, true
}

// asked is how many people are asked for with one request to the broker.
const asked = 512

// OfOne is Of for one person. Many who ask at once share requests to the broker.
func OfOne(ctx context.Context, b *bus.Bus, user chat.UserID) (Preferences, error) {
	m, err := b.Last(ctx, subject.KVStream(subject.Preferences), subject.KV(subject.Preferences, string(user)))
	if err != nil || m == nil {
		return Default(), err
	}
	return decode(m), nil
}

// Of returns the preferences of all the people. It fails with bus.ErrDown and what else the broker says.
func Of(ctx context.Context, b *bus.Bus, users ...chat.UserID) (map[chat.UserID]Preferences, error) {
	out := make(map[chat.UserID]Preferences, len(users))
	prefix := subject.KV(subject.Preferences, "")
	for chunk := range slices.Chunk(users, asked) {
		subjects := make([]string, len(chunk))
		for i, u := range chunk {
			subjects[i], out[u] = prefix+string(u), Default()
		}
		msgs, err := b.LastFor(ctx, subject.KVStream(subject.Preferences), subjects...)
		if err != nil {
			return nil, err
		}
		for _, m := range msgs {
			out[chat.UserID(strings.TrimPrefix(m.Subject, prefix))] = decode(m)
		}
	}
	return out, nil
}

// tries is how often a change is made anew when another came between.
const tries = 8

// wrongLast is the broker's refusal of a change whose key has changed since.
const wrongLast = 10071

// Change changes the preferences of a person and tells the devices and edges of the person. It fails with chat.Conflict where others
// change them all the time, and with what the broker says: then they may have been changed, and it may be done again.
func Change(ctx context.Context, b *bus.Bus, user chat.UserID, change func(*Preferences)) (Preferences, error) {
	for range tries {
		all, err := Of(ctx, b, user)
		if err != nil {
			return Preferences{}, err
		}
		p := all[user]
		change(&p)
		m := &nats.Msg{Subject: subject.KV(subject.Preferences, string(user)), Header: nats.Header{},
			Data: wire.Encode(stored{ReadReceipts: p.ReadReceipts, Typing: p.Typing, Invisible: p.Invisible})}
		m.Header[jetstream.ExpectedLastSubjSeqHeader] = []string{strconv.FormatUint(p.Revision, 10)}
		ack, err := b.Publish(ctx, m)
		var refused *bus.Refusal
		if errors.As(err, &refused) && refused.Code == wrongLast {
			continue
		}
		if err != nil {
			return Preferences{}, err
		}
		p.Revision = ack.Sequence
		if err := b.Conn().Publish(subject.User(user), wire.Encode(p.Frame())); err != nil {
			return Preferences{}, err
		}
		return p, b.Flush(ctx) // an edge that hears nothing goes on as before
	}
	return Preferences{}, chat.Errorf(chat.Conflict, "the preferences are being changed by another call")
}
