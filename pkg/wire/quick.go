package wire

import (
	"bytes"
	"encoding/json"
	"strconv"
	"unicode/utf8"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// Nearly all that is read and written are frames that send a message, their acks, and messages. They have codecs of their own, which
// give what package encoding/json gives; everything else, and every form of these that they do not know, goes to it.

// appendString appends s as JSON, as Encode writes it.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			switch {
			case r == utf8.RuneError && size == 1:
				b = append(append(b, s[from:i]...), `\ufffd`...)
				i++
				from = i
			case r == '\u2028' || r == '\u2029':
				b = append(append(b, s[from:i]...), `\u202`...)
				b = append(b, hex[r&0xF])
				i += size
				from = i
			default:
				i += size
			}
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		b = append(b, s[from:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\b':
			b = append(b, '\\', 'b')
		case '\f':
			b = append(b, '\\', 'f')
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xF])
		}
		i++
		from = i
	}
	return append(append(b, s[from:]...), '"')
}

const hex = "0123456789abcdef"

// EncodeEvent is Encode of an event.
func EncodeEvent(e *chat.Event) []byte {
	if !plainMessage(e) {
		return Encode(e)
	}
	// What is around the text and the ids is 160 bytes; few texts have much to escape.
	b := make([]byte, 0, 176+len(e.Chat)+len(e.Sender)+len(e.ClientID)+len(e.Text))
	b = append(b, `{"type":"message","chat":`...)
	b = appendString(b, string(e.Chat))
	b = append(b, `,"seq":`...)
	b = strconv.AppendUint(b, uint64(e.Seq), 10)
	b = append(b, `,"n":`...)
	b = strconv.AppendUint(b, e.N, 10)
	b = append(b, `,"sender":`...)
	b = appendString(b, string(e.Sender))
	b = append(b, `,"client_id":`...)
	b = appendString(b, string(e.ClientID))
	b = append(b, `,"text":`...)
	b = appendString(b, e.Text)
	b = append(b, `,"sent_at":"`...)
	b = e.SentAt.AppendText(b)
	return append(b, '"', '}')
}

// plainMessage tells whether an event is a message that is a text and no more.
func plainMessage(e *chat.Event) bool {
	return e.Type == chat.Message && e.Sender != "" && e.ClientID != "" && e.Text != "" && e.SentAt != nil && e.ReplyTo == 0 &&
		len(e.Mentions) == 0 && e.Forwarded == nil && e.Target == 0 && e.Emoji == "" && !e.Removed && e.Deleted == nil &&
		e.Change == "" && e.User == "" && e.By == "" && e.Role == "" && e.Title == nil && e.Kind == "" && len(e.Members) == 0 &&
		e.At == nil && e.Picture == nil && e.Description == nil && e.Invite == nil
}

// Append appends the ack as JSON, as Encode writes it. The id is one that ParseRequest returned.
func (a *Ack) Append(b []byte) []byte {
	b = append(b, `{"type":`...)
	b = appendString(b, a.Type)
	if len(a.ID) > 0 {
		b = append(append(b, `,"id":`...), a.ID...)
	}
	if a.Chat != "" {
		b = appendString(append(b, `,"chat":`...), string(a.Chat))
	}
	if a.ClientID != "" {
		b = appendString(append(b, `,"client_id":`...), string(a.ClientID))
	}
	if a.Seq != 0 {
		b = strconv.AppendUint(append(b, `,"seq":`...), uint64(a.Seq), 10)
	}
	if a.SentAt != nil {
		b = append(a.SentAt.AppendText(append(b, `,"sent_at":"`...)), '"')
	}
	if a.Duplicate {
		b = append(b, `,"duplicate":true`...)
	}
	return append(b, '}')
}

// simpleString reads a JSON string that b begins with and that stands for itself: valid UTF-8 without escapes. It returns what is
// between the quotes and what follows.
func simpleString(b []byte) (s, rest []byte, ok bool) {
	if len(b) < 2 || b[0] != '"' {
		return nil, nil, false
	}
	end := bytes.IndexByte(b[1:], '"')
	if end < 0 {
		return nil, nil, false
	}
	s, rest = b[1:1+end], b[end+2:]
	ascii := true
	for _, c := range s {
		if c < ' ' || c == '\\' {
			return nil, nil, false
		}
		ascii = ascii && c < utf8.RuneSelf
	}
	return s, rest, ascii || utf8.Valid(s)
}

// anyString is simpleString of any string, which is decoded.
func anyString(b []byte) (s string, rest []byte, ok bool) {
	if s, rest, ok := simpleString(b); ok {
		return string(s), rest, true
	}
	if len(b) < 2 || b[0] != '"' {
		return "", nil, false
	}
	end := closingQuote(b[1:])
	var decoded string // apart from s, which would be allocated for every string
	if end < 0 || json.Unmarshal(b[:end+2], &decoded) != nil {
		return "", nil, false
	}
	return decoded, b[end+2:], true
}

// skipSpace returns what follows the white space that b begins with.
func skipSpace(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t' || b[0] == '\r' || b[0] == '\n') {
		b = b[1:]
	}
	return b
}

// token skips white space and then c.
func token(b []byte, c byte) ([]byte, bool) {
	if b = skipSpace(b); len(b) == 0 || b[0] != c {
		return nil, false
	}
	return b[1:], true
}

// parseSend reads a frame that sends a text: an object with the keys type, id, chat, client_id and text, in any order, each at most once.
func parseSend(b []byte) (r Request, ok bool) {
	if b, ok = token(b, '{'); !ok {
		return r, false
	}
	const (
		hasType = 1 << iota
		hasID
		hasChat
		hasClientID
		hasText
	)
	seen := 0
	for {
		var key []byte
		if key, b, ok = simpleString(skipSpace(b)); !ok {
			return r, false
		}
		if b, ok = token(b, ':'); !ok {
			return r, false
		}
		b = skipSpace(b)
		var which int
		switch string(key) {
		case "type":
			var typ []byte
			typ, b, ok = simpleString(b)
			ok = ok && string(typ) == TypeSend
			r.Type, which = TypeSend, hasType
		case "id":
			r.ID, b, ok = simpleID(b)
			which = hasID
		case "chat":
			var s []byte
			s, b, ok = simpleString(b)
			r.Chat, which = string(s), hasChat
		case "client_id":
			var s []byte
			s, b, ok = simpleString(b)
			r.ClientID, which = string(s), hasClientID
		case "text":
			r.Text, b, ok = anyString(b)
			which = hasText
		}
		if !ok || which == 0 || seen&which != 0 {
			return Request{}, false
		}
		seen |= which
		if b = skipSpace(b); len(b) == 0 {
			return Request{}, false
		}
		if b[0] == '}' {
			return r, len(skipSpace(b[1:])) == 0 && seen&hasType != 0
		}
		if b[0] != ',' {
			return Request{}, false
		}
		b = b[1:]
	}
}

// simpleID reads the id of a request: a short string that stands for itself, or digits. It is copied.
func simpleID(b []byte) (id RequestID, rest []byte, ok bool) {
	if n := digits(b); n > 0 {
		if n > 1 && b[0] == '0' || n > maxRequestID || n < len(b) && (b[n] == '.' || b[n] == 'e' || b[n] == 'E') {
			return nil, nil, false
		}
		return RequestID(bytes.Clone(b[:n])), b[n:], true
	}
	s, rest, ok := simpleString(b)
	if !ok || len(s)+2 > maxRequestID {
		return nil, nil, false
	}
	return RequestID(bytes.Clone(b[:len(s)+2])), rest, true
}
