// Package wire owns the JSON that crosses the borders of chatmesh: events as they are stored and delivered, the frames
// of the WebSocket, the bodies of the micro service. It promises that an event is encoded once, by whoever appends it,
// and that text comes back code point for code point: nothing is escaped for HTML.
package wire

import (
	"bytes"
	"encoding/json"
	"fmt"

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

// DecodeEvent reads an event and checks that it is one: a type that is known, a chat, a seq, and ids that are ids, because
// they become tokens of subjects.
func DecodeEvent(body []byte) (chat.Event, error) {
	if e, ok := decodeMessage(body); ok {
		return e, nil
	}
	if e, ok := decodeCreated(body); ok {
		return e, nil
	}
	return decodeAny(body)
}

// decodeAny reads an event of any type.
func decodeAny(body []byte) (chat.Event, error) {
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
	case e.Type == chat.Reacted && e.Emoji == "":
		return e, fmt.Errorf("wire: reaction without an emoji")
	case (e.Type == chat.Edited || e.Type == chat.Deleted || e.Type == chat.Reacted) && e.Target > 0 && e.Target < e.Seq && e.By != "" && e.At != nil:
	default:
		return e, fmt.Errorf("wire: event of an unknown or incomplete type")
	}
	if !areIDs(e.Sender, e.User, e.By) || !areMembers(e.Members) || !areIDs(e.Mentions...) {
		return e, fmt.Errorf("wire: event of somebody without an id")
	}
	return e, nil
}

// areIDs tells whether what is given is ids; the zero value is none and no fault.
func areIDs(users ...chat.UserID) bool {
	for _, u := range users {
		if u == "" {
			continue
		}
		if _, err := chat.ParseUserID(string(u)); err != nil {
			return false
		}
	}
	return true
}

func areMembers(members []chat.Member) bool {
	for _, m := range members {
		if _, err := chat.ParseUserID(string(m.UserID)); err != nil {
			return false
		}
	}
	return true
}

// Head is what an edge needs to know of a frame on a user's subject before it passes the bytes on.
type Head struct {
	Type string
	Chat chat.ID
	Seq  chat.Seq
}

// Peek reads type, chat and seq of a frame. Messages and cursors as they are encoded here, which are nearly all that comes,
// are recognized by their keys and cost a few comparisons; everything else is decoded in full. Of every JSON text it says
// what a full decode says, repeated keys included. What is no JSON it may take for a frame if its keys are those of one.
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

// The keys of a message and of a cursor in the order of their encoding, each with what its value begins with.
var (
	messageHead = []byte(`{"type":"message","chat":"`)
	cursorHead  = []byte(`{"type":"read","chat":"`)
	seqKey      = []byte(`,"seq":`)
	messageRest = [][]byte{[]byte(`,"n":`), []byte(`,"sender":"`), []byte(`,"client_id":"`), []byte(`,"text":"`), []byte(`,"sent_at":"`)}
	replyKey    = []byte(`,"reply_to":`)
	mentionsKey = []byte(`,"mentions":["`)
	nextMention = []byte(`,"`)
	mentionsEnd = []byte(`]`)
	cursorRest  = [][]byte{[]byte(`,"user":"`), []byte(`,"n":`)}
)

// peekFast reads a message or a cursor that has exactly its keys: a key that came again would count for a decoder.
func peekFast(b []byte) (Head, bool) {
	var h Head
	rest := messageRest
	b, ok := bytes.CutPrefix(b, messageHead)
	if h.Type = string(chat.Message); !ok {
		if b, ok = bytes.CutPrefix(b, cursorHead); !ok {
			return h, false
		}
		h.Type, rest = TypeRead, cursorRest
	}
	end := bytes.IndexByte(b, '"')
	if end < 0 || end > chat.MaxID || !plain(b[:end]) {
		return h, false
	}
	h.Chat = chat.ID(b[:end])
	if b, ok = bytes.CutPrefix(b[end+1:], seqKey); !ok {
		return h, false
	}
	n := digits(b)
	if n == 0 || n > 18 || n > 1 && b[0] == '0' { // 18 cannot overflow
		return h, false
	}
	for _, c := range b[:n] {
		h.Seq = h.Seq*10 + chat.Seq(c-'0')
	}
	b = b[n:]
	for _, key := range rest {
		if b, ok = bytes.CutPrefix(b, key); !ok {
			return h, false
		}
		if key[len(key)-1] != '"' {
			b = b[digits(b):]
			continue
		}
		end := closingQuote(b)
		if end < 0 {
			return h, false
		}
		b = b[end+1:]
	}
	if h.Type == string(chat.Message) {
		b = skipAnswer(b)
	}
	return h, len(b) == 1 && b[0] == '}'
}

// skipAnswer skips what a message answers and whom it mentions, where they follow.
func skipAnswer(b []byte) []byte {
	if rest, ok := bytes.CutPrefix(b, replyKey); ok {
		b = rest[digits(rest):]
	}
	rest, ok := bytes.CutPrefix(b, mentionsKey)
	for ok {
		end := closingQuote(rest)
		if end < 0 {
			return nil
		}
		b = rest[end+1:]
		rest, ok = bytes.CutPrefix(b, nextMention)
		if !ok {
			return bytes.TrimPrefix(b, mentionsEnd)
		}
	}
	return b
}

// plain tells whether a string stands for itself: ASCII without an escape.
func plain(s []byte) bool {
	for _, c := range s {
		if c < ' ' || c > '~' || c == '\\' {
			return false
		}
	}
	return true
}

// digits is how many digits b begins with.
func digits(b []byte) int {
	for i, c := range b {
		if c < '0' || c > '9' {
			return i
		}
	}
	return len(b)
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

// DecodeState reads the state of a chat as the broker keeps it.
func DecodeState(body []byte) (*chat.State, error) {
	if s, ok := decodeState(body); ok {
		return s, nil
	}
	return decodeAnyState(body)
}

// decodeAnyState reads any state.
func decodeAnyState(body []byte) (*chat.State, error) {
	var s chat.State
	if err := json.Unmarshal(body, &s); err != nil {
		return nil, fmt.Errorf("wire: state: %w", err)
	}
	if _, err := chat.ParseID(string(s.Chat)); err != nil || s.Seq == 0 {
		return nil, fmt.Errorf("wire: state without a chat or a seq")
	}
	for _, d := range s.Left {
		if d.UserID == "" || !areIDs(d.UserID) {
			return nil, fmt.Errorf("wire: state with somebody without an id")
		}
	}
	for _, p := range s.Pins {
		if p.Seq == 0 || !areIDs(p.By) {
			return nil, fmt.Errorf("wire: state with a pin of nothing")
		}
	}
	if !areMembers(s.Members) {
		return nil, fmt.Errorf("wire: state with somebody without an id")
	}
	return &s, nil
}
