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
	var a wire.StateAnswer
	err := r.Bus.Call(ctx, subject.StateEndpoint, wire.StateRequest{Chat: string(id)}, &a)
	return store.Record{Seq: a.Seq, N: a.N, At: a.At, Stream: a.Stream, State: a.State}, notFound(err)
}

// Find asks where a message stands.
func (r Remote) Find(ctx context.Context, id chat.ID, sender chat.UserID, client chat.ClientID) (store.Found, error) {
	var a wire.FindAnswer
	err := r.Bus.Call(ctx, subject.FindEndpoint, wire.FindRequest{Chat: string(id), Sender: string(sender), ClientID: string(client)}, &a)
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

// question is what is asked, as it is sent.
func (a Asked) question() wire.SentQuestion {
	return wire.SentQuestion{Chat: string(a.Chat), Sender: string(a.Sender), Since: a.Since}
}

// SentAll asks several such questions at once, at most AskAtOnce. Those that are not answered, as by an api of before, are asked again.
func (r Remote) SentAll(ctx context.Context, asked []Asked) ([]Sent, error) {
	q := wire.SentRequest{SentQuestion: asked[0].question()}
	for _, more := range asked[1:] {
		q.More = append(q.More, more.question())
	}
	var a wire.SentAnswer
	if err := r.Bus.Call(ctx, subject.SentEndpoint, q, &a); err != nil {
		return nil, err
	}
	out := append(make([]Sent, 0, len(asked)), sentOf(a.SentIDs))
	for _, more := range a.More[:min(len(a.More), len(asked)-1)] {
		out = append(out, sentOf(more))
	}
	return out, nil
}

// sentOf is an answer as it was before it was sent.
func sentOf(a wire.SentIDs) Sent {
	s := Sent{UpTo: a.UpTo, Complete: a.Complete, IDs: make([]ID, 0, len(a.IDs)/8)}
	for b := a.IDs; len(b) >= 8; b = b[8:] {
		s.IDs = append(s.IDs, ID(binary.BigEndian.Uint64(b)))
	}
	return s
}

// Wire is the answer as it is sent: 8 bytes for each id, big-endian.
func (s Sent) Wire() wire.SentIDs {
	b := make([]byte, 0, 8*len(s.IDs))
	for _, id := range s.IDs {
		b = binary.BigEndian.AppendUint64(b, uint64(id))
	}
	return wire.SentIDs{IDs: b, UpTo: s.UpTo, Complete: s.Complete}
}

// Cursor asks how far a person has read.
func (r Remote) Cursor(ctx context.Context, id chat.ID, user chat.UserID) (store.Cursor, error) {
	var a wire.CursorAnswer
	err := r.Bus.Call(ctx, subject.CursorEndpoint, wire.CursorRequest{Chat: string(id), User: string(user)}, &a)
	return store.Cursor{Chat: id, User: user, Seq: a.Seq, N: a.N, Delivered: max(a.Seq, a.Delivered)}, err
}

// Page asks for a part of the history.
func (r Remote) Page(ctx context.Context, id chat.ID, g store.Range) (Page, error) {
	var a wire.Page
	err := r.Bus.Call(ctx, subject.HistoryEndpoint, wire.HistoryRequest{Chat: string(id), After: g.After, Before: g.Before,
		Forward: g.Forward, Limit: g.Limit, MaxBytes: g.MaxBytes}, &a)
	if err != nil {
		return Page{}, err
	}
	p := Page{From: a.FromSeq, To: a.ToSeq, More: a.HasMore, Items: make([]store.Item, 0, len(a.Messages))}
	for i, body := range a.Messages {
		p.Items = append(p.Items, store.Item{Seq: a.FromSeq + chat.Seq(i), Body: body})
	}
	return p, nil
}
