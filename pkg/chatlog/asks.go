package chatlog

import (
	"context"
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// Asked is a question what a person has sent to a chat: all of it, or, where Since is not zero, all up to that event at least.
type Asked struct {
	Chat   chat.ID
	Sender chat.UserID
	Since  chat.Seq
}

// together is an Older that answers several questions of what was sent with one request: the first of them, as many as it can, at
// least one.
type together interface {
	SentAll(ctx context.Context, asked []Asked) ([]Sent, error)
}

// Bounds of asks: how many questions go into one request, how many requests are under way, and how long one may be before another is
// made though there are few questions.
const (
	AskAtOnce  = 64
	askFlights = 8
	askPause   = 20 * time.Millisecond
)

// asks gathers questions of what was sent.
type asks struct {
	*gathered[*question]
	older together
}

// question is one of those who wait.
type question struct {
	Asked
	ctx  context.Context
	done chan struct{} // closed when the following fields are set
	sent Sent
	err  error
}

func newAsks(older together) *asks {
	return &asks{gather[*question](AskAtOnce, askFlights, askPause), older}
}

// ask asks what a person has sent.
func (a *asks) ask(ctx context.Context, asked Asked) (Sent, error) {
	q := &question{Asked: asked, ctx: ctx, done: make(chan struct{})}
	if a.add(q, time.Now()) {
		go a.work() // ends when nobody waits; Run waits for it
	}
	select {
	case <-q.done:
		return q.sent, q.err
	case <-ctx.Done():
		return Sent{}, ctx.Err()
	}
}

// add adds a question to those that wait. Where it tells so, who called it must let work begin.
func (a *asks) add(q *question, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.join(q, now)
}

// next takes those that are asked next; none ends the work.
func (a *asks) next(now time.Time) []*question {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.take(now)
}

// work asks as long as somebody waits.
func (a *asks) work() {
	for some := a.next(time.Now()); len(some) > 0; some = a.next(time.Now()) {
		for len(some) > 0 {
			some = a.answer(some)
		}
	}
}

// answer answers questions, and returns those that are left.
func (a *asks) answer(some []*question) []*question {
	asked := make([]Asked, len(some))
	for i, q := range some {
		asked[i] = q.Asked
	}
	sent, err := a.older.SentAll(context.WithoutCancel(some[0].ctx), asked) // which bounds its time
	n := min(len(sent), len(some))
	if err != nil || n == 0 {
		n = len(some) // nobody is answered
		sent = make([]Sent, n)
	}
	for i, q := range some[:n] {
		q.sent, q.err = sent[i], err
		close(q.done)
	}
	return some[n:]
}
