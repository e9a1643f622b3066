package edge

import (
	"cmp"
	"context"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// missed is what a position misses, and the position that has it.
type missed struct {
	next position
	// heads is up to where each of the person's chats is, of those that have an event in the log.
	heads map[chat.ID]chat.Seq
	keys  map[uint64]chat.Seq
	// late are chats with events behind the position, the one that was active last first.
	late []behind
	// resync are chats that the client must ask for; all says that it must ask for everything.
	resync []chat.ID
	all    bool
	// anew says that nothing is known of the position.
	anew bool
}

// Bounds of looking for what was missed.
const (
	// endsAge is how old what is known of the ends of the streams may be: an older end is no wrong one, it only leaves more to be noted
	// in the position.
	endsAge = 250 * time.Millisecond
	// lateAtOnce is of how many chats is asked at once where they were.
	lateAtOnce = 8
	// chatsPages bounds how many answers of svc.user.chats are read, 10,000 chats each.
	chatsPages = 100
)

// missed reads what a position of a person misses. A nil position is told nothing and misses nothing: it begins now. The person's subject
// must be subscribed already. It fails with Unavailable.
//
// The ends of the streams come first, then the list of chats, then the heads. An event up to an end is of a chat in the list, because a chat is
// put into the list before the event that makes somebody a member; and the heads have it. What comes behind is delivered.
func (s *Server) missed(ctx context.Context, user chat.UserID, from *position) (*missed, error) {
	m := &missed{next: position{at: time.Now().Unix(), base: make([]uint64, s.c.Partitions)}, heads: map[chat.ID]chat.Seq{}, keys: map[uint64]chat.Seq{}}
	var base []uint64
	age := endsAge
	if from != nil {
		base = from.base
		if len(from.moved) > movedMany { // these are to be behind the new base
			age = 0
		}
	}
	ends, err := s.ends.get(ctx, s, base, age)
	if err != nil {
		return nil, err
	}
	if from != nil && (len(base) != s.c.Partitions || time.Since(time.Unix(from.at, 0)) > s.c.Log.Retention()*9/10 || before(ends, base)) {
		// Of another mesh, from before the log begins, or of logs that were lost: nothing can be told.
		m.all, m.anew, from = true, true, nil
	}
	ids, err := s.chatsOf(ctx, user)
	if err != nil {
		return nil, err
	}
	latest, err := s.c.Log.Latest(ctx, ids)
	if err != nil {
		return nil, err
	}
	f := finder{s: s, user: user, m: m, from: from, ends: ends, seen: make(map[uint64]bool, len(ids))}
	for _, id := range ids {
		snap, inLog := latest[id]
		f.look(id, snap, inLog)
	}
	if from == nil {
		return m, nil
	}
	if err := f.locate(ctx); err != nil {
		return nil, err
	}
	f.judge()
	return m, nil
}

// finder looks at one chat after the other.
type finder struct {
	s    *Server
	user chat.UserID
	m    *missed
	from *position
	ends []uint64
	// sum is what members of the position should be, by what is found; seen are the chats that there are.
	sum  uint64
	seen map[uint64]bool
	// stirred are chats of which something is behind the base and nothing in moved.
	stirred []stir
}

// stir is a chat of which something is behind the base and nothing in moved; first is what is looked for.
type stir struct {
	id     chat.ID
	key    uint64
	part   int
	snap   chatlog.Snapshot
	member chat.Member
	in     bool
	first  chat.Seq
}

// look takes a chat of the list into account.
func (f *finder) look(id chat.ID, snap chatlog.Snapshot, inLog bool) {
	key, part := keyOf(id), f.s.c.Log.Partition(id)
	f.seen[key] = true
	member, in := chat.Member{}, true // of what was quiet for longer than the log reaches, the list is right
	if inLog {
		member, in = snap.State.Member(f.user)
	}
	if in {
		f.m.next.members ^= key
		f.m.next.base[part] = f.ends[part]
	}
	if in && !inLog {
		f.m.keys[key] = 0
	}
	if in && inLog {
		f.m.heads[id], f.m.keys[key] = snap.Head.Seq, snap.Head.Seq
		if snap.Head.Stream > f.ends[part] {
			f.m.next.moved = append(f.m.next.moved, moved{key: key, seq: snap.Head.Seq, member: true})
		}
	}
	if f.from == nil {
		return
	}
	if i := f.from.find(key); i >= 0 {
		t := f.from.moved[i]
		if t.member {
			f.sum ^= key
		}
		switch {
		case in && inLog && snap.Head.Seq > t.seq:
			from := t.seq
			if t.left { // they were added again
				from = max(from, member.Since-1)
			}
			f.m.late = append(f.m.late, behind{id: id, cursor: from, head: snap.Head.Seq, at: snap.Head.At})
		case !in && !t.left:
			f.m.resync = append(f.m.resync, id)
		}
		return
	}
	switch {
	case inLog && snap.Head.Stream > f.from.base[part]:
		f.stirred = append(f.stirred, stir{id: id, key: key, part: part, snap: snap, member: member, in: in})
	case in:
		f.sum ^= key
	}
}

// locate finds what is missed of the chats that were quiet at the position.
func (f *finder) locate(ctx context.Context) error {
	slices.SortFunc(f.stirred, func(a, b stir) int {
		return cmp.Or(b.snap.Head.At.Compare(a.snap.Head.At.Time), cmp.Compare(a.id, b.id))
	})
	if len(f.stirred)+len(f.from.moved) > movedMost-movedMany { // more than can be told one by one
		f.m.all, f.m.late, f.m.resync, f.stirred = true, nil, nil, nil
		return nil
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(lateAtOnce)
	for i := range f.stirred {
		p := &f.stirred[i]
		g.Go(func() (err error) {
			p.first, err = f.s.c.Log.FirstBehind(ctx, p.id, f.from.base[p.part])
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, p := range f.stirred {
		switch {
		case p.first == 0: // taken out of the log meanwhile
			f.m.all = true
		case p.in:
			if p.member.Since < p.first {
				f.sum ^= p.key
			}
			f.m.late = append(f.m.late, behind{id: p.id, cursor: max(p.first-1, p.member.Since-1), head: p.snap.Head.Seq, at: p.snap.Head.At})
		default:
			for _, d := range slices.Backward(p.snap.State.Left) {
				if d.UserID != f.user {
					continue
				}
				if d.Until >= p.first && d.Since < p.first {
					f.sum ^= p.key
					f.m.resync = append(f.m.resync, p.id)
				}
				break
			}
		}
	}
	return nil
}

// judge compares what the person was in with what they are in now.
func (f *finder) judge() {
	for _, t := range f.from.moved {
		if f.seen[t.key] {
			continue
		}
		if t.member {
			f.sum ^= t.key
		}
		if !t.left {
			f.m.all = true
		}
	}
	if f.sum != f.from.members {
		f.m.all = true
	}
	slices.SortFunc(f.m.late, func(a, b behind) int { return cmp.Or(b.at.Compare(a.at.Time), cmp.Compare(a.id, b.id)) })
}

// chatsOf lists the chats of a person; a chat of which they are about to become a member is in it.
func (s *Server) chatsOf(ctx context.Context, user chat.UserID) ([]chat.ID, error) {
	var all []chat.ID
	after := chat.ID("")
	for range chatsPages {
		var a wire.ChatsOfAnswer
		if err := s.c.Bus.Call(ctx, subject.UserChatsEndpoint, wire.ChatsOfRequest{User: string(user), After: after}, &a); err != nil {
			if !isRefusal(err) {
				err = chatUnavailable()
			}
			return nil, err
		}
		all = append(all, a.Chats...)
		if !a.More || len(a.Chats) == 0 {
			break
		}
		after = a.Chats[len(a.Chats)-1]
	}
	return all, nil
}

// ends knows the last sequences of the streams of chats as of a moment ago.
type ends struct {
	// turn is held while they are read: who needs them waits for the same answer.
	turn chan struct{}
	read time.Time
	at   []uint64
}

func newEnds() *ends { return &ends{turn: make(chan struct{}, 1)} }

// endsAtOnce is how many streams are asked at once.
const endsAtOnce = 16

// get returns the ends, which are at most so old. Where one lies before base, which may be nil, they are read again.
func (e *ends) get(ctx context.Context, s *Server, base []uint64, age time.Duration) ([]uint64, error) {
	select {
	case e.turn <- struct{}{}:
		defer func() { <-e.turn }()
	case <-ctx.Done():
		return nil, chatUnavailable()
	}
	if time.Since(e.read) < age && !before(e.at, base) {
		return e.at, nil
	}
	at, now := make([]uint64, s.c.Partitions), time.Now()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(endsAtOnce)
	for p := range at {
		g.Go(func() (err error) {
			at[p], err = s.c.Log.End(ctx, p)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	e.read, e.at = now, at
	return at, nil
}

// before tells whether an end lies before a base.
func before(ends, base []uint64) bool {
	for p, b := range base {
		if p < len(ends) && b > ends[p] {
			return true
		}
	}
	return false
}
