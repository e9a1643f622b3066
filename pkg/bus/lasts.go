package bus

import (
	"context"
	"fmt"
	"sync"
)

// lastsAtOnce is how many subjects are asked for with one request.
const lastsAtOnce = 512

// lasts gathers those who ask for the last message of one subject of a stream. Who asks while a request is under way shares the next one: so
// one who asks alone waits for nobody, and a storm takes few requests.
type lasts struct {
	mu      sync.Mutex // guards streams
	streams map[string]*lastsOf
}

type lastsOf struct {
	mu     sync.Mutex // guards the following fields
	asking bool
	// next are the requests to be made, none but the last with room for a further subject.
	next []*lastsRequest
}

// lastsRequest is one request for those who share it.
type lastsRequest struct {
	subjects map[string]*Msg
	// done is closed when it was answered; then subjects has the answers, or err says why there is none.
	done chan struct{}
	err  error
}

// Last returns the last message of a subject without wildcards; nil is none. It shows all that was acknowledged before it was called. It fails
// with ErrDown.
func (b *Bus) Last(ctx context.Context, stream, subj string) (*Msg, error) {
	q := b.lasts.ask(b, stream, subj)
	select {
	case <-q.done:
		return q.subjects[subj], q.err
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: last of %s: %w", ErrDown, stream, ctx.Err())
	}
}

// ask has a subject asked for with a request that is not under way yet.
func (l *lasts) ask(b *Bus, stream, subj string) *lastsRequest {
	l.mu.Lock()
	s := l.streams[stream]
	if s == nil {
		if l.streams == nil {
			l.streams = make(map[string]*lastsOf)
		}
		s = &lastsOf{}
		l.streams[stream] = s
	}
	l.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.next)
	if n == 0 || len(s.next[n-1].subjects) >= lastsAtOnce {
		s.next = append(s.next, &lastsRequest{subjects: make(map[string]*Msg), done: make(chan struct{})})
		n++
	}
	q := s.next[n-1]
	q.subjects[subj] = nil
	if !s.asking {
		if s.asking = b.askers.begin(func() { s.run(b, stream) }); !s.asking {
			s.next, q.err = nil, errClosed
			close(q.done)
		}
	}
	return q
}

// run makes requests as long as somebody asks.
func (s *lastsOf) run(b *Bus, stream string) {
	for {
		s.mu.Lock()
		if len(s.next) == 0 {
			s.asking, s.next = false, nil
			s.mu.Unlock()
			return
		}
		q := s.next[0]
		s.next = s.next[1:]
		s.mu.Unlock()
		q.err = b.askFor(stream, q)
		close(q.done)
	}
}

// askFor asks the broker. Nobody else has the request any more.
func (b *Bus) askFor(stream string, q *lastsRequest) error {
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	subjects := make([]string, 0, len(q.subjects))
	for subj := range q.subjects {
		subjects = append(subjects, subj)
	}
	msgs, err := b.LastFor(ctx, stream, subjects...)
	for _, m := range msgs {
		q.subjects[m.Subject] = m
	}
	return err
}
