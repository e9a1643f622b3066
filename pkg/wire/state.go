package wire

import (
	"bytes"
	"encoding/json"
	"time"
	"unicode/utf8"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// The keys of a state that is nothing more, in the order of their encoding, each with what its value begins with.
var (
	stateKey   = []byte(`{"chat":"`)
	kindKey    = []byte(`,"kind":"`)
	titleKey   = []byte(`,"title":"`)
	createdKey = []byte(`,"created_at":"`)
	membersKey = []byte(`,"members":[`)
	memberKey  = []byte(`{"user_id":"`)
	roleKey    = []byte(`,"role":"`)
	sinceKey   = []byte(`,"since":`)
	memberEnd  = []byte(`}`)
	nextMember = []byte(`,{`)
	membersEnd = []byte(`]`)
	editKey    = []byte(`,"last_edit":`)
	erasureKey = []byte(`,"last_erasure":`)
)

// The keys of the event that made a chat which a state does not have as well.
var (
	changedKey   = []byte(`{"type":"chat","chat":"`)
	createdByKey = []byte(`,"change":"created","by":"`)
	atKey        = []byte(`,"at":"`)
)

// decodeState reads the state of a chat as it is encoded here, of which nobody has left, and that has no picture, link or pins: most chats.
// It costs a seventh of a full decode. Of what it does not know it says so; of the rest it says what a full decode says.
func decodeState(b []byte) (*chat.State, bool) {
	s := scan{b: b, ok: true}
	st := &chat.State{Chat: chat.ID(s.id(stateKey)), Seq: chat.Seq(s.number(seqKey)), Kind: s.kind()}
	if bytes.HasPrefix(s.b, titleKey) {
		st.Title = s.text(titleKey)
	}
	created := s.quoted(createdKey)
	if st.Seq == 0 {
		return nil, false
	}
	var ok bool
	if st.CreatedAt, ok = s.time(created); !ok {
		return nil, false
	}
	st.Members = s.members()
	if bytes.HasPrefix(s.b, editKey) {
		st.LastEdit = chat.Seq(s.number(editKey))
	}
	if bytes.HasPrefix(s.b, erasureKey) {
		st.LastErasure = chat.Seq(s.number(erasureKey))
	}
	return st, s.ok && len(s.b) == 1 && s.b[0] == '}'
}

// decodeCreated reads the event that made a chat as it is encoded here, which is the last event of many chats that are new. As decodeState.
func decodeCreated(b []byte) (e chat.Event, ok bool) {
	s := scan{b: b, ok: true}
	e.Type, e.Change = chat.Changed, chat.Created
	e.Chat = chat.ID(s.id(changedKey))
	e.Seq = chat.Seq(s.number(seqKey))
	e.N = s.number(nKey)
	e.By = chat.UserID(s.id(createdByKey))
	if bytes.HasPrefix(s.b, titleKey) {
		title := s.text(titleKey)
		e.Title = &title
	}
	e.Kind = s.kind()
	e.Members = s.members()
	at, ok := s.time(s.quoted(atKey))
	e.At = &at
	return e, ok && e.Seq > 0 && len(s.b) == 1 && s.b[0] == '}'
}

// members returns the members of a state, or those with which a chat was made.
func (s *scan) members() []chat.Member {
	s.skip(membersKey)
	if !s.ok {
		return nil
	}
	members := make([]chat.Member, 0, bytes.Count(s.b, memberKey))
	for s.ok && len(s.b) > 0 && s.b[0] == '{' {
		m := chat.Member{UserID: chat.UserID(s.id(memberKey)), Role: s.role()}
		if bytes.HasPrefix(s.b, sinceKey) {
			m.Since = chat.Seq(s.number(sinceKey))
		}
		s.skip(memberEnd)
		members = append(members, m)
		if !bytes.HasPrefix(s.b, nextMember) {
			break
		}
		s.b = s.b[1:]
	}
	s.skip(membersEnd)
	return members
}

// time is the time that was read.
func (s *scan) time(text []byte) (chat.Time, bool) {
	if !s.ok {
		return chat.Time{}, false
	}
	at, err := time.Parse(time.RFC3339Nano, string(text))
	return chat.Time{Time: at.UTC()}, err == nil
}

// kind and role are those that there are, which take no memory of their own.
func (s *scan) kind() chat.Kind {
	switch k := s.quoted(kindKey); string(k) {
	case string(chat.Direct):
		return chat.Direct
	case string(chat.Group):
		return chat.Group
	}
	s.ok = false
	return ""
}

func (s *scan) role() chat.Role {
	switch r := s.quoted(roleKey); string(r) {
	case string(chat.Plain):
		return chat.Plain
	case string(chat.Admin):
		return chat.Admin
	case string(chat.Owner):
		return chat.Owner
	case string(chat.NoRole):
		return chat.NoRole
	}
	s.ok = false
	return ""
}

// skip reads a piece that has no value.
func (s *scan) skip(piece []byte) {
	b, ok := bytes.CutPrefix(s.b, piece)
	if s.ok = s.ok && ok; s.ok {
		s.b = b
	}
}

// text returns a string without its escapes.
func (s *scan) text(key []byte) string {
	raw := s.quoted(key)
	if !utf8.Valid(raw) {
		s.ok = false
	}
	if bytes.IndexByte(raw, '\\') < 0 || !s.ok {
		return string(raw)
	}
	var decoded string
	s.ok = json.Unmarshal(append(append([]byte{'"'}, raw...), '"'), &decoded) == nil
	return decoded
}
