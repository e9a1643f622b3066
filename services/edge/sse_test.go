package edge

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
)

func TestAStreamGoesOnAtAnyEdgeFromItsLastID(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	edges := []*rig{r, r.another("e2", func(*Config) {})}
	for _, id := range []chat.ID{"a", "b"} {
		r.group(id, "ben")
	}
	p := r.poller("ben")
	s := p.listen(r, "")
	if f, ok := s.next(); !ok || f["type"] != "welcome" || f["user"] != "ben" || s.last == "" {
		t.Fatalf("got %v with id %q; want to be welcome", f, s.last)
	}
	var got []map[string]any
	want := map[chat.ID]chat.Seq{"a": 1, "b": 1}
	for n := range 6 {
		id := []chat.ID{"a", "b"}[n%2]
		it := r.say(id, 2*n)
		r.deliver("ben", it)
		s.until(id, it.Seq)
		got = append(got, s.frames...)
		s.cancel()
		missed := r.say(id, 2*n+1)
		if n == 3 {
			r.deliver("ben", missed) // late, or twice
		}
		want[id] = missed.Seq
		s = p.listen(edges[(n+1)%2], s.last)
		s.until(id, missed.Seq)
		r.deliver("ben", missed)
	}
	got = append(got, s.frames...)
	for id, last := range want {
		if seqs := seqsIn(got, id); !slices.Equal(seqs, span(2, last)) {
			t.Errorf("%s: got %v; want each event from 2 to %d once", id, seqs, last)
		}
	}
	// A poll takes the id as well.
	p.cursor = s.last
	it := r.say("a", 99)
	if got := p.poll(r, "10s"); !slices.Equal(seqsIn(got, "a"), span(it.Seq, it.Seq)) {
		t.Errorf("got %s; want the message", typesOf(got))
	}
}

func TestASilentStreamIsKeptAlive(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.poller("ben").listen(r, "")
	s.next()
	c := r.edge.hub.all()[0]
	c.read.Store(time.Now().Add(-keepAlive - time.Second).Unix())
	c.tend(time.Now(), keepAlive+time.Second)
	line, err := s.lines.ReadString('\n')
	for err == nil && !strings.HasPrefix(line, ":") {
		line, err = s.lines.ReadString('\n')
	}
	if err != nil {
		t.Errorf("got %v; want a comment", err)
	}
}

func TestAStreamThatIsNotReadIsCutAndMissesNothingAfterwards(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.group("g", "ben")
	p := r.poller("ben")
	small := func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) })
	}
	p.http.Transport.(*http.Transport).DialContext = (&net.Dialer{Control: small}).DialContext
	s := p.listen(r, "")
	s.next()
	const messages = 30
	for n := range messages {
		receipt, err := r.log.Append(t.Context(), "g", chat.Send{Sender: "ann", ClientID: chat.ClientID(fmt.Sprintf("big%d", n)),
			Text: strings.Repeat("\u0800", 99_000)})
		if err != nil {
			t.Fatal(err)
		}
		r.deliver("ben", r.event("g", receipt.Seq))
	}
	meshtest.Eventually(t, meshtest.Patience, "the stream is cut", func() bool { return r.edge.Connections() == 0 })
	for {
		if _, ok := s.next(); !ok {
			break
		}
	}
	had := len(seqsIn(s.frames, "g"))
	if had >= messages {
		t.Fatalf("all %d messages had room on the way", messages)
	}
	got := slices.Clone(s.frames)
	s = p.listen(r, s.last)
	s.until("g", messages+1)
	got = append(got, s.frames...)
	if seqs := seqsIn(got, "g"); !slices.Equal(seqs, span(2, messages+1)) {
		t.Errorf("got %v; want each event from 2 to %d once", seqs, messages+1)
	}
	t.Logf("%d of %d messages came before the stream was cut", had, messages)
}

func TestAStreamOfManyActiveChatsReadsTheLogsAnewAndLosesNothingMeanwhile(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const chats = movedMany + 8
	for n := range chats {
		r.group(chat.ID(fmt.Sprintf("g%d", n)), "ben")
	}
	p := r.poller("ben")
	s := p.listen(r, "")
	s.next()
	for n := range chats {
		r.deliver("ben", r.say(chat.ID(fmt.Sprintf("g%d", n)), n))
	}
	last := chat.ID(fmt.Sprintf("g%d", chats-1))
	s.until(last, 2)
	meshtest.Eventually(t, meshtest.Patience, "there is a new base", func() bool {
		c := r.edge.hub.all()[0]
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.feed.told.moved) < movedMany
	})
	for n := range chats {
		r.deliver("ben", r.say(chat.ID(fmt.Sprintf("g%d", n)), 1000+n))
	}
	s.until(last, 3)
	for n := range chats {
		if got := seqsIn(s.frames, chat.ID(fmt.Sprintf("g%d", n))); !slices.Equal(got, span(2, 3)) {
			t.Errorf("g%d: got %v; want 2 and 3", n, got)
		}
	}
	if got := typesOf(s.frames); strings.Contains(got, "resync") {
		t.Errorf("got %s; want no resync", got)
	}
}

func TestWhileNobodyListsChatsStreamsGoOn(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const chats = movedMany + 8
	for n := range chats {
		r.group(chat.ID(fmt.Sprintf("g%d", n)), "ben")
	}
	p := r.poller("ben")
	s := p.listen(r, "")
	s.next()
	r.mu.Lock()
	r.away = true
	r.mu.Unlock()
	for n := range chats {
		r.deliver("ben", r.say(chat.ID(fmt.Sprintf("g%d", n)), n))
	}
	s.until(chat.ID(fmt.Sprintf("g%d", chats-1)), 2)
	for n := range chats {
		id := chat.ID(fmt.Sprintf("g%d", n))
		r.deliver("ben", r.say(id, 1000+n))
		s.until(id, 3)
	}
	if got := typesOf(s.frames); strings.Contains(got, "resync") {
		t.Errorf("got %s; want no resync", got)
	}
}
