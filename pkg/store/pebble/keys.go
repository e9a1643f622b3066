package pebble

import (
	"encoding/binary"
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// The tables; doc.go tells their keys and values.
const (
	accountTable    = 'a'
	eventTable      = 'e'
	foundTable      = 'f'
	headTable       = 'h'
	membershipTable = 'm'
	nameTable       = 'n'
	stateTable      = 's'
	sessionTable    = 't'
	versionTable    = 'v'
	expiryTable     = 'x'
)

// maxKey is enough for every key but that of a very long user name.
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

func accountKey(user chat.UserID) []byte { return append(newKey(accountTable), user...) }
func nameKey(name string) []byte         { return append(newKey(nameTable), name...) }

func sessionKey(user chat.UserID, id string) []byte {
	return append(appendPart(newKey(sessionTable), user), id...)
}

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
