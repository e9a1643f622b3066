package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/e2e/program"
	"github.com/chatmesh/chatmesh/e2e/raw"
)

var pollers = flag.Int("pollers", 200, "how many pollers, and as many WebSockets, TestPollersAndSocketsInTheSameGroupsGetTheSame has")

// poller is a client that polls.
type poller struct {
	p      *person
	cursor string
	events map[string][]uint64
	// resyncs counts how often it was told to sync.
	resyncs int
}

func newPoller(p *person) *poller { return &poller{p: p, events: map[string][]uint64{}} }

// poll polls once, again with the same cursor where the server is too busy or the answer is lost.
func (q *poller) poll(ctx context.Context, wait string) error {
	for end := time.Now().Add(2 * raw.Patience); ; time.Sleep(200 * time.Millisecond) {
		if err := q.try(ctx, wait); err == nil || ctx.Err() != nil || time.Now().After(end) {
			return err
		}
	}
}

func (q *poller) try(ctx context.Context, wait string) error {
	a, err := raw.Call(ctx, q.p.srv.Client, q.p.access, http.MethodGet, "/v1/poll?wait="+wait+"&cursor="+q.cursor, nil)
	if err != nil {
		return err
	}
	if a.Status != http.StatusOK {
		return fmt.Errorf("got %d %.200s", a.Status, a.Body)
	}
	var answer struct {
		Cursor string
		Events []raw.Frame
	}
	if err := a.Into(&answer); err != nil {
		return err
	}
	q.cursor = answer.Cursor
	for _, f := range answer.Events {
		q.take(f)
	}
	return nil
}

func (q *poller) take(f raw.Frame) {
	switch f.Type {
	case "message", "chat":
		q.events[f.Chat] = append(q.events[f.Chat], f.Seq)
	case "resync":
		q.resyncs++
	}
}

// has tells whether the events of each chat up to the last were told.
func (q *poller) has(last map[string]uint64) bool {
	for chat, seq := range last {
		if got := q.events[chat]; len(got) == 0 || got[len(got)-1] < seq {
			return false
		}
	}
	return true
}

// until polls until the events of each chat up to the last were told.
func (q *poller) until(t *testing.T, last map[string]uint64) {
	t.Helper()
	for end := time.Now().Add(raw.Patience); !q.has(last); {
		if err := q.poll(t.Context(), "5s"); err != nil {
			t.Fatalf("poll: %v", err)
		}
		if time.Now().After(end) {
			t.Fatalf("told %v; want up to %v", q.events, last)
		}
	}
}

// stream is a client that reads server-sent events.
type stream struct {
	poller
	stop context.CancelFunc
	res  *http.Response
	in   *bufio.Scanner
	// id and frame are of the event that comes.
	id    string
	frame raw.Frame
}

func (s *stream) open(t *testing.T) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), raw.Patience)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.p.srv.Client+"/v1/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.p.access)
	req.Header.Set("Last-Event-ID", s.cursor)
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("stream: got %v, %v; want 200", res, err)
	}
	s.stop, s.res, s.in, s.id = stop, res, bufio.NewScanner(res.Body), s.cursor
	s.frame = raw.Frame{}
	s.in.Buffer(nil, 1<<20)
}

func (s *stream) close() {
	s.stop()
	_ = s.res.Body.Close()
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}

// until reads until the events of each chat up to the last were told, or the stream ends.
func (s *stream) until(t *testing.T, last map[string]uint64) {
	t.Helper()
	for (!s.has(last) || s.cursor == "") && s.in.Scan() {
		name, value, _ := strings.Cut(s.in.Text(), ": ")
		switch name {
		case "id":
			s.id = value
		case "data":
			if err := json.Unmarshal([]byte(value), &s.frame); err != nil {
				t.Fatalf("%v in %.200s", err, value)
			}
		case "": // the event is whole
			s.take(s.frame)
			s.cursor, s.frame = s.id, raw.Frame{}
		}
	}
	if !s.has(last) {
		t.Fatalf("the stream ended with %v: %v; want up to %v", s.events, s.in.Err(), last)
	}
}

// once checks that each event from first to last came once and in order.
func once(t *testing.T, who string, got []uint64, first, last uint64) {
	t.Helper()
	var want []uint64
	for seq := first; seq <= last; seq++ {
		want = append(want, seq)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %v; want each event from %d to %d once", who, got, first, last)
	}
}

func TestPollersAndStreamsGoOnWhereTheyWereAfterTheirEdgeWasKilled(t *testing.T) {
	t.Parallel()
	cfg := program.Config{Data: t.TempDir()}
	srv := program.Start(t, cfg)
	alice, bob := newPerson(t, srv, "alice"), newPerson(t, srv, "bob")
	chat, quiet := alice.group("polled", bob), alice.group("quiet", bob)
	a := alice.device(nil)
	q := newPoller(bob)
	if err := q.poll(t.Context(), "0s"); err != nil {
		t.Fatal(err)
	}
	s := &stream{poller: *newPoller(bob)}
	s.open(t)
	s.until(t, nil)
	last := map[string]uint64{}
	for n := range 5 {
		last[chat] = send(t, a, chat, newClientID(), text("before %d", n)).Seq
	}
	q.until(t, last)
	s.until(t, last)

	last[chat] = send(t, a, chat, newClientID(), text("told to nobody")).Seq // or to who was quick
	srv.Kill()
	s.close()
	srv = again(t, cfg, alice, bob)
	a = alice.device(nil)
	last[chat] = send(t, a, chat, newClientID(), text("after")).Seq
	last[quiet] = send(t, a, quiet, newClientID(), text("after a long silence")).Seq
	added := alice.group("new", bob)
	last[added] = send(t, a, added, newClientID(), text("in a chat that is new")).Seq
	q.until(t, last)
	s.open(t)
	s.until(t, last)
	// And once more, live.
	last[chat] = send(t, a, chat, newClientID(), text("live")).Seq
	q.until(t, last)
	s.until(t, last)
	s.close()
	for who, got := range map[string]*poller{"the poller": q, "the stream": &s.poller} {
		once(t, who, got.events[chat], 2, last[chat])
		once(t, who, got.events[quiet], 2, last[quiet])
		once(t, who, got.events[added], 1, last[added])
		if got.resyncs > 0 {
			t.Errorf("%s was told to sync %d times; want never", who, got.resyncs)
		}
	}
}

func TestPollersAndSocketsInTheSameGroupsGetTheSame(t *testing.T) {
	const groups, each, messages = 20, 4, 5
	big := *pollers > 200
	people := min(max(*pollers/10, groups), 100)
	srv := program.Start(t, program.Config{NoRace: big})
	all := newPeople(t, srv, "many", people)
	members := make([][]*person, groups)
	of := make([][]int, people)
	for i, p := range all {
		for k := range each {
			g := (i + k*groups/each) % groups
			members[g], of[i] = append(members[g], p), append(of[i], g)
		}
	}
	chats := make([]string, groups)
	inParallel(groups, func(g int) { chats[g] = members[g][0].group(fmt.Sprintf("group %d", g), members[g][1:]...) })
	sockets := make([]*raw.Socket, *pollers)
	const side = 8
	inParallel(side, func(w int) {
		for i := w; i < len(sockets); i += side {
			sockets[i] = all[i%people].device(nil)
		}
	})
	before := resident(t, srv.PID())
	waiting := make([]*poller, *pollers)
	inParallel(side, func(w int) {
		for i := w; i < len(waiting); i += side {
			waiting[i] = newPoller(all[i%people])
			if err := waiting[i].poll(t.Context(), "0s"); err != nil {
				t.Errorf("poller %d: %v", i, err)
			}
		}
	})
	if t.Failed() {
		t.FailNow()
	}
	// All wait, until each has what it is to be told.
	last := make([]map[string]uint64, people) // of each person, complete when sent is closed
	sent := make(chan struct{})
	ctx, stop := context.WithTimeout(t.Context(), 8*time.Minute)
	defer stop()
	wait := map[bool]string{false: "5s", true: "10s"}[big]
	var polling sync.WaitGroup
	polls := make([]int, len(waiting))
	for i, q := range waiting {
		polling.Go(func() {
			for {
				if err := q.poll(ctx, wait); err != nil {
					t.Errorf("poller %d: %v", i, err)
					return
				}
				polls[i]++
				select {
				case <-sent:
					if q.has(last[i%people]) {
						return
					}
				default:
				}
			}
		})
	}
	if big {
		time.Sleep(5 * time.Second)
		t.Logf("resident memory: %d KiB more with %d pollers that wait: %.1f KiB each", resident(t, srv.PID())-before, len(waiting),
			float64(resident(t, srv.PID())-before)/float64(len(waiting)))
	}
	began := time.Now()
	up := make([]uint64, groups)
	inParallel(groups, func(g int) {
		for n := range messages {
			up[g] = max(up[g], send(t, sockets[slices.Index(all, members[g][0])], chats[g], newClientID(), text("message %d", n)).Seq)
		}
	})
	for i := range last {
		last[i] = map[string]uint64{}
		for _, g := range of[i] {
			last[i][chats[g]] = up[g]
		}
	}
	close(sent)
	for i, s := range sockets {
		for chat, seq := range last[i%people] {
			awaitSeq(t, all[i%people].name, s, chat, seq)
		}
	}
	polling.Wait()
	total := 0
	for i, q := range waiting {
		total += polls[i]
		for chat, seq := range last[i%people] {
			once(t, fmt.Sprintf("poller %d", i), q.events[chat], 2, seq)
			once(t, fmt.Sprintf("socket %d", i), seqs(since(2, sockets[i].Events(chat))), 2, seq)
		}
		if q.resyncs > 0 {
			t.Errorf("poller %d was told to sync %d times; want never", i, q.resyncs)
		}
		if t.Failed() {
			break
		}
	}
	t.Logf("%d pollers and %d sockets of %d people have the %d messages of each of %d groups after %v and %d polls", len(waiting), len(sockets), people,
		messages, groups, time.Since(began).Round(time.Millisecond), total)
}

// resident is the memory of a process, in KiB.
func resident(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	var kib int
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		t.Fatal(err)
	}
	return kib
}
