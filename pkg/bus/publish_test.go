package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
)

const (
	expected = jetstream.ExpectedLastSubjSeqHeader
	msgID    = jetstream.MsgIDHeader
)

// refused is the code of a refusal, zero for what is none.
func refused(err error) int {
	var r *bus.Refusal
	if errors.As(err, &r) && r.Text != "" {
		return r.Code
	}
	return 0
}

func TestMessageIsStoredAndSentAgainIsADuplicate(t *testing.T) {
	_, b := broker(t)
	stream(t, b, nil)
	publish(t, b, "test.a", "first")
	a, err := b.Publish(t.Context(), msg("test.a", "x", msgID, "1", expected, "1"))
	if err != nil || a != (bus.Ack{Sequence: 2}) {
		t.Fatalf("got %+v, %v; want it at 2", a, err)
	}
	if a, err := b.Publish(t.Context(), msg("test.a", "x", msgID, "1", expected, "2")); err != nil || a != (bus.Ack{Sequence: 2, Duplicate: true}) {
		t.Fatalf("got %+v, %v; want a duplicate at 2", a, err)
	}
	if _, err := b.Publish(t.Context(), msg("test.a", "x", msgID, "2", expected, "1")); refused(err) != 10071 {
		t.Fatalf("got %v; want a refusal 10071", err)
	}
}

func TestAtomicBatchIsStoredAsAWholeAndItsAckNamesTheLast(t *testing.T) {
	_, b := broker(t)
	stream(t, b, nil)
	publish(t, b, "test.a", "a0")
	ack, err := b.PublishAtomic(t.Context(), []*nats.Msg{
		msg("test.a", "a1", expected, "1", msgID, "a1"), msg("test.a", "a2", msgID, "a2"), // only the first of a subject has an expectation
		msg("test.b", "b1", expected, "0", msgID, "b1"), msg("test.a.state", "s", jetstream.MsgRollup, jetstream.MsgRollupSubject),
	})
	if refused(err) == 0 || lastSeq(t, b, "TEST") != 1 {
		t.Fatalf("got %+v, %v with a rollup that the stream does not allow; want a refusal and nothing stored", ack, err)
	}
	ack, err = b.PublishAtomic(t.Context(), []*nats.Msg{
		msg("test.a", "a1", expected, "1", msgID, "a1"), msg("test.a", "a2", msgID, "a2"), msg("test.b", "b1", expected, "0", msgID, "b1"),
	})
	if err != nil || ack != (bus.Ack{Sequence: 4}) {
		t.Fatalf("got %+v, %v; want the last at 4", ack, err)
	}
	if ack, err := b.PublishAtomic(t.Context(), []*nats.Msg{msg("test.b", "b2", expected, "4")}); err != nil || ack.Sequence != 5 {
		t.Fatalf("a batch of one: got %+v, %v; want it at 5", ack, err)
	}
	got, err := b.From(t.Context(), "TEST", "test.>", 1, 100, 0)
	if want := []string{"1:a0", "2:a1", "3:a2", "4:b1", "5:b2"}; err != nil || !slices.Equal(bodies(got), want) {
		t.Fatalf("got %v, %v; want %v", bodies(got), err, want)
	}
}

func TestOneWrongExpectationRefusesTheWholeBatch(t *testing.T) {
	_, b := broker(t)
	stream(t, b, nil)
	for i := range 5 {
		publish(t, b, fmt.Sprintf("test.%d", i), "first") // test.i has its last at i+1
	}
	for wrong := range 5 {
		var batch []*nats.Msg
		for i := range 5 {
			want := i + 1
			if i == wrong {
				want = 77
			}
			batch = append(batch, msg(fmt.Sprintf("test.%d", i), "second", expected, strconv.Itoa(want), msgID, fmt.Sprint("second", i)))
		}
		ack, err := b.PublishAtomic(t.Context(), batch)
		if code := refused(err); code != 10071 && code != 10164 || ack != (bus.Ack{}) {
			t.Fatalf("%d is wrong: got %+v, %v; want a refusal 10071 or 10164", wrong, ack, err)
		}
		if last := lastSeq(t, b, "TEST"); last != 5 {
			t.Fatalf("%d is wrong: got the stream at %d; want it at 5", wrong, last)
		}
	}
	var batch []*nats.Msg
	for i := range 5 {
		batch = append(batch, msg(fmt.Sprintf("test.%d", i), "second", expected, strconv.Itoa(i+1), msgID, fmt.Sprint("second", i)))
	}
	if ack, err := b.PublishAtomic(t.Context(), batch); err != nil || ack.Sequence != 10 {
		t.Fatalf("got %+v, %v; want what was refused five times to be stored now, the last at 10", ack, err)
	}
}

func TestManyMessagesArePublishedAtOnceAndAnsweredInTheirOrder(t *testing.T) {
	_, b := broker(t)
	stream(t, b, nil)
	publish(t, b, "test.taken", "x")
	var msgs []*nats.Msg
	for i := range 200 {
		switch i % 4 {
		case 0:
			msgs = append(msgs, msg(fmt.Sprintf("test.%d", i), "x", expected, "0"))
		case 1:
			msgs = append(msgs, msg("test.taken", "x", expected, "0"))
		case 2:
			msgs = append(msgs, msg("nowhere", "x"))
		case 3:
			msgs = append(msgs, msg(fmt.Sprintf("test.%d", i), "x", msgID, fmt.Sprint(i/8))) // two of each id
		}
	}
	acks, errs := b.PublishAll(t.Context(), msgs)
	if len(acks) != len(msgs) || len(errs) != len(msgs) {
		t.Fatalf("got %d acks, %d errors; want %d", len(acks), len(errs), len(msgs))
	}
	at := map[string]uint64{}
	for i, err := range errs {
		switch i % 4 {
		case 0, 3:
			if err != nil || acks[i].Sequence == 0 {
				t.Fatalf("message %d: got %+v, %v; want it stored", i, acks[i], err)
			}
			if i%4 == 3 {
				id := fmt.Sprint(i / 8)
				if first, dup := at[id]; dup != acks[i].Duplicate || dup && first != acks[i].Sequence {
					t.Fatalf("message %d: got %+v; want a duplicate %v at %d", i, acks[i], dup, first)
				}
				at[id] = acks[i].Sequence
			}
		case 1:
			if refused(err) != 10071 {
				t.Fatalf("message %d: got %v; want a refusal 10071", i, err)
			}
		case 2:
			if !errors.Is(err, bus.ErrDown) {
				t.Fatalf("message %d: got %v; want %v", i, err, bus.ErrDown)
			}
		}
	}
	for i, a := range acks {
		if errs[i] != nil {
			continue
		}
		if m, err := b.At(t.Context(), "TEST", a.Sequence); err != nil || !a.Duplicate && m.Subject != msgs[i].Subject {
			t.Fatalf("message %d: got %v, %v at %d; want %s", i, m, err, a.Sequence, msgs[i].Subject)
		}
	}
}

// A stream that is frozen (its disk is full, its quorum lost) answers nothing. What was not answered must not use up what the
// client allows to wait, or nothing could be published when the stream is well again.
func TestPublishingGoesOnAfterThousandsOfMessagesWereNotAnswered(t *testing.T) {
	_, b := broker(t)
	stream(t, b, nil)
	sub, err := b.Conn().SubscribeSync("frozen.>") // takes them, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	forever := make(chan error, 1)
	go func() { // without a deadline it has one of its own
		_, errs := b.PublishAll(context.WithoutCancel(t.Context()), []*nats.Msg{msg("frozen.a", "x")})
		forever <- errs[0]
	}()
	var msgs []*nats.Msg
	for i := range 2000 {
		msgs = append(msgs, msg(fmt.Sprintf("frozen.%d", i), "x"))
	}
	for range 3 {
		_, errs := b.PublishAll(within(t, 50*time.Millisecond), msgs)
		for _, err := range errs {
			if !errors.Is(err, bus.ErrDown) {
				t.Fatalf("got %v; want %v", err, bus.ErrDown)
			}
		}
	}
	meshtest.Eventually(t, patience, "a stream that answers takes a message", func() bool {
		_, errs := b.PublishAll(within(t, 5*time.Second), []*nats.Msg{msg("test.a", "x")})
		return errs[0] == nil
	})
	select {
	case err := <-forever:
		if !errors.Is(err, bus.ErrDown) {
			t.Errorf("got %v; want %v", err, bus.ErrDown)
		}
	case <-time.After(patience):
		t.Error("without a deadline it waits for ever")
	}
}

// What the broker's refusals look like here; what they mean to an append is said where appends are made. Those of
// three brokers are in refusals_test.go.
func TestRefusalsCarryTheBrokersCode(t *testing.T) {
	for _, c := range []struct {
		name   string
		codes  []int
		config func(*jetstream.StreamConfig)
		do     func(t *testing.T, b *bus.Bus) error
	}{
		{"another event came first", []int{10071}, nil, func(t *testing.T, b *bus.Bus) error {
			publish(t, b, "test.a", "x")
			_, err := b.Publish(t.Context(), msg("test.a", "y", expected, "0"))
			return err
		}},
		{"another event came first, in a batch", []int{10071, 10164}, nil, func(t *testing.T, b *bus.Bus) error {
			publish(t, b, "test.a", "x")
			_, err := b.PublishAtomic(t.Context(), []*nats.Msg{msg("test.b", "y", expected, "0"), msg("test.a", "y", expected, "0")})
			return err
		}},
		{"an expectation behind the first of a subject in a batch", []int{10164}, nil, func(t *testing.T, b *bus.Bus) error {
			publish(t, b, "test.a", "x")
			_, err := b.PublishAtomic(t.Context(), []*nats.Msg{msg("test.a", "y", expected, "1"), msg("test.a", "z", expected, "2")})
			return err
		}},
		{"a message id that is stored, in a batch", []int{10201}, nil, func(t *testing.T, b *bus.Bus) error {
			if _, err := b.Publish(t.Context(), msg("test.a", "x", msgID, "1")); err != nil {
				t.Fatal(err)
			}
			_, err := b.PublishAtomic(t.Context(), []*nats.Msg{msg("test.b", "y", msgID, "2"), msg("test.a", "x", msgID, "1")})
			return err
		}},
		{"a message id twice in a batch", []int{10201}, nil, func(t *testing.T, b *bus.Bus) error {
			_, err := b.PublishAtomic(t.Context(), []*nats.Msg{msg("test.a", "x", msgID, "1"), msg("test.b", "y", msgID, "1")})
			return err
		}},
		{"the stream is full", []int{10077}, full, func(t *testing.T, b *bus.Bus) error {
			for {
				if _, err := b.Publish(t.Context(), msg("test.a", strings.Repeat("x", 1000))); err != nil {
					return err
				}
			}
		}},
		{"the stream is full, in a batch", []int{10077}, full, func(t *testing.T, b *bus.Bus) error {
			for {
				if _, err := b.PublishAtomic(t.Context(), []*nats.Msg{msg("test.a", strings.Repeat("x", 1000)), msg("test.b", "y")}); err != nil {
					return err
				}
			}
		}},
		{"too many batches in flight", []int{10176}, nil, func(t *testing.T, b *bus.Bus) error { // said of the last: the first was refused unheard
			inFlight(t, b)
			_, err := b.PublishAtomic(t.Context(), []*nats.Msg{msg("test.b", "x"), msg("test.b", "y")})
			return err
		}},
		{"too many batches in flight, and one of one message", []int{10210}, nil, func(t *testing.T, b *bus.Bus) error {
			inFlight(t, b)
			_, err := b.PublishAtomic(t.Context(), []*nats.Msg{msg("test.b", "x")})
			return err
		}},
		{"too large a batch", []int{10199}, nil, func(t *testing.T, b *bus.Bus) error {
			batch := make([]*nats.Msg, 1001)
			for i := range batch {
				batch[i] = msg("test.a", "x")
			}
			_, err := b.PublishAtomic(t.Context(), batch)
			return err
		}},
		{"a stream without batches", []int{10174}, func(c *jetstream.StreamConfig) { c.AllowAtomicPublish = false }, func(t *testing.T, b *bus.Bus) error {
			_, err := b.PublishAtomic(t.Context(), []*nats.Msg{msg("test.a", "x"), msg("test.a", "y")})
			return err
		}},
		{"an age in a stream without ages", []int{10166}, nil, func(t *testing.T, b *bus.Bus) error {
			_, err := b.Publish(t.Context(), msg("test.a", "x", jetstream.MsgTTLHeader, "1s"))
			return err
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, b := broker(t)
			stream(t, b, c.config)
			err := c.do(t, b)
			if !slices.Contains(c.codes, refused(err)) || errors.Is(err, bus.ErrDown) {
				t.Fatalf("got %v; want a refusal %v", err, c.codes)
			}
			t.Log(err)
			s, err := b.JetStream().Stream(t.Context(), "TEST")
			if err != nil {
				t.Fatal(err)
			}
			if n := s.CachedInfo().State.Msgs; n > 20 {
				t.Fatalf("got %d messages; want what was refused not to be stored", n)
			}
			if c.config == nil {
				if _, err := b.Publish(t.Context(), msg("test.after", "x", expected, "0")); err != nil {
					t.Fatalf("after it: %v", err)
				}
			}
		})
	}
}

func full(c *jetstream.StreamConfig) { c.MaxBytes, c.Discard = 8000, jetstream.DiscardNew }

// inFlight begins as many batches as a stream takes at the same time, and commits none.
func inFlight(t *testing.T, b *bus.Bus) {
	t.Helper()
	inFlightOn(t, b, "test.a")
}

func inFlightOn(t *testing.T, b *bus.Bus, subj string) {
	t.Helper()
	for i := range 50 {
		if err := b.Conn().PublishMsg(msg(subj, "x", "Nats-Batch-Id", fmt.Sprint("b", i), "Nats-Batch-Sequence", "1")); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}
