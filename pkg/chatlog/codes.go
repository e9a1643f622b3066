package chatlog

import (
	"errors"

	"github.com/chatmesh/chatmesh/pkg/bus"
)

// What JetStream's refusals of an append mean here. In every case the caller re-reads the log behind the event it expected to
// be the last, looks for its own message id, and either answers with the seq at which it stands or tries again with the new
// head; a timeout is treated the same. No refusal is taken as proof.
//
//	10071  another event came first (the answer has the sequence that the subject has)      R1, R3
//	10164  the same, from a batch or from an append still in flight                         R1 batches, R3
//	10158  a message with the same id is in flight                                          R3
//	10163  the last sequence of the subject is not known yet, after a change of leader      R3 of old; 2.15.2 says it nowhere
//	10201  a message id in an atomic batch is a duplicate: the whole batch is refused       R1, R3
//	10176  too many batches in flight, from a batch of several                              R1, R3
//	10210  the same, from a batch of one                                                    R1, R3
//	10077  the stream has reached a limit: nothing can be written until there is room       R1, R3
//	10023  the server has reached one                                                       R1, R3
//	10047  the same, said to who would make a stream                                        R1, R3
//
// Each is provoked on a real broker in package bus (refusals_test.go, publish_test.go), and forged here to appends that were stored
// and to such that were not (codes_test.go).
const (
	codeWrongLast        = 10071
	codeWrongLastPending = 10164
	codeIDInFlight       = 10158
	codeLastNotReady     = 10163
	codeDuplicateInBatch = 10201
	codeLimit            = 10077
	codeStorage          = 10047
	codeResources        = 10023
)

// isFull tells whether the broker has no room.
func isFull(err error) bool {
	var refused *bus.Refusal
	if !errors.As(err, &refused) {
		return false
	}
	return refused.Code == codeLimit || refused.Code == codeStorage || refused.Code == codeResources
}

// isConflict tells whether a refused batch can go out again without the chats that refused it.
func isConflict(code int) bool {
	switch code {
	case codeWrongLast, codeWrongLastPending, codeIDInFlight, codeLastNotReady, codeDuplicateInBatch:
		return true
	}
	return false
}
