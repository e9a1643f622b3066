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

// decodeState reads the state of a chat as it is encoded here, of which nobody has left, and that has no picture, link or pins: most chats.
// It costs a seventh of a full decode. Of what it does not know it says so; of the rest it says what a full decode says.
func decodeState(b []byte) (*chat.State, bool) {
	s := scan{b: b, ok: true}
	st := &chat.State{Chat: chat.ID(s.id(stateKey)), Seq: chat.Seq(s.number(seqKey)), Kind: s.kind()}
	if bytes.HasPrefix(s.b, titleKey) {
		st.Title = s.text(titleKey)
	}
	created := s.quoted(createdKey)
	s.skip(membersKey)
	if !s.ok || st.Seq == 0 {
		return nil, false
	}
	at, err := time.Parse(time.RFC3339Nano, string(created))
	if err != nil {
		return nil, false
	}
	st.CreatedAt.Time = at.UTC()
	st.Members = make([]chat.Member, 0, bytes.Count(s.b, memberKey))
	for s.ok && len(s.b) > 0 && s.b[0] == '{' {
		m := chat.Member{UserID: chat.UserID(s.id(memberKey)), Role: s.role()}
		if bytes.HasPrefix(s.b, sinceKey) {
			m.Since = chat.Seq(s.number(sinceKey))
		}
		s.skip(memberEnd)
		st.Members = append(st.Members, m)
		if !bytes.HasPrefix(s.b, nextMember) {
			break
		}
		s.b = s.b[1:]
	}
	s.skip(membersEnd)
	if bytes.HasPrefix(s.b, editKey) {
		st.LastEdit = chat.Seq(s.number(editKey))
	}
	if bytes.HasPrefix(s.b, erasureKey) {
		st.LastErasure = chat.Seq(s.number(erasureKey))
	}
	return st, s.ok && len(s.b) == 1 && s.b[0] == '}'
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
