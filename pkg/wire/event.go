// Package wire owns the JSON that crosses the borders of chatmesh: events as they are stored and delivered, the frames
// of the WebSocket, the bodies of the micro service. It promises that an event is encoded once, by whoever appends it,
// and that text comes back code point for code point: nothing is escaped for HTML.
package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// Encode returns v as JSON without HTML escaping and without a trailing newline. It panics where v cannot be encoded:
// only this project's own types come here.
func Encode(v any) []byte {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(fmt.Sprintf("wire: encode %T: %v", v, err))
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
}

// DecodeEvent reads an event and checks that it is one: a type that is known, a chat, a seq.
func DecodeEvent(body []byte) (chat.Event, error) {
	var e chat.Event
	if err := json.Unmarshal(body, &e); err != nil {
		return e, fmt.Errorf("wire: event: %w", err)
	}
	if _, err := chat.ParseID(string(e.Chat)); err != nil || e.Seq == 0 {
		return e, fmt.Errorf("wire: event without a chat or a seq")
	}
	switch {
	case e.Type == chat.Message && e.Sender != "" && e.ClientID != "" && e.SentAt != nil:
	case e.Type == chat.Changed && e.Change != "" && e.At != nil:
	default:
		return e, fmt.Errorf("wire: event of an unknown or incomplete type")
	}
	return e, nil
}

// Head is what an edge needs to know of a frame on a user's subject before it passes the bytes on.
type Head struct {
	Type string
	Chat chat.ID
	Seq  chat.Seq
}

// Peek reads type, chat and seq of a frame. Frames made here begin with them, so that it decodes a few dozen bytes and only
// looks for keys in the others; any other order of the keys is read as well, slower. Of every JSON text it says what a full
// decode says, repeated keys included (the last one counts, whatever its case). What is no JSON it may take for a frame if
// it begins like one.
func Peek(body []byte) (Head, error) {
	if h, ok := peekFast(body); ok {
		return h, nil
	}
	var h struct {
		Type string   `json:"type"`
		Chat chat.ID  `json:"chat"`
		Seq  chat.Seq `json:"seq"`
	}
	if err := json.Unmarshal(body, &h); err != nil {
		return Head{}, fmt.Errorf("wire: frame: %w", err)
	}
	return Head{Type: h.Type, Chat: h.Chat, Seq: h.Seq}, nil
}

// peekFast reads `{"type":"T","chat":"C","seq":N` with plain values and without one of these keys again, nothing else.
func peekFast(b []byte) (Head, bool) {
	var h Head
	b, ok := bytes.CutPrefix(b, []byte(`{"type":"`))
	if !ok {
		return h, false
	}
	typ, b, ok := plainString(b)
	if !ok {
		return h, false
	}
	b, ok = bytes.CutPrefix(b, []byte(`,"chat":"`))
	if !ok {
		return h, false
	}
	id, b, ok := plainString(b)
	if !ok {
		return h, false
	}
	b, ok = bytes.CutPrefix(b, []byte(`,"seq":`))
	if !ok {
		return h, false
	}
	var n uint64
	for i, c := range b {
		if c < '0' || c > '9' || i > 18 {
			if i == 0 || i > 18 || i > 1 && b[0] == '0' || c != ',' && c != '}' || repeats(b[i:]) {
				return h, false
			}
			return Head{Type: string(typ), Chat: chat.ID(id), Seq: chat.Seq(n)}, true
		}
		n = n*10 + uint64(c-'0')
	}
	return h, false
}

// plainString returns what stands before the next quote, and what stands behind it, if it is ASCII that stands for itself.
func plainString(b []byte) (s, rest []byte, ok bool) {
	i := bytes.IndexByte(b, '"')
	if i < 0 || i > chat.MaxID || !plain(b[:i]) {
		return nil, nil, false
	}
	return b[:i], b[i+1:], true
}

func plain(s []byte) bool {
	for _, c := range s {
		if c < ' ' || c > '~' || c == '\\' {
			return false
		}
	}
	return true
}

// repeats tells whether a key in what follows the head may be one of the head's again: the decoder would follow that one.
func repeats(b []byte) bool {
	for {
		i := bytes.IndexByte(b, '"')
		if i < 0 {
			return false
		}
		b = b[i+1:]
		if i = closingQuote(b); i < 0 {
			return true // cut off
		}
		s := b[:i]
		b = b[i+1:]
		if isKey(b) && (!plain(s) || ofHead(s)) {
			return true
		}
	}
}

// closingQuote is where the string ends whose first quote stands before b; negative if it does not.
func closingQuote(b []byte) int {
	for at := 0; ; at++ {
		i := bytes.IndexByte(b[at:], '"')
		if i < 0 {
			return -1
		}
		at += i
		escapes := 0
		for escapes < at && b[at-escapes-1] == '\\' {
			escapes++
		}
		if escapes%2 == 0 {
			return at
		}
	}
}

// isKey tells whether what stands before b is a key: the colon follows.
func isKey(b []byte) bool {
	for _, c := range b {
		switch c {
		case ':':
			return true
		case ' ', '\t', '\r', '\n':
		default:
			return false
		}
	}
	return false
}

// ofHead tells whether a decoder takes a key for one of the head's, which it does whatever the case.
func ofHead(key []byte) bool {
	switch len(key) {
	case len("seq"):
		return strings.EqualFold(string(key), "seq")
	case len("type"):
		return strings.EqualFold(string(key), "type") || strings.EqualFold(string(key), "chat")
	}
	return false
}

// DecodeState reads the state of a chat as the broker keeps it.
func DecodeState(body []byte) (*chat.State, error) {
	var s chat.State
	if err := json.Unmarshal(body, &s); err != nil {
		return nil, fmt.Errorf("wire: state: %w", err)
	}
	if _, err := chat.ParseID(string(s.Chat)); err != nil || s.Seq == 0 {
		return nil, fmt.Errorf("wire: state without a chat or a seq")
	}
	return &s, nil
}
