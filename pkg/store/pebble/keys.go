package pebble

import (
	"bytes"
	"encoding/binary"
	"math"
	"time"

	lsm "github.com/cockroachdb/pebble/v2"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// The tables; doc.go tells their keys and values.
const (
	accountTable    = 'a'
	blockTable      = 'b'
	settingsTable   = 'c'
	deletionTable   = 'd'
	eventTable      = 'e'
	foundTable      = 'f'
	erasedTable     = 'g'
	headTable       = 'h'
	hiddenTable     = 'i'
	markTable       = 'k'
	membershipTable = 'm'
	nameTable       = 'n'
	mentionTable    = 'o'
	mentionedTable  = 'p'
	purgeTable      = 'q'
	stateTable      = 's'
	sessionTable    = 't'
	versionTable    = 'v'
	expiryTable     = 'x'
)

// maxKey is enough for every key but that of a very long user name or emoji.
const maxKey = 4 + 3*chat.MaxID + 8

// checkIDs fails with BadRequest where an id would not fit its key. Ids are parsed at the border; this only guarantees
// that one which was not cannot be taken for another.
func checkIDs[T ~string](what string, ids ...T) error {
	for _, id := range ids {
		if id == "" || len(id) > chat.MaxID {
			return chat.Errorf(chat.BadRequest, "%s is empty or longer than %d bytes", what, chat.MaxID)
		}
	}
	return nil
}

func newKey(table byte) []byte { return append(make([]byte, 0, maxKey), table) }

// appendPart appends an id that something follows.
func appendPart[T ~string](k []byte, id T) []byte { return append(append(k, byte(len(id))), id...) }

// cutPart takes off the first id that something follows.
func cutPart(k []byte) (part string, rest []byte, ok bool) {
	if len(k) == 0 || len(k) < 1+int(k[0]) {
		return "", nil, false
	}
	return string(k[1 : 1+k[0]]), k[1+k[0]:], true
}

func eventPrefix(id chat.ID) []byte { return appendPart(newKey(eventTable), id) }

func eventKey(id chat.ID, seq chat.Seq) []byte {
	return binary.BigEndian.AppendUint64(eventPrefix(id), uint64(seq))
}

func foundPrefix(id chat.ID, sender chat.UserID) []byte {
	return appendPart(appendPart(newKey(foundTable), id), sender)
}

func foundKey(id chat.ID, sender chat.UserID, client chat.ClientID) []byte {
	return append(foundPrefix(id, sender), client...)
}

func headKey(id chat.ID) []byte  { return append(newKey(headTable), id...) }
func stateKey(id chat.ID) []byte { return append(newKey(stateTable), id...) }

func membershipPrefix(user chat.UserID) []byte { return appendPart(newKey(membershipTable), user) }

func membershipKey(user chat.UserID, id chat.ID) []byte {
	return append(membershipPrefix(user), id...)
}

func erasedKey(id chat.ID, seq chat.Seq) []byte {
	return binary.BigEndian.AppendUint64(appendPart(newKey(erasedTable), id), uint64(seq))
}

func purgeKey(id chat.ID, seq chat.Seq) []byte {
	return binary.BigEndian.AppendUint64(appendPart(newKey(purgeTable), id), uint64(seq))
}

// cutPurgeKey takes a purgeKey apart.
func cutPurgeKey(k []byte) (id chat.ID, seq chat.Seq, ok bool) {
	part, rest, ok := cutPart(k[1:])
	if !ok || len(rest) != 8 {
		return "", 0, false
	}
	return chat.ID(part), chat.Seq(binary.BigEndian.Uint64(rest)), true
}

func markPrefix(id chat.ID) []byte { return appendPart(newKey(markTable), id) }

// The kinds of mark, in their keys.
const (
	editKind     = 'e'
	reactionKind = 'r'
)

func editKey(id chat.ID, target, seq chat.Seq) []byte {
	k := append(binary.BigEndian.AppendUint64(markPrefix(id), uint64(target)), editKind)
	return binary.BigEndian.AppendUint64(k, uint64(seq))
}

func reactionKey(id chat.ID, target chat.Seq, by chat.UserID, emoji string) []byte {
	k := append(binary.BigEndian.AppendUint64(markPrefix(id), uint64(target)), reactionKind)
	return append(appendPart(k, by), emoji...)
}

func mentionPrefix(user chat.UserID, id chat.ID) []byte {
	return appendPart(appendPart(newKey(mentionTable), user), id)
}

func mentionKey(user chat.UserID, id chat.ID, seq chat.Seq) []byte {
	return binary.BigEndian.AppendUint64(mentionPrefix(user, id), uint64(seq))
}

func mentionedPrefix(id chat.ID, seq chat.Seq) []byte {
	return binary.BigEndian.AppendUint64(appendPart(newKey(mentionedTable), id), uint64(seq))
}

func mentionedKey(id chat.ID, seq chat.Seq, user chat.UserID) []byte {
	return append(mentionedPrefix(id, seq), user...)
}

func hiddenPrefix(user chat.UserID, id chat.ID) []byte {
	return appendPart(appendPart(newKey(hiddenTable), user), id)
}

func hiddenKey(user chat.UserID, id chat.ID, seq chat.Seq) []byte {
	return binary.BigEndian.AppendUint64(hiddenPrefix(user, id), uint64(seq))
}

func settingsPrefix(user chat.UserID) []byte { return appendPart(newKey(settingsTable), user) }

func settingsKey(user chat.UserID, id chat.ID) []byte { return append(settingsPrefix(user), id...) }

func blockPrefix(by chat.UserID) []byte { return appendPart(newKey(blockTable), by) }

func blockKey(by, user chat.UserID) []byte { return append(blockPrefix(by), user...) }

func deletionKey(user chat.UserID) []byte { return append(newKey(deletionTable), user...) }

func accountKey(user chat.UserID) []byte { return append(newKey(accountTable), user...) }
func nameKey(name string) []byte         { return append(newKey(nameTable), name...) }

func sessionPrefix(user chat.UserID) []byte { return appendPart(newKey(sessionTable), user) }

func sessionKey(user chat.UserID, id string) []byte { return append(sessionPrefix(user), id...) }

// expiryPrefix sorts by time; a time before 1970 counts as 1970.
func expiryPrefix(at time.Time) []byte {
	return binary.BigEndian.AppendUint64(newKey(expiryTable), uint64(max(0, at.UnixMicro())))
}

func expiryKey(at time.Time, user chat.UserID, id string) []byte {
	return append(appendPart(expiryPrefix(at), user), id...)
}

func cutExpiryKey(k []byte) (user chat.UserID, id string, ok bool) {
	if len(k) < 9 {
		return "", "", false
	}
	u, rest, ok := cutPart(k[9:])
	return chat.UserID(u), string(rest), ok
}

// between bounds the keys of prefix that end with, or go on behind, a seq from one to another, both included.
func between(prefix []byte, from, to chat.Seq) *lsm.IterOptions {
	o := &lsm.IterOptions{LowerBound: binary.BigEndian.AppendUint64(bytes.Clone(prefix), uint64(from)), UpperBound: after(prefix)}
	if to < math.MaxUint64 {
		o.UpperBound = binary.BigEndian.AppendUint64(bytes.Clone(prefix), uint64(to)+1)
	}
	return o
}

// after returns the first key behind all keys that begin with prefix.
func after(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil // no bound: cannot be, the first byte is a letter
}
