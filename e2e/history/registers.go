package history

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

// searchTime bounds the search for an order of what was done to one membership or cursor.
const searchTime = 5 * time.Second

// checkRegisters looks at each membership and each read cursor as a register that several people write and read at the same time, and
// searches an order in which every answer is right. What has no outcome may stand anywhere from its begin on, also behind
// everything else, where nobody sees it.
func (c *checker) checkRegisters() {
	var mu sync.Mutex // guards the report
	var wg sync.WaitGroup
	room := make(chan struct{}, 2)
	search := func(m porcupine.Model, ops []porcupine.Operation, what string) {
		if len(ops) < 2 {
			return
		}
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			res := porcupine.CheckOperationsTimeout(m, ops, searchTime)
			mu.Lock()
			defer mu.Unlock()
			switch res {
			case porcupine.Illegal:
				c.r.add(NotLinear, 0, "%s: no order of these fits their answers:%s", what, listed(ops))
			case porcupine.Unknown:
				c.r.Undecided++
			}
		})
	}
	for id, p := range c.chats {
		for user, ops := range p.memberships() {
			search(membership, ops, "chat "+id+", membership of "+user)
		}
		for user, ops := range p.cursorOps() {
			search(cursor, ops, "chat "+id+", cursor of "+user)
		}
	}
	wg.Wait()
}

// put writes to a membership or raises a cursor, look reads it.
type (
	put  struct{ value uint64 }
	look struct{}
)

// answer is what a look saw. own says that the value may be one that own messages gave the cursor, which no mark wrote; most that
// the cursor may stand further, behind what was looked at.
type answer struct {
	value     uint64
	own, most bool
}

// membership is 1 while somebody is a member.
var membership = porcupine.Model{
	Init: func() any { return uint64(0) },
	Step: func(state, input, output any) (bool, any) {
		if w, ok := input.(put); ok {
			return true, w.value
		}
		return output.(answer).value == state.(uint64), state
	},
}

// cursor only moves forward. Own messages move it as well: then it is seen at one of them, above what marks say.
var cursor = porcupine.Model{
	Init: func() any { return uint64(0) },
	Step: func(state, input, output any) (bool, any) {
		now := state.(uint64)
		if w, ok := input.(put); ok {
			now = max(now, w.value)
		}
		if a, ok := output.(answer); ok && (a.value < now && !a.most || a.value > now && !a.own) {
			return false, state
		}
		return true, now
	},
}

// memberships are the operations on each membership of a chat.
func (p *past) memberships() map[string][]porcupine.Operation {
	out := map[string][]porcupine.Operation{}
	for user, spans := range p.spans {
		if spans[0].from == 1 && len(p.changes[user]) > 0 {
			out[user] = append(out[user], porcupine.Operation{Input: put{1}, Call: math.MinInt64, Return: math.MinInt64 + 1})
		}
	}
	for user, changes := range p.changes {
		for _, ch := range changes {
			op := porcupine.Operation{Input: put{0}, Call: int64(ch.begin), Return: int64(ch.end)}
			if ch.add {
				op.Input = put{1}
			}
			switch ch.outcome {
			case Unknown:
				op.Return = math.MaxInt64
				fallthrough
			case Done:
				out[user] = append(out[user], op)
			}
		}
	}
	for _, r := range p.rosters {
		in := map[string]bool{}
		for _, u := range r.Members {
			in[u] = true
		}
		for user := range p.changes {
			saw := answer{}
			if in[user] {
				saw.value = 1
			}
			out[user] = append(out[user], porcupine.Operation{Input: look{}, Output: saw, Call: int64(r.Begin), Return: int64(r.End)})
		}
	}
	return out
}

// cursorOps are the operations on each read cursor of a chat, except where a fault was found already.
func (p *past) cursorOps() map[string][]porcupine.Operation {
	out := map[string][]porcupine.Operation{}
	for user, marks := range p.marks {
		if marks.wrong {
			continue
		}
		for _, m := range marks.all {
			op := porcupine.Operation{Input: put{m.seq}, Call: int64(m.begin), Return: int64(m.end)}
			switch {
			case m.outcome == Refused:
				continue
			case m.outcome == Unknown:
				op.Return = math.MaxInt64
			case m.now != 0:
				op.Output = answer{value: m.now, own: p.mayBeOwn(user, m.now)}
			}
			out[user] = append(out[user], op)
		}
		for _, s := range p.standings[user] {
			saw := answer{value: s.ReadSeq, own: p.mayBeOwn(user, s.ReadSeq), most: s.ReadSeq == s.LastSeq}
			if own := p.own[user]; saw.most && len(own) > 0 && own[len(own)-1] > s.ReadSeq {
				saw.own = true // of a later one
			}
			out[user] = append(out[user], porcupine.Operation{Input: look{}, Output: saw, Call: int64(s.Begin), Return: int64(s.End)})
		}
	}
	return out
}

// listed writes operations down, by the time at which they began.
func listed(ops []porcupine.Operation) string {
	slices.SortFunc(ops, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	var b strings.Builder
	for _, op := range ops {
		end := Time(op.Return).String()
		if op.Return == math.MaxInt64 {
			end = "no answer"
		}
		fmt.Fprintf(&b, "\n\t%v to %s: %T%+v %+v", Time(op.Call), end, op.Input, op.Input, op.Output)
	}
	return b.String()
}
