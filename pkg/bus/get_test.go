package bus_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/chatmesh/chatmesh/pkg/bus"
)

func TestStoredMessagesAreFoundByWhatIsAskedFor(t *testing.T) {
	_, b := broker(t)
	stream(t, b, nil)
	for i := range 4 { // 1:a0 2:b0 3:a1 4:b1 5:a2 6:b2 7:a3 8:b3
		publish(t, b, "test.a.log", fmt.Sprintf("a%d", i))
		publish(t, b, "test.b.log", fmt.Sprintf("b%d", i))
	}
	publish(t, b, "test.a.state", "s")
	ctx := t.Context()
	check := func(what string, got []*bus.Msg, err error, want ...string) {
		t.Helper()
		if err != nil || !slices.Equal(bodies(got), want) {
			t.Errorf("%s: got %v, %v; want %v", what, bodies(got), err, want)
		}
	}
	one := func(m *bus.Msg, err error) ([]*bus.Msg, error) {
		if m == nil {
			return nil, err
		}
		return []*bus.Msg{m}, err
	}

	got, err := b.LastFor(ctx, "TEST", "test.b.log")
	check("last of one", got, err, "8:b3")
	got, err = b.LastFor(ctx, "TEST", "test.a.*")
	check("last of both subjects of one", got, err, "7:a3", "9:s")
	got, err = b.LastFor(ctx, "TEST", "test.a.state", "test.nobody.log", "test.b.log")
	check("last of several, one of them empty", got, err, "8:b3", "9:s")
	got, err = b.LastFor(ctx, "TEST", "test.>")
	check("last of all", got, err, "7:a3", "8:b3", "9:s")
	got, err = b.LastFor(ctx, "TEST", "test.nobody.*")
	check("last of none", got, err)

	for upTo, want := range map[uint64]string{1: "1:a0", 2: "1:a0", 3: "3:a1", 6: "5:a2", 7: "7:a3", 9: "7:a3", 1000: "7:a3"} {
		got, err = one(b.LastUpTo(ctx, "TEST", "test.a.log", upTo))
		check(fmt.Sprintf("last up to %d", upTo), got, err, want)
	}
	for _, subj := range []string{"test.b.log", "test.nobody.log"} {
		if m, err := b.LastUpTo(ctx, "TEST", subj, 1); !errors.Is(err, bus.ErrNotFound) || m != nil {
			t.Errorf("last of %s up to 1: got %v, %v; want %v", subj, m, err, bus.ErrNotFound)
		}
	}

	got, err = b.From(ctx, "TEST", "test.a.log", 0, 10, 0)
	check("all", got, err, "1:a0", "3:a1", "5:a2", "7:a3")
	got, err = b.From(ctx, "TEST", "test.a.log", 2, 2, 0)
	check("two from 2", got, err, "3:a1", "5:a2")
	got, err = b.From(ctx, "TEST", "test.a.log", 3, 1, 0)
	check("one from 3", got, err, "3:a1")
	got, err = b.From(ctx, "TEST", "test.*.log", 6, 10, 0)
	check("of several from 6", got, err, "6:b2", "7:a3", "8:b3")
	got, err = b.From(ctx, "TEST", "test.a.log", 8, 10, 0)
	check("behind the last", got, err)
	got, err = b.From(ctx, "TEST", "test.a.log", 1000, 10, 0)
	check("beyond the stream", got, err)
	got, err = b.From(ctx, "TEST", "test.nobody.log", 1, 1, 0)
	check("one of none", got, err)
	got, err = b.From(ctx, "TEST", "test.nobody.log", 1, 10, 100)
	check("of none", got, err)

	got, err = b.Since(ctx, "TEST", "test.a.log", time.Now().Add(-time.Hour), 10, 0)
	check("of the last hour", got, err, "1:a0", "3:a1", "5:a2", "7:a3")
	got, err = b.Since(ctx, "TEST", "test.*.log", time.Now().Add(-time.Hour), 3, 100_000)
	check("three of the last hour", got, err, "1:a0", "2:b0", "3:a1")
	third, err := b.At(ctx, "TEST", 3)
	if err != nil {
		t.Fatal(err)
	}
	got, err = b.Since(ctx, "TEST", "test.a.log", third.Time, 10, 0)
	check("since the third", got, err, "3:a1", "5:a2", "7:a3")
	got, err = b.Since(ctx, "TEST", "test.a.log", time.Now().Add(time.Hour), 10, 0)
	check("of the next hour", got, err)

	got, err = one(b.At(ctx, "TEST", 5))
	check("at 5", got, err, "5:a2")
	for _, seq := range []uint64{10, 1000} {
		if m, err := b.At(ctx, "TEST", seq); !errors.Is(err, bus.ErrNotFound) || m != nil {
			t.Errorf("at %d: got %v, %v; want %v", seq, m, err, bus.ErrNotFound)
		}
	}
}

func TestHeadersOfAStoredMessageComeBack(t *testing.T) {
	_, b := broker(t)
	stream(t, b, nil)
	if _, err := b.Publish(t.Context(), msg("test.a", "x", "Nats-Msg-Id", "id-1", "Chat-Seq", "42")); err != nil {
		t.Fatal(err)
	}
	last, err := b.LastFor(t.Context(), "TEST", "test.a")
	if err != nil {
		t.Fatal(err)
	}
	at, err := b.At(t.Context(), "TEST", 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []*bus.Msg{last[0], at} {
		if m.Subject != "test.a" || m.Header.Get("Nats-Msg-Id") != "id-1" || m.Header.Get("Chat-Seq") != "42" || time.Since(m.Time) > time.Hour {
			t.Errorf("got %+v; want its subject, headers and time", m)
		}
	}
}

func TestBytesBoundHowMuchIsReadAtOnce(t *testing.T) {
	_, b := broker(t)
	stream(t, b, nil)
	for range 10 {
		publish(t, b, "test.a", strings.Repeat("x", 1000))
	}
	for _, c := range []struct{ bytes, least, most int }{{1, 1, 1}, {2500, 2, 3}, {100_000, 10, 10}, {0, 10, 10}} {
		got, err := b.From(t.Context(), "TEST", "test.a", 1, 100, c.bytes)
		if err != nil || len(got) < c.least || len(got) > c.most {
			t.Errorf("%d bytes: got %d messages, %v; want %d to %d", c.bytes, len(got), err, c.least, c.most)
		}
	}
}

func TestMoreSubjectsThanTheBrokerAnswersIsAnErrorNotAPart(t *testing.T) {
	_, b := broker(t)
	stream(t, b, nil)
	var batch []*nats.Msg
	for i := range 1025 {
		batch = append(batch, msg(fmt.Sprintf("test.%d", i), "x"))
	}
	for some := range slices.Chunk(batch, 500) {
		if _, err := b.PublishAtomic(t.Context(), some); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := b.LastFor(t.Context(), "TEST", "test.*"); !errors.Is(err, bus.ErrDown) || got != nil {
		t.Fatalf("got %d messages, %v; want %v", len(got), err, bus.ErrDown)
	}
	if err := b.JetStream().DeleteStream(t.Context(), "TEST"); err != nil {
		t.Fatal(err)
	}
}

// answers stands in the place of a stream: it answers direct gets as fn says, which gets the subjects asked for.
func answers(t *testing.T, b *bus.Bus, name string, fn func(m *nats.Msg, subjects []string)) {
	t.Helper()
	sub, err := b.Conn().Subscribe("$JS.API.DIRECT.GET."+name, func(m *nats.Msg) {
		var q struct {
			Last []string `json:"multi_last"`
		}
		_ = json.Unmarshal(m.Data, &q)
		fn(m, q.Last)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sub.Unsubscribe() })
}

func part(name, subj string, seq, pending int) *nats.Msg {
	return msg("", "x", "Nats-Stream", name, "Nats-Subject", subj, "Nats-Sequence", strconv.Itoa(seq),
		"Nats-Time-Stamp", time.Now().Format(time.RFC3339Nano), "Nats-Num-Pending", strconv.Itoa(pending))
}

// A chat whose events are not read looks like a chat that does not exist: no answer must never look like none found.
func TestNoAnswerOrHalfAnAnswerIsAnErrorNotNothing(t *testing.T) {
	m, b := broker(t)
	second := m.Bus(t)
	answers(t, b, "SILENT", func(*nats.Msg, []string) {})
	answers(t, b, "HALF", func(m *nats.Msg, _ []string) { _ = m.RespondMsg(part("HALF", "test.a", 1, 1)) })
	answers(t, b, "BROKEN", func(m *nats.Msg, _ []string) { // it fails to load the second
		_ = m.RespondMsg(part("BROKEN", "test.a", 1, 1))
		_ = m.RespondMsg(&nats.Msg{Header: nats.Header{"Status": {"404"}, "Description": {"Message Not Found"}}})
	})
	answers(t, b, "CLOSED", func(*nats.Msg, []string) { second.Close() })
	for _, name := range []string{"SILENT", "HALF", "BROKEN", "CLOSED"} {
		ctx := func() context.Context { return within(t, 150*time.Millisecond) }
		if got, err := second.LastFor(ctx(), name, "test.a", "test.b"); !errors.Is(err, bus.ErrDown) || got != nil {
			t.Errorf("last of %s: got %v, %v; want %v", name, bodies(got), err, bus.ErrDown)
		}
		if got, err := second.LastUpTo(ctx(), name, "test.a", 5); !errors.Is(err, bus.ErrDown) || got != nil {
			t.Errorf("last of %s up to 5: got %v, %v; want %v", name, got, err, bus.ErrDown)
		}
		if got, err := second.From(ctx(), name, "test.a", 1, 10, 0); !errors.Is(err, bus.ErrDown) || got != nil {
			t.Errorf("from %s: got %v, %v; want %v", name, bodies(got), err, bus.ErrDown)
		}
		if got, err := second.Since(ctx(), name, "test.a", time.Now(), 10, 0); !errors.Is(err, bus.ErrDown) || got != nil {
			t.Errorf("since of %s: got %v, %v; want %v", name, bodies(got), err, bus.ErrDown)
		}
	}
}

func TestAnswerThatTheBrokerCutsShortIsAskedForInParts(t *testing.T) {
	_, b := broker(t)
	asked := 0
	answers(t, b, "LARGE", func(m *nats.Msg, subjects []string) {
		asked++
		last := 0
		for i, subj := range subjects[:min(len(subjects), 3)] { // no more than three go into an answer
			_, n, _ := strings.Cut(subj, ".")
			last, _ = strconv.Atoi(n)
			_ = m.RespondMsg(part("LARGE", subj, last, len(subjects)-1-i))
		}
		_ = m.RespondMsg(&nats.Msg{Header: nats.Header{"Status": {"204"}, "Description": {"EOB"}}})
	})
	var subjects []string
	var want []uint64
	for i := range 10 {
		subjects, want = append(subjects, fmt.Sprintf("test.%d", 10-i)), append(want, uint64(i+1))
	}
	msgs, err := b.LastFor(t.Context(), "LARGE", subjects...)
	var got []uint64
	for _, m := range msgs {
		got = append(got, m.Sequence)
	}
	if err != nil || !slices.Equal(got, want) || asked < 4 {
		t.Fatalf("got %v, %v after %d requests; want %v", got, err, asked, want)
	}
}

func TestStreamThatIsNotThereAndABrokerThatIsAwayAreErrors(t *testing.T) {
	m, b := broker(t)
	for _, away := range []bool{false, true} {
		if away {
			m.Stop()
		}
		ctx := func() context.Context { return within(t, time.Second) }
		_, err1 := b.LastFor(ctx(), "TEST", "test.a")
		_, err2 := b.LastUpTo(ctx(), "TEST", "test.a", 5)
		_, err3 := b.From(ctx(), "TEST", "test.a", 1, 10, 0)
		_, err4 := b.At(ctx(), "TEST", 1)
		_, err7 := b.Since(ctx(), "TEST", "test.a", time.Now(), 10, 0)
		_, err5 := b.Publish(ctx(), msg("test.a", "x"))
		_, err6 := b.PublishAtomic(ctx(), []*nats.Msg{msg("test.a", "x"), msg("test.a", "y")})
		_, errs := b.PublishAll(ctx(), []*nats.Msg{msg("test.a", "x"), msg("test.b", "y")})
		for i, err := range append([]error{err1, err2, err3, err4, err5, err6, err7}, errs...) {
			if !errors.Is(err, bus.ErrDown) {
				t.Errorf("away %v, call %d: got %v; want %v", away, i, err, bus.ErrDown)
			}
		}
	}
}
