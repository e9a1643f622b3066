package chatlog

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// Remote is Older for services without a store: it asks the api's micro endpoints.
type Remote struct {
	Bus *bus.Bus
}

// notFound turns the refusal of the api into the error of the store.
func notFound(err error) error {
	if chat.Is(err, chat.NotFound) {
		return fmt.Errorf("chatlog: api: %w", store.ErrNotFound)
	}
	return err
}

// Record asks for what the store knows of a chat.
func (r Remote) Record(ctx context.Context, id chat.ID) (store.Record, error) {
	var a struct {
		Seq    chat.Seq    `json:"seq"`
		N      uint64      `json:"n"`
		At     chat.Time   `json:"at"`
		Stream uint64      `json:"stream"`
		State  *chat.State `json:"state"`
	}
	err := r.Bus.Call(ctx, subject.StateEndpoint, map[string]any{"chat": id}, &a)
	return store.Record{Seq: a.Seq, N: a.N, At: a.At, Stream: a.Stream, State: a.State}, notFound(err)
}

// Find asks where a message stands.
func (r Remote) Find(ctx context.Context, id chat.ID, sender chat.UserID, client chat.ClientID) (store.Found, error) {
	var a struct {
		Seq    chat.Seq  `json:"seq"`
		SentAt chat.Time `json:"sent_at"`
	}
	err := r.Bus.Call(ctx, subject.FindEndpoint, map[string]any{"chat": id, "sender": sender, "client_id": client}, &a)
	return store.Found{Seq: a.Seq, SentAt: a.SentAt}, notFound(err)
}

// Sent asks what a person has sent.
func (r Remote) Sent(ctx context.Context, id chat.ID, sender chat.UserID, since chat.Seq) (Sent, error) {
	all, err := r.SentAll(ctx, []Asked{{id, sender, since}})
	if err != nil {
		return Sent{}, err
	}
	return all[0], nil
}

// sentAnswer is one answer to what somebody has sent.
type sentAnswer struct {
	IDs      []byte   `json:"ids"`
	UpTo     chat.Seq `json:"up_to"`
	Complete bool     `json:"complete"`
}

// sent is the answer.
func (a sentAnswer) sent() Sent {
	s := Sent{UpTo: a.UpTo, Complete: a.Complete, IDs: make([]ID, 0, len(a.IDs)/8)}
	for b := a.IDs; len(b) >= 8; b = b[8:] {
		s.IDs = append(s.IDs, ID(binary.BigEndian.Uint64(b)))
	}
	return s
}

// sentQuestion is one question; they are not maps, whose keys are sorted: it is asked often.
type sentQuestion struct {
	Chat   chat.ID     `json:"chat"`
	Sender chat.UserID `json:"sender"`
	Since  chat.Seq    `json:"since,omitempty"`
}

// SentAll asks several such questions at once, at most AskAtOnce. Those that are not answered, as by an api of before, are asked again.
func (r Remote) SentAll(ctx context.Context, asked []Asked) ([]Sent, error) {
	var q struct {
		sentQuestion
		More []sentQuestion `json:"more,omitempty"`
	}
	var a struct {
		sentAnswer
		More []sentAnswer `json:"more"`
	}
	q.sentQuestion = sentQuestion(asked[0])
	for _, more := range asked[1:] {
		q.More = append(q.More, sentQuestion(more))
	}
	if err := r.Bus.Call(ctx, subject.SentEndpoint, q, &a); err != nil {
		return nil, err
	}
	out := append(make([]Sent, 0, len(asked)), a.sent())
	for _, more := range a.More[:min(len(a.More), len(asked)-1)] {
		out = append(out, more.sent())
	}
	return out, nil
}

// Bytes are the ids as they are sent: 8 bytes each, big-endian.
func (s Sent) Bytes() []byte {
	b := make([]byte, 0, 8*len(s.IDs))
	for _, id := range s.IDs {
		b = binary.BigEndian.AppendUint64(b, uint64(id))
	}
	return b
}

// Cursor asks how far a person has read.
func (r Remote) Cursor(ctx context.Context, id chat.ID, user chat.UserID) (store.Cursor, error) {
	var a struct {
		Seq chat.Seq `json:"seq"`
		N   uint64   `json:"n"`
		// Delivered is missing where an api of before answers.
		Delivered chat.Seq `json:"delivered"`
	}
	err := r.Bus.Call(ctx, subject.CursorEndpoint, map[string]any{"chat": id, "user": user}, &a)
	return store.Cursor{Chat: id, User: user, Seq: a.Seq, N: a.N, Delivered: max(a.Seq, a.Delivered)}, err
}

// Page asks for a part of the history.
func (r Remote) Page(ctx context.Context, id chat.ID, g store.Range) (Page, error) {
	var a wire.Page
	err := r.Bus.Call(ctx, subject.HistoryEndpoint, map[string]any{"chat": id, "after": g.After, "before": g.Before,
		"forward": g.Forward, "limit": g.Limit, "max_bytes": g.MaxBytes}, &a)
	if err != nil {
		return Page{}, err
	}
	p := Page{From: a.FromSeq, To: a.ToSeq, More: a.HasMore, Items: make([]store.Item, 0, len(a.Messages))}
	for i, body := range a.Messages {
		p.Items = append(p.Items, store.Item{Seq: a.FromSeq + chat.Seq(i), Body: body})
	}
	return p, nil
}
