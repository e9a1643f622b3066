package history

import (
	"flag"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestMain has rapid try each property on more cases than it does by default: they are cheap.
func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("rapid.checks"); f.Value.String() == "100" {
		_ = f.Value.Set(strconv.Itoa(cases)) // a number is always valid
	}
	os.Exit(m.Run())
}

// cases is how many histories each property is tried on.
const cases = 300

func TestACleanRunRaisesNoAlarm(t *testing.T) {
	var total Report
	for range 8 { // each with cases of its own
		rapid.Check(t, func(t *rapid.T) {
			r := Check(newSim(scripts.Draw(t, "script")).run())
			if r.Faults() != 0 || r.Undecided != 0 {
				t.Fatalf("%s\n%s", r, r.Details())
			}
			total.Sent, total.Acked, total.Delivered = total.Sent+r.Sent, total.Acked+r.Acked, total.Delivered+r.Delivered
			total.Pages, total.Standings, total.Resyncs = total.Pages+r.Pages, total.Standings+r.Standings, total.Resyncs+r.Resyncs
			total.Conns += r.Conns
			total.Acts, total.Deletions, total.Folds = total.Acts+r.Acts, total.Deletions+r.Deletions, total.Folds+r.Folds
		})
	}
	t.Logf("%s", &total)
	for what, n := range map[string]int{"acks": total.Acked, "lost acks": total.Sent - total.Acked, "deliveries": total.Delivered, "pages": total.Pages,
		"standings": total.Standings, "resyncs": total.Resyncs, "connections": total.Conns,
		"acts": total.Acts, "deletions": total.Deletions, "folds": total.Folds} {
		if n < 100 {
			t.Errorf("all cases together have %d %s: they prove little", n, what)
		}
	}
}

func TestTheReportCountsWhatItChecked(t *testing.T) {
	h := New()
	h.Send(10, "c", "a", "1", "x").Acked(15, 2)
	h.Send(20, "c", "a", "2", "y").Acked(50, 3)
	h.Send(30, "c", "a", "3", "z")
	conn := h.Open(0, "b", nil)
	conn.Welcomed(5)
	events := []Event{
		{Chat: "c", Seq: 1, Type: "chat", Change: "created", By: "a", Members: "a,b"},
		{Chat: "c", Seq: 2, N: 1, Type: "message", Sender: "a", ClientID: "1", Text: "x"},
		{Chat: "c", Seq: 3, N: 2, Type: "message", Sender: "a", ClientID: "2", Text: "y"},
	}
	conn.Delivered(16, events[1])
	conn.Delivered(90, events[2])
	h.Final("c", events)
	r := Check(h)
	if r.Faults() != 0 || r.Sent != 3 || r.Acked != 2 || r.Delivered != 2 || r.Conns != 1 || r.Chats != 1 {
		t.Errorf("got %s\n%s", r, r.Details())
	}
	if r.ToAck.For != 30 || r.ToDevice.For != 40 || r.LongestStall() != 40 {
		t.Errorf("got stalls %+v and %+v; want 30 to the ack and 40 to the device", r.ToAck, r.ToDevice)
	}
}

func TestAConnectionWithoutACursorOwesOnlyWhatWasSentAfterItsWelcome(t *testing.T) {
	for _, c := range []struct {
		what    string
		welcome Time
		holes   int
	}{
		{"welcomed before both", 5, 2},
		{"welcomed between", 17, 1},
		{"welcomed while the second was under way", 21, 0},
	} {
		h := New()
		h.Send(10, "c", "a", "1", "x").Acked(15, 2)
		h.Send(20, "c", "a", "2", "y").Acked(30, 3)
		h.Open(0, "b", nil).Welcomed(c.welcome)
		h.Final("c", []Event{
			{Chat: "c", Seq: 1, Type: "chat", Change: "created", By: "a", Members: "a,b"},
			{Chat: "c", Seq: 2, N: 1, Type: "message", Sender: "a", ClientID: "1", Text: "x"},
			{Chat: "c", Seq: 3, N: 2, Type: "message", Sender: "a", ClientID: "2", Text: "y"},
		})
		if r := Check(h); r.Count[Hole] != c.holes || r.Faults() != c.holes {
			t.Errorf("%s: got %s; want %d holes", c.what, r, c.holes)
		}
	}
}

func TestARecordMayBeMadeByManyGoroutines(t *testing.T) {
	h := New()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			conn := h.Open(0, "b", nil)
			conn.Welcomed(h.Now())
			for i := range 50 {
				h.Mark(h.Now(), "c", "a", 1).Ended(h.Now(), Done, 0)
				conn.Delivered(h.Now(), Event{Chat: "c", Seq: uint64(i + 1)})
			}
		})
	}
	wg.Wait()
	if len(h.events) != 50 || len(h.conns) != 8 || len(h.marks) != 400 {
		t.Errorf("got %d events, %d connections, %d marks; want 50, 8, 400", len(h.events), len(h.conns), len(h.marks))
	}
}

func TestALongRunIsCheckedInSeconds(t *testing.T) {
	h := New()
	events := []Event{{Chat: "c", Seq: 1, Type: "chat", Change: "created", By: "a", Members: "a,b"}}
	var conns []*Conn
	for range 20 {
		conn := h.Open(0, "b", map[string]uint64{"c": 1})
		conn.Welcomed(0)
		conns = append(conns, conn)
	}
	const n = 25_000
	for i := range n {
		at, seq := Time(i*10), uint64(i+2)
		id := strconv.Itoa(i)
		h.Send(at, "c", "a", id, "x").Acked(at+5, seq)
		e := Event{Chat: "c", Seq: seq, N: uint64(i + 1), Type: "message", Sender: "a", ClientID: id, Text: "x"}
		for _, c := range conns {
			c.Delivered(at+6, e)
		}
		if i%100 == 0 {
			h.Standing(Standing{Begin: at + 7, End: at + 8, Chat: "c", User: "b", LastSeq: seq, Unread: uint64(i + 1)})
		}
		events = append(events, e)
	}
	h.Final("c", events)
	began := time.Now()
	r := Check(h)
	took := time.Since(began)
	if r.Faults() != 0 || r.Delivered != n*len(conns) {
		t.Errorf("got %s\n%s", r, r.Details())
	}
	t.Logf("%d deliveries checked in %v", r.Delivered, took)
	if took > time.Minute {
		t.Errorf("%d deliveries took %v; want seconds, whatever the machine", r.Delivered, took)
	}
}
