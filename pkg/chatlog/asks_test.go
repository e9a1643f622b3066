package chatlog

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// teller is an Older that answers some questions at a time.
type teller struct {
	Older
	most  int
	calls int
	err   error
}

func (t *teller) SentAll(_ context.Context, asked []Asked) ([]Sent, error) {
	t.calls++
	var out []Sent
	for _, a := range asked[:min(t.most, len(asked))] {
		out = append(out, Sent{IDs: []ID{IDOf(a.Chat, a.Sender, "m")}, UpTo: a.Since, Complete: true})
	}
	return out, t.err
}

func TestQuestionsThatWaitAreAskedTogetherAndEachGetsItsOwnAnswer(t *testing.T) {
	older := &teller{most: 40}
	a := newAsks(older)
	begin := time.Now()
	var all []*question
	for n := range AskAtOnce + 3 {
		q := &question{Asked: Asked{Chat: chat.ID(fmt.Sprint("c", n)), Sender: "ann", Since: chat.Seq(n)}, ctx: t.Context(), done: make(chan struct{})}
		all = append(all, q)
		if n == 0 {
			if !a.add(q, begin) {
				t.Error("the first finds nobody who asks; want it to begin")
			}
			a.begun = begin
			continue
		}
		if first := a.add(q, begin); first != (n >= AskAtOnce-1 && n < AskAtOnce+2+askFlights) {
			t.Errorf("question %d begins: %t; want another request only where one is full", n, first)
		}
	}
	for range a.flying {
		a.work() // the last of them find nothing
	}
	for n, q := range all {
		<-q.done
		if q.err != nil || !q.sent.Complete || q.sent.UpTo != chat.Seq(n) || q.sent.IDs[0] != IDOf(q.Chat, "ann", "m") {
			t.Errorf("question %d: got %+v, %v; want its own answer", n, q.sent, q.err)
		}
	}
	if older.calls != 3 { // 40 and 24 of the first 64, and the rest
		t.Errorf("got %d requests; want 3: what was not answered is asked again", older.calls)
	}
	a.wait() // nobody asks any more
	if s, err := a.ask(t.Context(), Asked{Chat: "c", Sender: "ann", Since: 7}); err != nil || s.UpTo != 7 {
		t.Errorf("one alone: got %+v, %v; want its answer", s, err)
	}
	older.err = errors.New("away")
	if _, err := a.ask(t.Context(), Asked{Chat: "c", Sender: "ann"}); !errors.Is(err, older.err) {
		t.Errorf("got %v; want the failure", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	older.err = nil
	if _, err := a.ask(ctx, Asked{Chat: "c", Sender: "ann"}); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("got %v; want the answer or that nobody waits", err)
	}
	a.wait()
}

func TestAQuestionDoesNotWaitLongForARequestThatHangs(t *testing.T) {
	a := newAsks(&teller{most: 1})
	now := time.Now()
	one := func() *question { return &question{ctx: t.Context(), done: make(chan struct{})} }
	if !a.add(one(), now) || len(a.next(now)) != 1 {
		t.Fatal("the first does not begin")
	}
	if a.add(one(), now.Add(askPause/2)) || !a.add(one(), now.Add(askPause)) {
		t.Error("want a second request after a while, and not before")
	}
}
