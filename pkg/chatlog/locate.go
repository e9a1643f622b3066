package chatlog

import (
	"context"
	"errors"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/subject"
)

// errAged says that the log does not reach back that far any more.
var errAged = errors.New("chatlog: aged out of the log")

// spot is where an event stands in its partition's stream, or where it stood: then sequence is that of the event before it.
type spot struct {
	sequence uint64
	there    bool
}

// behind is the stream sequence behind which the event, or what follows it, is read.
func (s spot) behind() uint64 {
	if s.there {
		return s.sequence - 1
	}
	return s.sequence
}

// locate returns the place of the event at seq, which must not be above head. It fails with errAged.
//
// The broker finds a message by stream sequence, not by ours; but ours rises with it, so that the place is found by asking
// for the last message up to a sequence, each time closer. What was erased is not there any more.
func locate(ctx context.Context, b *bus.Bus, p int, id chat.ID, seq chat.Seq, head Head) (spot, error) {
	if head.Stream == 0 {
		return spot{}, errAged
	}
	if seq == head.Seq {
		return spot{head.Stream, true}, nil
	}
	stream, subj := subject.ChatStream(p), subject.Log(p, id)
	first, err := b.From(ctx, stream, subj, 1, 1, 0)
	if err != nil {
		return spot{}, err
	}
	if len(first) == 0 {
		return spot{}, errAged
	}
	loSeq, err := seqOf(first[0])
	if err != nil {
		return spot{}, errAged // no event: the store knows what was before
	}
	if seq < loSeq {
		return spot{}, errAged
	}
	lo, hi, hiSeq := first[0].Sequence, head.Stream, head.Seq
	for even := false; ; even = !even {
		switch {
		case seq == loSeq:
			return spot{lo, true}, nil
		case seq == hiSeq:
			return spot{hi, true}, nil
		case hi-lo < 2 || hiSeq <= loSeq:
			return spot{lo, false}, nil
		}
		mid := lo + (hi-lo)/2
		if !even { // by proportion first: chats are written at an even pace more often than not
			mid = lo + uint64(float64(hi-lo)*float64(seq-loSeq)/float64(hiSeq-loSeq))
			mid = min(max(mid, lo+1), hi-1)
		}
		m, err := b.LastUpTo(ctx, stream, subj, mid)
		if err != nil {
			return spot{}, err
		}
		s, err := seqOf(m)
		if err != nil {
			return spot{}, errAged
		}
		if s <= seq {
			lo, loSeq = mid, s
			if s == seq {
				lo = m.Sequence
			}
			continue
		}
		hi, hiSeq = m.Sequence, s
	}
}
