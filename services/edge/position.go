package edge

import (
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"hash/fnv"
	"slices"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// position says what a client without a connection has been told. It has a number for each partition in which the person has chats, and
// grows with the chats that have moved since, up to movedMost, not with those that there are.
//
// All of the person's events up to base have been told, but for chats in moved, which were told up to a seq of their own. The base comes
// from reading the logs, never from what was delivered: so an event that was lost on its way is behind it, and is found when the next
// reading begins.
type position struct {
	// at is when base was read, in Unix seconds.
	at int64
	// base is a sequence of each partition's stream; zero where the person had no chat.
	base []uint64
	// members is the sum, by exclusive or, of the keys of the chats that the person was in at base: who is in fewer now was
	// removed from one.
	members uint64
	moved   []moved
}

// moved is a chat of which something was told since base.
type moved struct {
	key uint64
	// seq is up to where the chat was told.
	seq chat.Seq
	// member says that the chat counts in members, left that the person's removal was told.
	member, left bool
	// heard says that it moved since the last reading began.
	heard bool
}

// Bounds of a position: of how many moved chats it is good to read the logs again for a new base, and of how many there are at
// most.
const (
	movedMany = 32
	movedMost = 256
)

// keyBytes is how much of its digest stands for a chat. Two chats of one person would have to be the same in all of it to be taken for each
// other.
const keyBytes = 6

// keyOf is a short name of a chat.
func keyOf(id chat.ID) uint64 {
	h := fnv.New64a()
	h.Write([]byte(id)) // never fails
	sum := h.Sum64()
	sum ^= sum >> 33 // FNV mixes its upper bits little where ids are alike
	sum *= 0xff51afd7ed558ccd
	sum ^= sum >> 33
	return sum >> (64 - 8*keyBytes)
}

// find returns the place of a chat in moved, or -1.
func (p *position) find(key uint64) int {
	return slices.IndexFunc(p.moved, func(m moved) bool { return m.key == key })
}

// Changes of the person's own membership that an event may bring.
const (
	staysAsItWas = iota
	joins
	leaves
)

// told notes that a chat was told up to seq.
func (p *position) told(key uint64, seq chat.Seq, change uint8) {
	i := p.find(key)
	if i < 0 {
		p.moved = append(p.moved, moved{key: key, member: change != joins})
		i = len(p.moved) - 1
	}
	m := &p.moved[i]
	m.seq, m.heard = max(m.seq, seq), true
	switch change {
	case joins:
		m.left = false
	case leaves:
		m.left = true
	}
}

// clone is a copy that may be changed; base is shared, which nobody changes.
func (p position) clone() position {
	p.moved = slices.Clone(p.moved)
	return p
}

// cursor is a position as a client holds it. poller and answer name, for the edge that gave it, the poller and the answer that it came
// with; both are zero where there is none.
type cursor struct {
	position
	poller, answer uint64
}

// cursorVersion is the first byte of a cursor.
const cursorVersion = 1

var cursorEncoding = base64.RawURLEncoding.Strict()

// cursorMost bounds a cursor that comes in, in characters; the header of a request has no room for more.
const cursorMost = 12 << 10

func (c cursor) String() string {
	b := make([]byte, 0, 64+6*len(c.base)+12*len(c.moved))
	b = append(b, cursorVersion)
	for _, n := range []uint64{uint64(c.at), c.poller, c.answer, uint64(len(c.base))} {
		b = binary.AppendUvarint(b, n)
	}
	for p := 0; p < len(c.base); p++ {
		b = binary.AppendUvarint(b, c.base[p])
		if c.base[p] == 0 { // and how many more zeroes follow
			run := 0
			for p+1 < len(c.base) && c.base[p+1] == 0 {
				p, run = p+1, run+1
			}
			b = binary.AppendUvarint(b, uint64(run))
		}
	}
	b = appendKey(b, c.members)
	b = binary.AppendUvarint(b, uint64(len(c.moved)))
	for _, m := range c.moved {
		b = appendKey(b, m.key)
		flags := uint64(0)
		if m.member {
			flags |= 1
		}
		if m.left {
			flags |= 2
		}
		b = binary.AppendUvarint(b, uint64(m.seq)<<2|flags)
	}
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	return cursorEncoding.EncodeToString(b)
}

func appendKey(b []byte, key uint64) []byte {
	var k [8]byte
	binary.BigEndian.PutUint64(k[:], key)
	return append(b, k[8-keyBytes:]...)
}

var errCursor = chat.Errorf(chat.BadRequest, "cursor is none of ours")

// parseCursor reads what String wrote. It fails with BadRequest.
func parseCursor(s string) (cursor, error) {
	if len(s) > cursorMost {
		return cursor{}, errCursor
	}
	b, err := cursorEncoding.DecodeString(s)
	if err != nil || len(b) < 5 || b[0] != cursorVersion {
		return cursor{}, errCursor
	}
	body, sum := b[:len(b)-4], b[len(b)-4:]
	if binary.BigEndian.Uint32(sum) != crc32.ChecksumIEEE(body) {
		return cursor{}, errCursor
	}
	r := reader{b: body[1:]}
	c := cursor{}
	c.at, c.poller, c.answer = int64(r.number()), r.number(), r.number()
	parts := r.number()
	if parts > partitionsMost {
		return cursor{}, errCursor
	}
	c.base = make([]uint64, parts)
	for p := 0; p < len(c.base) && !r.bad; p++ {
		if c.base[p] = r.number(); c.base[p] == 0 {
			p += int(min(r.number(), partitionsMost))
		}
	}
	c.members = r.key()
	n := r.number()
	if n > movedMost {
		return cursor{}, errCursor
	}
	for range n {
		m := moved{key: r.key()}
		v := r.number()
		m.seq, m.member, m.left = chat.Seq(v>>2), v&1 != 0, v&2 != 0
		c.moved = append(c.moved, m)
	}
	if r.bad || len(r.b) > 0 || c.at < 0 {
		return cursor{}, errCursor
	}
	return c, nil
}

// partitionsMost is the largest number of partitions that a mesh may have.
const partitionsMost = 1024

// reader takes a cursor apart; bad says that it ended too early.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) number() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad = true
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) key() uint64 {
	if len(r.b) < keyBytes {
		r.bad = true
		return 0
	}
	var k [8]byte
	copy(k[8-keyBytes:], r.b)
	r.b = r.b[keyBytes:]
	return binary.BigEndian.Uint64(k[:])
}
