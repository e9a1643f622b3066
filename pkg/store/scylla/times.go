package scylla

import (
	"unicode/utf8"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// The write timestamps. The server keeps the cell with the highest one. They are made of places in the log, which are below
// maxPlace, and stay under 2^50 microseconds (the year 2005): ScyllaDB refuses what is more than three days in the future.

// maxPlace is above every seq and every stream sequence: 2^49, 560 million million.
const maxPlace = 1 << 49

// firstTime is for what stays as it was first written: the lower the place, the higher the timestamp.
func firstTime(place uint64) int64 { return maxPlace - int64(place) }

// eraseTime is for what takes away something that has a firstTime: it is above all of them, and falls behind no replay.
func eraseTime(place uint64) int64 { return maxPlace + int64(place) }

// lastTime is for what moves forward.
func lastTime(seq chat.Seq) int64 { return int64(seq) }

// linkTime is for the link of a person and a chat, which is its own timestamp: seq<<1, plus 1 where the person is in the chat.
// The greater link is the later one, and of an addition and a removal at one seq the addition is greater.
func linkTime(seq chat.Seq, in bool) int64 {
	if in {
		return int64(seq)<<1 | 1
	}
	return int64(seq) << 1
}

// checkPlace fails with BadRequest where a seq or stream sequence has no timestamp.
func checkPlace(what string, place uint64) error {
	if place >= maxPlace {
		return chat.Errorf(chat.BadRequest, "%s is 2^49 or above", what)
	}
	return nil
}

// checkIDs fails with BadRequest where an id is none. Ids are parsed at the border; this only guarantees that one which was not
// fits a key.
func checkIDs[T ~string](what string, ids ...T) error {
	for _, id := range ids {
		if id == "" || len(id) > chat.MaxID || !utf8.ValidString(string(id)) {
			return chat.Errorf(chat.BadRequest, "%s is empty, longer than %d bytes or no UTF-8", what, chat.MaxID)
		}
	}
	return nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
