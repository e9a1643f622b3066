package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// A change of a message may be made twice where the first answer was lost; twice is once, but for an edit between which another came.

// Edit gives a message of the caller another text and returns the event that did; mentions replace those that it had. It fails with
// chat.NotFound, chat.Forbidden, chat.BadRequest, chat.TooLong or, after chat.MaxEdits, with chat.Conflict.
func (c *Conn) Edit(ctx context.Context, id chat.ID, seq chat.Seq, text string, mentions ...chat.UserID) (chat.Seq, error) {
	return c.change(ctx, request{Type: "edit", Chat: id, Seq: seq, Text: text, Mentions: mentions})
}

// Delete erases a message for everyone and returns the event that did. It fails with chat.NotFound or chat.Forbidden.
func (c *Conn) Delete(ctx context.Context, id chat.ID, seq chat.Seq) (chat.Seq, error) {
	return c.change(ctx, request{Type: "delete", Chat: id, Seq: seq, For: "all"})
}

// Hide takes a message out of the sight of the caller, on all devices. It fails with chat.NotFound.
func (c *Conn) Hide(ctx context.Context, id chat.ID, seq chat.Seq) error {
	_, err := c.change(ctx, request{Type: "delete", Chat: id, Seq: seq, For: "me"})
	return err
}

// React gives a message an emoji and returns the event that did. It fails with chat.NotFound, chat.Forbidden, chat.BadRequest or, where
// there are chat.MaxReactions, with chat.Conflict.
func (c *Conn) React(ctx context.Context, id chat.ID, seq chat.Seq, emoji string) (chat.Seq, error) {
	return c.change(ctx, request{Type: "react", Chat: id, Seq: seq, Emoji: emoji})
}

// Unreact takes a reaction back. It fails as React does.
func (c *Conn) Unreact(ctx context.Context, id chat.ID, seq chat.Seq, emoji string) (chat.Seq, error) {
	return c.change(ctx, request{Type: "react", Chat: id, Seq: seq, Emoji: emoji, Remove: true})
}

// Pin pins a message to its chat. It fails with chat.NotFound, chat.Forbidden or, where there are chat.MaxPins, with chat.Conflict.
func (c *Conn) Pin(ctx context.Context, id chat.ID, seq chat.Seq) (chat.Seq, error) {
	return c.change(ctx, request{Type: "pin", Chat: id, Seq: seq})
}

// Unpin takes a message down. It fails as Pin does.
func (c *Conn) Unpin(ctx context.Context, id chat.ID, seq chat.Seq) (chat.Seq, error) {
	return c.change(ctx, request{Type: "pin", Chat: id, Seq: seq, Remove: true})
}

// Reply sends a message that answers the one at to. It fails as Send does.
func (c *Conn) Reply(ctx context.Context, to chat.Seq, m Outgoing) (Receipt, error) {
	m.ReplyTo = to
	return c.Send(ctx, m)
}

func (c *Conn) change(ctx context.Context, r request) (chat.Seq, error) {
	a, err := c.request(ctx, r)
	return a.Seq, err
}

func messagePath(id chat.ID, seq chat.Seq, more ...string) string {
	return path(append([]string{"chats", string(id), "messages", strconv.FormatUint(uint64(seq), 10)}, more...)...)
}

// Message returns a message as it stands. It fails with chat.NotFound.
func (c *Client) Message(ctx context.Context, id chat.ID, seq chat.Seq) (m chat.Folded, err error) {
	_, err = c.authed(ctx, http.MethodGet, messagePath(id, seq), nil, &m)
	return m, err
}

// Version is a text that a message had from the event at Seq on.
type Version struct {
	Seq      chat.Seq      `json:"seq"`
	Text     string        `json:"text"`
	Mentions []chat.UserID `json:"mentions"`
	At       chat.Time     `json:"at"`
}

// Versions returns the texts that a message had, the present one last. It fails with chat.NotFound.
func (c *Client) Versions(ctx context.Context, id chat.ID, seq chat.Seq) (all []Version, err error) {
	for after := chat.Seq(0); ; after = all[len(all)-1].Seq {
		var a struct {
			Edits   []Version `json:"edits"`
			HasMore bool      `json:"has_more"`
		}
		q := url.Values{"after": {strconv.FormatUint(uint64(after), 10)}, "limit": {strconv.Itoa(chat.MaxPage)}}
		if _, err := c.authed(ctx, http.MethodGet, messagePath(id, seq, "edits")+"?"+q.Encode(), nil, &a); err != nil {
			return nil, err
		}
		all = append(all, a.Edits...)
		if !a.HasMore || len(a.Edits) == 0 {
			return all, nil
		}
	}
}

// MessageReceipts says who of the members to whom a message went has it, and who has read it.
type MessageReceipts struct {
	Read      []chat.UserID `json:"read"`
	Delivered []chat.UserID `json:"delivered"`
}

// MessageReceipts returns who has read a message. It fails with chat.NotFound.
func (c *Client) MessageReceipts(ctx context.Context, id chat.ID, seq chat.Seq) (r MessageReceipts, err error) {
	_, err = c.authed(ctx, http.MethodGet, messagePath(id, seq, "receipts"), nil, &r)
	return r, err
}

// Pinned is a message that is pinned to its chat; its text may be cut.
type Pinned struct {
	chat.PinnedMessage
	Message chat.Folded `json:"message"`
}

// Pins returns the pinned messages of a chat, in the order in which they were pinned. It fails with chat.NotFound.
func (c *Client) Pins(ctx context.Context, id chat.ID) ([]Pinned, error) {
	var a struct {
		Pins []Pinned `json:"pins"`
	}
	_, err := c.authed(ctx, http.MethodGet, path("chats", string(id), "pins"), nil, &a)
	return a.Pins, err
}

// Forward passes a message on to the chat of m, which has no text of its own, over HTTP. It fails as Post does.
func (c *Client) Forward(ctx context.Context, from chat.ID, seq chat.Seq, m Outgoing) (Receipt, error) {
	if err := m.named(); err != nil {
		return Receipt{}, err
	}
	return c.post(ctx, m, map[string]any{"client_id": m.ClientID, "forward": map[string]any{"chat": from, "seq": seq}})
}
