package progress

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestProgressIsABarOnATerminalAndLinesElsewhere(t *testing.T) {
	now := time.Now()
	var out bytes.Buffer
	p := &Bar{out: &out, every: lineEvery, now: func() time.Time { return now }, what: "chats verified", total: 40}
	p.begin()
	for range 30 {
		now = now.Add(time.Second)
		p.Step(nil)
	}
	p.End()
	want := "0 of 40 chats verified\n10 of 40 chats verified, 1/s, 30s left\n20 of 40 chats verified, 1/s, 20s left\n" +
		"30 of 40 chats verified, 1/s, 10s left\n30 of 40 chats verified, 1/s, 10s left\n"
	if out.String() != want {
		t.Errorf("got %q; want %q", out.String(), want)
	}
	out.Reset()
	p = &Bar{out: &out, bar: true, every: barEvery, now: func() time.Time { return now }, what: "chats verified", total: 4}
	p.begin()
	now = now.Add(2 * time.Second)
	p.Step(func() { out.WriteString("a problem\n") })
	p.End()
	want = "\r\x1b[K  0% [" + strings.Repeat(" ", 30) + "] 0 of 4 chats verified\r\x1b[Ka problem\n" +
		"\r\x1b[K 25% [=======" + strings.Repeat(" ", 23) + "] 1 of 4 chats verified, 0.5/s, 6s left\r\x1b[K"
	if out.String() != want {
		t.Errorf("got %q; want %q", out.String(), want)
	}
}

func TestWhatIsDoneJustNowStandsBehindTheBar(t *testing.T) {
	now := time.Now()
	var out bytes.Buffer
	p := &Bar{out: &out, every: lineEvery, now: func() time.Time { return now }, what: "seconds", total: 4}
	p.begin()
	p.Doing("pairs")
	p.Doing("pairs")
	p.Add(3, nil)
	p.Doing("idle")
	p.End()
	want := "0 of 4 seconds\n0 of 4 seconds: pairs\n3 of 4 seconds: idle\n3 of 4 seconds\n"
	if out.String() != want {
		t.Errorf("got %q; want %q", out.String(), want)
	}
}

func TestAFileIsNoTerminal(t *testing.T) {
	if OnTerminal(&bytes.Buffer{}) {
		t.Error("got a terminal; want none")
	}
}
