package history

import (
	"fmt"
	"strings"
	"time"
)

// Kind is a kind of fault.
type Kind string

// The kinds. Each fault is counted under one of them, the gravest that it can be called.
const (
	// Lost is a message, or what was done to one, that was acked and does not stand in the history.
	Lost Kind = "lost"
	// Doubled is a message, or what was done to one once, that stands at two seqs, or an event that came twice on one connection.
	Doubled Kind = "doubled"
	// Disordered is an event behind a later one, two views that disagree on what stands at a seq, an ack of another seq than the
	// message has, or a message before one that was acked before it was first sent.
	Disordered Kind = "disordered"
	// Hole is a seq that the history or a page lacks, or an event that a connection should have had and was not told to sync.
	Hole Kind = "hole"
	// Leak is an event or a page for somebody who was not a member, or a message from one.
	Leak Kind = "leak"
	// Altered is an event with another content than was sent or than others saw.
	Altered Kind = "altered"
	// Invented is a message that nobody sent.
	Invented Kind = "invented"
	// Unerased is what a person wrote, seen though its deletion was acked before anybody asked, or an event behind the deletion of its
	// message.
	Unerased Kind = "not erased"
	// Forbidden is an edit by another than the sender, or a deletion or a pin by who may not.
	Forbidden Kind = "forbidden"
	// Diverged is a message that a device, a page or a list has otherwise than it is by all that became of it in the history.
	Diverged Kind = "diverged"
	// Unread is a count that is not what a person would count.
	Unread Kind = "wrong unread"
	// CursorBack is a read cursor that moved back, or stands where nobody moved it.
	CursorBack Kind = "cursor back"
	// NotLinear are answers about one membership or one cursor that fit in no order of what was done.
	NotLinear Kind = "not linear"
)

// Kinds are all kinds of fault, the gravest first.
var Kinds = []Kind{Lost, Doubled, Disordered, Hole, Leak, Unerased, Forbidden, Altered, Invented, Diverged, Unread, CursorBack, NotLinear}

// Finding is one fault.
type Finding struct {
	Kind Kind
	At   Time
	What string
}

// Stall is the longest wait of a kind.
type Stall struct {
	For, At Time
	What    string
}

// Report is what Check found.
type Report struct {
	// Chats, Sent, Acked, Conns, Delivered, Pages and Standings say how much was checked; Resyncs how often a client was told to sync.
	Chats, Sent, Acked, Conns, Delivered, Pages, Standings, Resyncs int
	// Acts is how often somebody did something to a message that was acked, Deletions how many of these erased it; Folds is how many
	// pages with all of it folded in, lists of pins, previews and devices were compared with the history.
	Acts, Deletions, Folds int
	// Undecided is how many memberships and cursors could not be searched in time: no fault, but no proof either.
	Undecided int
	// Count is the number of faults of each kind, Findings the first of each.
	Count    map[Kind]int
	Findings []Finding
	// ToAck is the longest time from the first attempt to send a message to its first ack, ToDevice from that ack to a
	// connection that was open then.
	ToAck, ToDevice Stall
}

// findingsKept is how many findings of a kind are told.
const findingsKept = 20

func (r *Report) add(k Kind, at Time, format string, args ...any) {
	if r.Count[k]++; r.Count[k] <= findingsKept {
		r.Findings = append(r.Findings, Finding{k, at, fmt.Sprintf(format, args...)})
	}
}

// Faults is how many faults there are.
func (r *Report) Faults() (n int) {
	for _, c := range r.Count {
		n += c
	}
	return n
}

// LongestStall is the longer of the two.
func (r *Report) LongestStall() Time { return max(r.ToAck.For, r.ToDevice.For) }

// String is the report in one line.
func (r *Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "chats %d, sent %d, acked %d, connections %d, delivered %d, pages %d, standings %d, resyncs %d, acts %d, deletions %d, folds %d", r.Chats, r.Sent, r.Acked,
		r.Conns, r.Delivered, r.Pages, r.Standings, r.Resyncs, r.Acts, r.Deletions, r.Folds)
	for _, k := range Kinds {
		fmt.Fprintf(&b, ", %s %d", k, r.Count[k])
	}
	if r.Undecided > 0 {
		fmt.Fprintf(&b, ", undecided %d", r.Undecided)
	}
	fmt.Fprintf(&b, ", longest stall %v", r.LongestStall().Round(time.Millisecond))
	return b.String()
}

// Details are the findings, one a line.
func (r *Report) Details() string {
	var b strings.Builder
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "%s: at %v: %s\n", f.Kind, f.At.Round(time.Millisecond), f.What)
	}
	return b.String()
}
