package bus

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
)

// A direct get is answered by any copy of a stream, also by one that lags behind what was acknowledged. So that a read shows all
// that was acknowledged before it began, the leader of a stream with several copies is asked as well: for the sequence that a
// copy must have reached, or for what follows the last message that a copy gave. A stream with one copy needs none of that.
//
// A leader that was paused and does not know yet that another was elected may answer as well. What it says was right when the
// question reached it, or the new leader has answered before.

// lagPause is the wait before a copy that lags is asked again, doubled up to lagPauses times.
const (
	lagPause  = time.Millisecond
	lagPauses = 5
)

// knownFor is for how long it is believed that a stream has one copy.
const knownFor = time.Minute

// leaderTimeout is how long a leader may take before it is asked again: while one is elected nobody answers.
const leaderTimeout = time.Second

// leaders asks the leaders of streams how far they are. Who asks while a question is under way shares the next one.
type leaders struct {
	mu      sync.Mutex // guards streams
	streams map[string]*leader
}

type leader struct {
	// single is until when, in nanoseconds since 1970, the stream is known to have one copy.
	single atomic.Int64
	mu     sync.Mutex // guards the following fields
	asking bool
	next   *question
}

type question struct {
	done chan struct{}
	last uint64
	err  error
}

func (l *leaders) of(stream string) *leader {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.streams == nil {
		l.streams = make(map[string]*leader)
	}
	s := l.streams[stream]
	if s == nil {
		s = &leader{}
		l.streams[stream] = s
	}
	return s
}

// isSingle tells whether the stream is known to have one copy.
func (l *leader) isSingle() bool { return time.Now().UnixNano() < l.single.Load() }

// floor returns the sequence that a copy of a stream must have reached to show all that was acknowledged before the call; zero where
// there is one copy.
func (b *Bus) floor(ctx context.Context, stream string) (uint64, error) {
	l := b.leaders.of(stream)
	if l.isSingle() {
		return 0, nil
	}
	last, err := b.End(ctx, stream)
	if l.isSingle() {
		return 0, err
	}
	return last, err
}

// End returns the sequence of the last message of a stream: what was acknowledged before the call is not behind it. Zero is an empty
// stream, or none.
func (b *Bus) End(ctx context.Context, stream string) (uint64, error) {
	l := b.leaders.of(stream)
	l.mu.Lock()
	if l.next == nil {
		l.next = &question{done: make(chan struct{})}
	}
	q := l.next
	if !l.asking {
		if l.asking = b.askers.begin(func() { b.askLeader(stream, l) }); !l.asking {
			l.next, q.err = nil, errClosed
			close(q.done)
		}
	}
	l.mu.Unlock()
	select {
	case <-q.done:
		return q.last, q.err
	case <-ctx.Done():
		return 0, fmt.Errorf("%w: leader of %s: %w", ErrDown, stream, ctx.Err())
	}
}

// askLeader asks the leader as long as there are questions.
func (b *Bus) askLeader(stream string, l *leader) {
	for {
		l.mu.Lock()
		q := l.next
		l.next = nil
		l.asking = q != nil
		l.mu.Unlock()
		if q == nil {
			return
		}
		q.last, q.err = b.lastOfLeader(stream, l)
		close(q.done)
	}
}

func (b *Bus) lastOfLeader(stream string, l *leader) (uint64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	for {
		once, stop := context.WithTimeout(ctx, leaderTimeout)
		s, err := b.js.Stream(once, stream)
		stop()
		switch {
		case err == nil:
			if s.CachedInfo().Config.Replicas <= 1 {
				l.single.Store(time.Now().Add(knownFor).UnixNano())
			}
			return s.CachedInfo().State.LastSeq, nil
		case errors.Is(err, jetstream.ErrStreamNotFound):
			return 0, nil // a get says so as well
		case b.Check(ctx) != nil, Sleep(ctx, lagPause) != nil:
			return 0, fmt.Errorf("%w: leader of %s: %w", ErrDown, stream, err)
		}
	}
}

// single tells whether a stream has one copy.
func (b *Bus) single(ctx context.Context, stream string) (bool, error) {
	l := b.leaders.of(stream)
	if l.isSingle() {
		return true, nil
	}
	_, err := b.floor(ctx, stream)
	return l.isSingle(), err
}

// caughtUp waits for a copy that lags, n times already.
func caughtUp(ctx context.Context, stream string, n int) error {
	if err := Sleep(ctx, lagPause<<min(n, lagPauses)); err != nil {
		return fmt.Errorf("%w: a copy of %s lags: %w", ErrDown, stream, err)
	}
	return nil
}

// leaderless is what is said of a stream whose copies are electing.
const leaderless = 10008

// get is a request for one message to the leader of a stream.
type get struct {
	Seq     uint64     `json:"seq,omitempty"`
	LastFor string     `json:"last_by_subj,omitempty"`
	NextFor string     `json:"next_by_subj,omitempty"`
	Since   *time.Time `json:"start_time,omitempty"`
}

// requestAgain asks until somebody answers, each time for as long as once, unless the broker is away: an election, or a broker that ended, leaves
// a request without an answer. pause is the wait after the request of that number, from 0.
func (b *Bus) requestAgain(ctx context.Context, once time.Duration, pause func(n int) time.Duration, subj string, body []byte) (*nats.Msg, error) {
	for n := 0; ; n++ {
		each, stop := context.WithTimeout(ctx, once)
		m, err := b.nc.RequestWithContext(each, subj, body)
		stop()
		if err == nil || b.Check(ctx) != nil || Sleep(ctx, pause(n)) != nil {
			return m, err
		}
	}
}

// fromLeader asks the leader of a stream for a message; nil is none.
func (b *Bus) fromLeader(ctx context.Context, stream string, q get) (*Msg, error) {
	body, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	lag := func(int) time.Duration { return lagPause }
	m, err := b.requestAgain(ctx, leaderTimeout, lag, "$JS.API.STREAM.MSG.GET."+stream, body)
	if err != nil {
		return nil, fmt.Errorf("%w: leader of %s: %w", ErrDown, stream, err)
	}
	var answer struct {
		Error   *jetstream.APIError `json:"error"`
		Message *struct {
			Subject string    `json:"subject"`
			Seq     uint64    `json:"seq"`
			Header  string    `json:"hdrs"`
			Data    []byte    `json:"data"`
			Time    time.Time `json:"time"`
		} `json:"message"`
	}
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return nil, fmt.Errorf("bus: answer of the leader of %s: %w", stream, err)
	}
	if e := answer.Error; e != nil {
		if e.ErrorCode == jetstream.JSErrCodeMessageNotFound {
			return nil, nil
		}
		if e.ErrorCode == leaderless && Sleep(ctx, lagPause<<lagPauses) == nil {
			return b.fromLeader(ctx, stream, q)
		}
		return nil, fmt.Errorf("%w: leader of %s: %w", ErrDown, stream, e)
	}
	if answer.Message == nil {
		return nil, fmt.Errorf("bus: the leader of %s answers without a message", stream)
	}
	out := &Msg{Subject: answer.Message.Subject, Sequence: answer.Message.Seq, Data: answer.Message.Data, Time: answer.Message.Time, Header: nats.Header{}}
	if answer.Message.Header != "" {
		raw, err := base64.StdEncoding.DecodeString(answer.Message.Header)
		if err == nil {
			out.Header, err = nats.DecodeHeadersMsg(raw)
		}
		if err != nil {
			return nil, fmt.Errorf("bus: header of message %d of %s: %w", out.Sequence, stream, err)
		}
	}
	return out, nil
}

// atLeader is how many questions at once are put to a leader.
const atLeader = 16

// anyAtLeader tells whether the leader has a message of one of the subjects.
func (b *Bus) anyAtLeader(ctx context.Context, stream string, subjects []string) (bool, error) {
	var some atomic.Bool
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atLeader)
	for _, subj := range subjects {
		g.Go(func() error {
			m, err := b.fromLeader(ctx, stream, get{LastFor: subj})
			if m != nil {
				some.Store(true)
			}
			return err
		})
	}
	err := g.Wait()
	return some.Load(), err
}

// complete adds what follows messages that a copy gave, as far as the leader has it: up to limit messages and about maxBytes (zero
// is no bound). first finds the first message where there is none yet; more reads from a copy from a sequence on.
func (b *Bus) complete(ctx context.Context, stream, subj string, first get, msgs []*Msg, limit, maxBytes int, more func(from uint64, limit int) ([]*Msg, error)) ([]*Msg, error) {
	single, err := b.single(ctx, stream)
	if single || err != nil {
		return msgs, err
	}
	for {
		n, size := len(msgs), 0
		for _, m := range msgs {
			size += len(m.Data)
		}
		if n >= limit || maxBytes > 0 && size >= maxBytes || n > 0 && msgs[n-1].Header.Get(pendingHeader) > "0" {
			return msgs, nil
		}
		q := first
		if n > 0 {
			q = get{NextFor: subj, Seq: msgs[n-1].Sequence + 1}
		}
		next, err := b.fromLeader(ctx, stream, q)
		if err != nil || next == nil {
			return msgs, err
		}
		msgs = append(msgs, next)
		if len(msgs) == limit {
			return msgs, nil
		}
		some, err := more(next.Sequence+1, limit-len(msgs))
		if err != nil {
			return nil, err
		}
		msgs = append(msgs, some...)
	}
}
