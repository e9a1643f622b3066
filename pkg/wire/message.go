package wire

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// The keys of a message that is nothing more, in the order of their encoding, each with what its value begins with.
var (
	chatKey   = []byte(`{"type":"message","chat":"`)
	nKey      = []byte(`,"n":`)
	senderKey = []byte(`,"sender":"`)
	clientKey = []byte(`,"client_id":"`)
	textKey   = []byte(`,"text":"`)
	sentKey   = []byte(`,"sent_at":"`)
)

// decodeMessage reads a message as it is encoded here: with its keys in their order and nothing that it answers or mentions, which nearly all
// that is stored is. It costs a sixth of a full decode. Of what it does not know it says so; of the rest it says what a full decode says.
func decodeMessage(b []byte) (e chat.Event, ok bool) {
	s := scan{b: b, ok: true}
	e.Type = chat.Message
	e.Chat = chat.ID(s.id(chatKey))
	e.Seq = chat.Seq(s.number(seqKey))
	e.N = s.number(nKey)
	e.Sender = chat.UserID(s.id(senderKey))
	e.ClientID = chat.ClientID(s.id(clientKey))
	text := s.quoted(textKey)
	sent := s.quoted(sentKey)
	if !s.ok || len(s.b) != 1 || s.b[0] != '}' || e.Seq == 0 || !utf8.Valid(text) {
		return e, false
	}
	at, err := time.Parse(time.RFC3339Nano, string(sent))
	if err != nil {
		return e, false
	}
	e.SentAt = &chat.Time{Time: at.UTC()}
	if bytes.IndexByte(text, '\\') < 0 {
		e.Text = string(text)
		return e, true
	}
	whole := b[:len(b)-len(`,"sent_at":""}`)-len(sent)] // up to the quote behind the text
	return e, json.Unmarshal(whole[len(whole)-len(text)-2:], &e.Text) == nil
}

// scan reads one key with its value after the other; ok is sticky.
type scan struct {
	b  []byte
	ok bool
}

// quoted returns what stands between the quotes of a string, with its escapes. It has no control characters.
func (s *scan) quoted(key []byte) []byte {
	b, ok := bytes.CutPrefix(s.b, key)
	if !ok || !s.ok {
		s.ok = false
		return nil
	}
	end := closingQuote(b)
	if end < 0 {
		s.ok = false
		return nil
	}
	for _, c := range b[:end] {
		if c < ' ' {
			s.ok = false
			return nil
		}
	}
	s.b = b[end+1:]
	return b[:end]
}

// id returns an id.
func (s *scan) id(key []byte) string {
	text := string(s.quoted(key))
	if !s.ok {
		return ""
	}
	_, err := chat.ParseID(text)
	s.ok = err == nil
	return text
}

// number returns a number of at most 18 digits, which cannot overflow.
func (s *scan) number(key []byte) uint64 {
	b, ok := bytes.CutPrefix(s.b, key)
	n := digits(b)
	if !s.ok || !ok || n == 0 || n > 18 || n > 1 && b[0] == '0' {
		s.ok = false
		return 0
	}
	s.b = b[n:]
	v, err := strconv.ParseUint(string(b[:n]), 10, 64)
	s.ok = err == nil
	return v
}
