package pebble

import (
	"encoding/binary"
	"encoding/json"
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
)

// fields reads the varints of a value one after the other; bad is sticky.
type fields struct {
	b   []byte
	bad bool
}

func (f *fields) uint() uint64 {
	v, n := binary.Uvarint(f.b)
	if n <= 0 {
		f.b, f.bad = nil, true
		return 0
	}
	f.b = f.b[n:]
	return v
}

func (f *fields) time() chat.Time {
	v, n := binary.Varint(f.b)
	if n <= 0 {
		f.b, f.bad = nil, true
		return chat.Time{}
	}
	f.b = f.b[n:]
	return chat.TimeOf(time.UnixMicro(v))
}

// done fails when a field was missing or something is left over.
func (f *fields) done() error {
	if f.bad || len(f.b) > 0 {
		return errDamaged
	}
	return nil
}

func appendTime(b []byte, t chat.Time) []byte { return binary.AppendVarint(b, t.UnixMicro()) }

// head is the last event of a chat.
type head struct {
	seq    chat.Seq
	n      uint64
	stream uint64
	at     chat.Time
}

func (h head) encode() []byte {
	b := binary.AppendUvarint(nil, uint64(h.seq))
	b = binary.AppendUvarint(b, h.n)
	b = binary.AppendUvarint(b, h.stream)
	return appendTime(b, h.at)
}

func decodeHead(b []byte) (head, error) {
	f := fields{b: b}
	h := head{seq: chat.Seq(f.uint()), n: f.uint(), stream: f.uint(), at: f.time()}
	return h, f.done()
}

func encodeFound(v store.Found) []byte {
	return appendTime(binary.AppendUvarint(nil, uint64(v.Seq)), v.SentAt)
}

func decodeFound(b []byte) (store.Found, error) {
	f := fields{b: b}
	v := store.Found{Seq: chat.Seq(f.uint()), SentAt: f.time()}
	return v, f.done()
}

// membership is what is known of a person in a chat.
type membership struct {
	link   uint64 // see doc.go
	seq, n uint64 // the cursor
	// delivered counts where it is above seq; otherwise what was read is what was delivered.
	delivered uint64
}

func linkAt(seq chat.Seq, in bool) uint64 {
	if in {
		return uint64(seq)<<1 | 1
	}
	return uint64(seq) << 1
}

func (m membership) in() bool { return m.link&1 == 1 }

func (m membership) cursor(user chat.UserID, id chat.ID) store.Cursor {
	return store.Cursor{Chat: id, User: user, Seq: chat.Seq(m.seq), N: m.n, Delivered: chat.Seq(max(m.seq, m.delivered))}
}

func (m membership) encode() []byte {
	b := binary.AppendUvarint(nil, m.link)
	b = binary.AppendUvarint(b, m.seq)
	b = binary.AppendUvarint(b, m.n)
	if m.delivered <= m.seq {
		return b // as rows were before there was anything else
	}
	return binary.AppendUvarint(b, m.delivered)
}

func decodeMembership(b []byte) (membership, error) {
	f := fields{b: b}
	m := membership{link: f.uint(), seq: f.uint(), n: f.uint()}
	if len(f.b) > 0 {
		m.delivered = f.uint()
	}
	return m, f.done()
}

// encodeState puts the seq before the JSON, so that whether a state is newer can be told without decoding it.
func encodeState(s *chat.State) ([]byte, error) {
	j, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	return append(binary.AppendUvarint(make([]byte, 0, binary.MaxVarintLen64+len(j)), uint64(s.Seq)), j...), nil
}

func decodeStateSeq(b []byte) (seq chat.Seq, rest []byte, err error) {
	f := fields{b: b}
	seq = chat.Seq(f.uint())
	if f.bad {
		return 0, nil, errDamaged
	}
	return seq, f.b, nil
}

func decodeState(b []byte) (*chat.State, error) {
	_, j, err := decodeStateSeq(b)
	if err != nil {
		return nil, err
	}
	s := new(chat.State)
	if json.Unmarshal(j, s) != nil {
		return nil, errDamaged
	}
	return s, nil
}

func decodeUser(b []byte) (store.User, error) {
	var u store.User
	if json.Unmarshal(b, &u) != nil {
		return store.User{}, errDamaged
	}
	return u, nil
}

func encodeSession(s store.Session) []byte {
	b := appendTime(appendTime(append([]byte(nil), s.Refresh[:]...), s.CreatedAt), s.ExpiresAt)
	if s.Device == "" && s.LastSeen.IsZero() {
		return b // as rows were before there was anything else
	}
	return append(appendTime(b, s.LastSeen), s.Device...)
}

func decodeSession(user chat.UserID, id string, b []byte) (store.Session, error) {
	s := store.Session{User: user, ID: id}
	if len(b) < len(s.Refresh) {
		return store.Session{}, errDamaged
	}
	f := fields{b: b[copy(s.Refresh[:], b):]}
	s.CreatedAt, s.ExpiresAt = f.time(), f.time()
	if len(f.b) > 0 {
		s.LastSeen = f.time()
		s.Device, f.b = string(f.b), nil
	}
	return s, f.done()
}

// The flags of settings.
const (
	archivedFlag = 1 << iota
	unreadFlag
	mutedFlag
)

func encodeSettings(s store.ChatSettings) []byte {
	var flags uint64
	if s.Archived {
		flags |= archivedFlag
	}
	if s.MarkedUnread {
		flags |= unreadFlag
	}
	if s.MutedUntil == nil {
		return binary.AppendUvarint(binary.AppendUvarint(nil, flags), uint64(s.MarkedAt))
	}
	return appendTime(binary.AppendUvarint(binary.AppendUvarint(nil, flags|mutedFlag), uint64(s.MarkedAt)), chat.TimeOf(*s.MutedUntil))
}

func decodeSettings(b []byte) (store.ChatSettings, error) {
	f := fields{b: b}
	flags := f.uint()
	s := store.ChatSettings{Archived: flags&archivedFlag != 0, MarkedUnread: flags&unreadFlag != 0, MarkedAt: chat.Seq(f.uint())}
	if flags&mutedFlag != 0 {
		until := f.time()
		s.MutedUntil = &until.Time
	}
	return s, f.done()
}

func encodeEdit(e *chat.Event) []byte { return append(appendTime(nil, e.Time()), e.By...) }

// encodeReaction puts the seq first, so that whether a reaction is newer can be told without the rest.
func encodeReaction(e *chat.Event) []byte {
	b, removed := binary.AppendUvarint(nil, uint64(e.Seq)), uint64(0)
	if e.Removed {
		removed = 1
	}
	return appendTime(binary.AppendUvarint(b, removed), e.Time())
}

// decodeMark reads a mark of which k is what its key has behind the chat.
func decodeMark(k, v []byte) (store.Mark, error) {
	if len(k) < 9 {
		return store.Mark{}, errDamaged
	}
	m := store.Mark{Target: chat.Seq(binary.BigEndian.Uint64(k))}
	kind, rest, f := k[8], k[9:], fields{b: v}
	switch {
	case kind == editKind && len(rest) == 8:
		m.Type, m.Seq, m.At = chat.Edited, chat.Seq(binary.BigEndian.Uint64(rest)), f.time()
		m.By, f.b = chat.UserID(f.b), nil
	case kind == reactionKind:
		by, emoji, ok := cutPart(rest)
		if !ok {
			return store.Mark{}, errDamaged
		}
		m.Type, m.By, m.Emoji = chat.Reacted, chat.UserID(by), string(emoji)
		m.Seq, m.Removed, m.At = chat.Seq(f.uint()), f.uint() == 1, f.time()
	default:
		return store.Mark{}, errDamaged
	}
	return m, f.done()
}
