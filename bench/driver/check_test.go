package driver

import (
	"strings"
	"testing"
)

// play sends five messages of one sender to two receivers, and delivers what the mutant makes of it.
func play(mutant func(numbers []uint32) []uint32, ack func(l *Line, n uint32)) error {
	c := NewChecker()
	l := c.Line(1, 7, 2, 3)
	var numbers []uint32
	for range 5 {
		numbers = append(numbers, l.Sent())
	}
	for _, n := range numbers {
		ack(l, n)
	}
	for _, n := range numbers {
		c.Delivered(2, Stamp{Sender: 1, Address: 7, Number: n})
	}
	for _, n := range mutant(numbers) {
		c.Delivered(3, Stamp{Sender: 1, Address: 7, Number: n})
	}
	return c.Finish()
}

func TestTheCheckerFindsWhatWasLostDoubledOrOvertaken(t *testing.T) {
	all := func(l *Line, n uint32) { l.Acked(n) }
	for _, c := range []struct {
		name   string
		mutant func([]uint32) []uint32
		ack    func(*Line, uint32)
		want   string
	}{
		{"whole", func(n []uint32) []uint32 { return n }, all, ""},
		{"one lost in between", func(n []uint32) []uint32 { return []uint32{1, 2, 4, 5} }, all, "1 of 5 were lost on their way to receiver 3"},
		{"the last lost", func(n []uint32) []uint32 { return n[:4] }, all, "1 of 5 were lost on their way to receiver 3"},
		{"all lost", func(n []uint32) []uint32 { return nil }, all, "5 of 5 were lost on their way to receiver 3"},
		{"one doubled", func(n []uint32) []uint32 { return []uint32{1, 2, 2, 3, 4, 5} }, all, "receiver 3 got 2 twice"},
		{"an old one again", func(n []uint32) []uint32 { return []uint32{1, 2, 3, 4, 5, 1} }, all, "receiver 3 got 1 twice"},
		{"one overtaken", func(n []uint32) []uint32 { return []uint32{1, 3, 2, 4, 5} }, all, "2 was overtaken on its way to receiver 3"},
		{"one that was not sent", func(n []uint32) []uint32 { return append(n, 6) }, all, "only 5 were sent"},
		{"not acknowledged", func(n []uint32) []uint32 { return n }, func(l *Line, n uint32) {
			if n != 3 {
				l.Acked(n)
			}
		}, "1 of 5 were never acknowledged"},
		{"acknowledged twice", func(n []uint32) []uint32 { return n }, func(l *Line, n uint32) { l.Acked(n); l.Acked(n) }, "1 was acknowledged twice"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := play(c.mutant, c.ack)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v; want %q", err, c.want)
			}
		})
	}
}

func TestTheCheckerFindsMessagesOfNobody(t *testing.T) {
	c := NewChecker()
	l := c.Line(1, 7, 2)
	l.Sent()
	l.Acked(1)
	if got := c.Delivered(2, Stamp{Sender: 1, Address: 7, Number: 1}); got != l {
		t.Errorf("got %v; want the line", got)
	}
	if !c.Settled() {
		t.Error("all was acknowledged and delivered; the checker waits for more")
	}
	for _, wrong := range []struct {
		receiver uint32
		stamp    Stamp
	}{{2, Stamp{Sender: 5, Address: 7, Number: 1}}, {9, Stamp{Sender: 1, Address: 7, Number: 1}}} {
		if got := c.Delivered(wrong.receiver, wrong.stamp); got != nil {
			t.Errorf("%+v: got a line; want none", wrong)
		}
	}
	err := c.Finish()
	if err == nil || !strings.Contains(err.Error(), "nobody knows") || !strings.Contains(err.Error(), "not for it") {
		t.Errorf("got %v; want both faults", err)
	}
}
