package pebble

import (
	"bytes"

	lru "github.com/hashicorp/golang-lru/v2"
)

// hotRows is how many rows hot keeps: the heads and cursors of about 10,000 chats in which people talk, in about 6 MB.
const hotRows = 32 << 10

// hot are rows as they were last written or read of the tables that every message replaces one row of: heads and memberships. All who change
// such a row hold the lock of its chat, and change it by a tx; so what is here is what an iterator that is opened now would find, and who
// is about to replace a row need not look for the old one among all that was written lately, which is most of what a write costs.
type hot struct{ rows *lru.Cache[string, []byte] }

func newHot() *hot {
	rows, err := lru.New[string, []byte](hotRows)
	if err != nil {
		panic("pebble: " + err.Error()) // of a size that is not positive
	}
	return &hot{rows}
}

// isHot tells whether a row is of those tables.
func isHot[T string | []byte](key T) bool {
	return len(key) > 0 && (key[0] == headTable || key[0] == membershipTable)
}

// get returns the value of a row; nobody changes it.
func (h *hot) get(key []byte) ([]byte, bool) {
	if !isHot(key) {
		return nil, false
	}
	return h.rows.Get(string(key))
}

// read keeps what a row was found to be. Whoever may change it waits meanwhile.
func (h *hot) read(key, value []byte) {
	if isHot(key) {
		h.rows.Add(string(key), bytes.Clone(value))
	}
}

// wrote keeps what was written, or forgets it where nobody knows whether it was. It is called under the locks of the rows.
func (h *hot) wrote(rows map[string][]byte, err error) {
	for k, v := range rows {
		switch {
		case !isHot(k):
		case err != nil || v == nil:
			h.rows.Remove(k)
		default:
			h.rows.Add(k, v)
		}
	}
}
