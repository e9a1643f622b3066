package edge

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

func TestAPollAnswersAtOnceWhenThereIsSomethingAndElseAfterTheWait(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.group("g", "ben")
	p := r.poller("ben")
	if got := p.poll(r, "0s"); len(got) != 0 {
		t.Errorf("the first poll: got %s; want nothing: it begins now", typesOf(got))
	}
	began := time.Now()
	if got := p.poll(r, "300ms"); len(got) != 0 || time.Since(began) < 300*time.Millisecond {
		t.Errorf("got %s after %v; want nothing after 300ms", typesOf(got), time.Since(began))
	}
	it := r.say("g", 1)
	go func() {
		meshtest.Eventually(t, meshtest.Patience, "the poll waits", func() bool { return waiting(r) == 1 })
		r.deliver("ben", it)
	}()
	if got := p.poll(r, "60"); !slices.Equal(seqsIn(got, "g"), span(2, 2)) {
		t.Errorf("got %s; want the message", typesOf(got))
	}
	// Between two polls it is kept, and comes at once.
	r.deliver("ben", r.say("g", 2))
	r.deliver("ben", r.say("g", 3))
	meshtest.Eventually(t, meshtest.Patience, "they have come", func() bool { return queued(r) == 2 })
	if got := p.poll(r, "60s"); !slices.Equal(seqsIn(got, "g"), span(3, 4)) {
		t.Errorf("got %s; want both messages", typesOf(got))
	}
	if n := r.edge.Connections(); n != 1 {
		t.Errorf("%d connections for one poller; want 1", n)
	}
}

// waiting is how many polls wait at an edge.
func waiting(r *rig) (n int) {
	for _, c := range r.edge.hub.all() {
		c.mu.Lock()
		if c.feed != nil && c.feed.wake != nil && !c.feed.busy {
			n++
		}
		c.mu.Unlock()
	}
	return n
}

// queued is how much waits for the pollers of an edge.
func queued(r *rig) (n int) {
	for _, c := range r.edge.hub.all() {
		c.mu.Lock()
		n += len(c.out)
		c.mu.Unlock()
	}
	return n
}

func TestAPollerIsToldEachEventOnceWhicheverEdgeAnswers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	edges := []*rig{r, r.another("e2", func(*Config) {}), r.another("e3", func(*Config) {})}
	for _, id := range []chat.ID{"a", "b", "c", "quiet"} {
		r.group(id, "ben")
	}
	r.group("strangers", "eve")
	p := r.poller("ben")
	p.poll(r, "0s")
	want := map[chat.ID]chat.Seq{"a": 1, "b": 1, "c": 1, "quiet": 1, "new": 0}
	for n := range 24 {
		switch id := []chat.ID{"a", "a", "b", "c"}[n%4]; {
		case n == 13:
			r.group("new", "ben")
			want["new"] = 1
			r.deliver("ben", r.event("new", 1))
		case n == 17:
			r.say("strangers", n)
		default:
			it := r.say(id, n)
			want[id] = it.Seq
			if n%3 > 0 { // the rest is lost on its way
				r.deliver("ben", it)
			}
		}
		if n%2 == 0 {
			p.poll(edges[n/2%3], "0s")
		}
	}
	for i := range 3 {
		p.poll(edges[i], "0s")
	}
	for id, last := range want {
		first := chat.Seq(2)
		if id == "new" {
			first = 1
		}
		if got := seqsIn(p.frames, id); !slices.Equal(got, span(first, last)) {
			t.Errorf("%s: got %v; want each event from %d to %d once", id, got, first, last)
		}
	}
	if got := typesOf(p.frames); strings.Contains(got, "resync") {
		t.Errorf("got %s; want no resync", got)
	}
}

func TestAnAnswerThatWasLostComesAgainForTheSameCursor(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.group("g", "ben")
	p := r.poller("ben")
	p.poll(r, "0s")
	old := p.cursor
	r.deliver("ben", r.say("g", 1))
	for range 3 {
		p.cursor = old
		if got := p.poll(r, "60s"); !slices.Equal(seqsIn(got, "g"), span(2, 2)) {
			t.Errorf("got %s; want the message", typesOf(got))
		}
	}
	r.deliver("ben", r.say("g", 2))
	if got := p.poll(r, "60s"); !slices.Equal(seqsIn(got, "g"), span(3, 3)) {
		t.Errorf("got %s; want the next message", typesOf(got))
	}
}

func TestWhoIsRemovedBetweenTwoPollsIsToldToSync(t *testing.T) {
	t.Parallel()
	for _, lingers := range []bool{false, true} { // in the list of chats
		r := newRig(t)
		other := r.another("e2", func(*Config) {})
		r.group("g", "ben")
		r.group("h", "ben")
		r.mu.Lock()
		r.lingers = lingers
		r.mu.Unlock()
		p := r.poller("ben")
		p.poll(r, "0s")
		if got := p.poll(other, "0s"); len(got) != 0 {
			t.Errorf("got %s; want nothing", typesOf(got))
		}
		if _, err := r.log.Append(t.Context(), "g", chat.RemoveMember{By: "ann", User: "ben"}); err != nil {
			t.Fatal(err)
		}
		want := "resync"
		if lingers {
			want = "resync:g"
		}
		if got := typesOf(p.poll(r, "60s")); got != want {
			t.Errorf("listed yet %v: got %q; want %q", lingers, got, want)
		}
		for range 2 { // once
			if got := p.poll(other, "0s"); len(got) != 0 {
				t.Errorf("listed yet %v: got %s; want nothing", lingers, typesOf(got))
			}
		}
		// Who was told of the removal is not told to sync.
		_, err := r.log.Append(t.Context(), "h", chat.RemoveMember{By: "ann", User: "ben"})
		if err != nil {
			t.Fatal(err)
		}
		r.deliver("ben", r.event("h", 2))
		if got := p.poll(other, "10s"); !slices.Equal(seqsIn(got, "h"), span(2, 2)) {
			t.Errorf("listed yet %v: got %s; want the removal", lingers, typesOf(got))
		}
		if got := p.poll(r, "0s"); len(got) != 0 {
			t.Errorf("listed yet %v: got %s; want nothing", lingers, typesOf(got))
		}
	}
}

func TestWhatIsMissedComesInAnswersThatAreBounded(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const chats, each = 12, 150
	want := map[chat.ID]chat.Seq{}
	for n := range chats {
		id := chat.ID(fmt.Sprintf("g%d", n))
		r.group(id, "ben")
		want[id] = each + 1
	}
	p := r.poller("ben")
	p.poll(r, "0s")
	for id := range want {
		for n := range each {
			r.say(id, n)
		}
	}
	other := r.another("e2", func(*Config) {})
	polls := 0
	for n := 0; n < chats*each; polls++ {
		got := p.poll([]*rig{other, r}[polls%2], "10s")
		if len(got) == 0 || len(got) > answerEvents {
			t.Fatalf("an answer has %d events; want 1 to %d", len(got), answerEvents)
		}
		n += len(got)
	}
	for id, last := range want {
		if got := seqsIn(p.frames, id); !slices.Equal(got, span(2, last)) {
			t.Errorf("%s: got %v; want each event from 2 to %d once", id, got, last)
		}
	}
	if got := p.poll(r, "0s"); len(got) > 0 {
		t.Errorf("got %s at last; want nothing", typesOf(got))
	}
	t.Logf("%d events in %d answers", chats*each, polls)
}

func TestWhatIsTooMuchBetweenTwoPollsIsReadFromTheLogs(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.group("g", "ben")
	p := r.poller("ben")
	p.poll(r, "0s")
	text := strings.Repeat("x", 40_000)
	for n := range 5 {
		receipt, err := r.log.Append(t.Context(), "g", chat.Send{Sender: "ann", ClientID: chat.ClientID(fmt.Sprintf("big%d", n)), Text: text})
		if err != nil {
			t.Fatal(err)
		}
		r.deliver("ben", r.event("g", receipt.Seq))
	}
	meshtest.Eventually(t, meshtest.Patience, "it was too much", func() bool {
		c := r.edge.hub.all()[0]
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.feed.behind && len(c.out) == 0
	})
	if got := p.poll(r, "60s"); !slices.Equal(seqsIn(got, "g"), span(2, 6)) {
		t.Errorf("got %v; want all five", seqsIn(got, "g"))
	}
	r.deliver("ben", r.say("g", 9))
	if got := p.poll(r, "60s"); !slices.Equal(seqsIn(got, "g"), span(7, 7)) {
		t.Errorf("got %s; want the next", typesOf(got))
	}
}

func TestAPollerOfManyActiveChatsKeepsASmallCursor(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const chats = 3 * movedMany
	for n := range chats {
		r.group(chat.ID(fmt.Sprintf("g%d", n)), "ben")
	}
	p := r.poller("ben")
	p.poll(r, "0s")
	longest := 0
	for n := range chats {
		r.deliver("ben", r.say(chat.ID(fmt.Sprintf("g%d", n)), n))
		if got := p.poll(r, "60s"); len(got) != 1 {
			t.Fatalf("got %s; want one message", typesOf(got))
		}
		longest = max(longest, len(p.cursor))
		// The logs are read again at the next chance.
		r.edge.hub.all()[0].mu.Lock()
		r.edge.hub.all()[0].feed.lastTry = time.Time{}
		r.edge.hub.all()[0].mu.Unlock()
	}
	if got := p.poll(r, "0s"); len(got) != 0 {
		t.Errorf("got %s; want nothing", typesOf(got))
	}
	t.Logf("the longest cursor has %d characters", longest)
	if most := 100 + 16*(movedMany+2); longest > most {
		t.Errorf("the longest cursor has %d characters; want at most %d", longest, most)
	}
}

func TestWhoMayNotPollIsToldWhy(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	full := r.another("e2", func(c *Config) { c.MaxConnections = 1 })
	full.connect("ann", nil)
	p := r.poller("ben")
	for path, want := range map[string]int{"/poll?cursor=x": 400, "/poll?cursor=AQ": 400, "/poll?wait=-1s": 400, "/poll?wait=soon": 400,
		"/poll?watch=a.b": 400, "/poll?receipts=perhaps": 400, "/poll?idle=x": 400, "/events?cursor=x": 400, "/poll?wait=0": 200} {
		if got, body := p.get(r, path); got != want {
			t.Errorf("%s: got %d %s; want %d", path, got, body, want)
		}
	}
	for _, path := range []string{"/poll", "/events"} {
		if got, _ := p.get(full, path); got != http.StatusServiceUnavailable {
			t.Errorf("%s at a full edge: got %d; want 503", path, got)
		}
		for _, token := range []string{"", "x.y.z"} {
			stranger := &poller{t: t, http: p.http, token: token}
			if got, _ := stranger.get(r, path); got != http.StatusUnauthorized {
				t.Errorf("%s with token %q: got %d; want 401", path, token, got)
			}
		}
		for _, method := range []string{"POST", "HEAD", "DELETE"} {
			req, err := http.NewRequestWithContext(t.Context(), method, r.base()+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			res, err := p.http.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			if res.StatusCode != http.StatusMethodNotAllowed || res.Header.Get("Allow") != "GET" {
				t.Errorf("%s %s: got %d, allowed %q; want 405, GET", method, path, res.StatusCode, res.Header.Get("Allow"))
			}
		}
	}
	r.mu.Lock()
	r.away = true
	r.mu.Unlock()
	if got, _ := r.poller("eve").get(r, "/poll?wait=0s"); got != http.StatusServiceUnavailable {
		t.Errorf("without a list of chats: got %d; want 503", got)
	}
}

func TestTheEndOfASessionEndsItsPollsAndStreams(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.group("g", "ben")
	p := r.poller("ben")
	p.poll(r, "0s")
	s := p.listen(r, "")
	if f, ok := s.next(); !ok || f["type"] != "welcome" {
		t.Fatalf("got %v; want to be welcome", f)
	}
	var revoking sync.WaitGroup
	defer revoking.Wait() // what is told of it may come before its ack
	revoking.Go(func() {
		meshtest.Eventually(t, meshtest.Patience, "the poll waits", func() bool { return waiting(r) == 2 })
		if err := r.bus.Keep(t.Context(), subject.Revoked, "s-ben", wire.Encode(map[string]any{"user": "ben"})); err != nil {
			t.Error(err)
		}
	})
	if got, body := p.get(r, "/poll?wait=60s&cursor="+p.cursor); got != http.StatusUnauthorized {
		t.Errorf("the poll that waits: got %d %s; want 401", got, body)
	}
	if f, ok := s.next(); !ok || f["type"] != "error" || f["code"] != "unauthorized" {
		t.Errorf("the stream: got %v; want unauthorized", f)
	}
	if f, ok := s.next(); ok {
		t.Errorf("the stream: got %v; want its end", f)
	}
	if got, _ := p.get(r, "/poll?wait=60s&cursor="+p.cursor); got != http.StatusUnauthorized {
		t.Errorf("the next poll: got %d; want 401", got)
	}
	meshtest.Eventually(t, meshtest.Patience, "nothing is left", func() bool { return r.edge.Connections() == 0 })
}

func TestAPollerIsOnlineBetweenItsPollsAndGoesWhenItStops(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.group("g", "ben")
	p := r.poller("ben")
	p.poll(r, "0s")
	here := func() bool {
		_, err := r.bus.Key(t.Context(), subject.Presence, subject.PresenceKey("ben", "e1"))
		return err == nil
	}
	meshtest.Eventually(t, meshtest.Patience, "the poller is online", here)
	c := r.edge.hub.all()[0]
	c.tend(time.Now().Add(pollGrace/2), 0)
	if r.edge.Connections() != 1 {
		t.Error("the poller is gone within the grace")
	}
	c.tend(time.Now().Add(pollGrace+time.Second), 0)
	meshtest.Eventually(t, meshtest.Patience, "the poller is offline", func() bool { return !here() })
	if n := r.edge.Connections(); n != 0 {
		t.Errorf("%d connections are left; want none", n)
	}
	r.deliver("ben", r.say("g", 1))
	if got := p.poll(r, "60s"); !slices.Equal(seqsIn(got, "g"), span(2, 2)) {
		t.Errorf("got %s; want what came meanwhile", typesOf(got))
	}
}

func TestAPollerIsToldOfTypingWhileItWaitsAndOfThoseWhomItWatches(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.group("g", "ben")
	r.mu.Lock()
	r.shares["ann"] = true
	r.mu.Unlock()
	p := r.poller("ben")
	if status, body := p.get(r, "/poll?wait=10s&watch=ann,eve"); status != 200 || !strings.Contains(string(body), `"user":"ann","online":false`) ||
		strings.Contains(string(body), `"eve"`) {
		t.Errorf("got %d %s; want the presence of ann", status, body)
	}
	p.poll(r, "0s")
	typing := func() {
		frame := wire.Encode(wire.Typing{Type: wire.TypeTyping, Chat: "g", User: "ann"})
		if err := r.bus.Conn().Publish(subject.User("ben"), frame); err != nil {
			t.Error(err)
		}
	}
	typing() // nobody waits
	r.deliver("ben", r.say("g", 1))
	meshtest.Eventually(t, meshtest.Patience, "the message has come", func() bool { return queued(r) > 0 })
	if got := typesOf(p.poll(r, "60s")); got != "message" {
		t.Errorf("got %s; want the message only", got)
	}
	go func() {
		meshtest.Eventually(t, meshtest.Patience, "the poll waits", func() bool { return waiting(r) == 1 })
		typing()
	}()
	if got := typesOf(p.poll(r, "60s")); got != "typing" {
		t.Errorf("got %s; want typing", got)
	}
}

func TestADrainEndsPollersAndStreamsAndTheyGoOnElsewhere(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.group("g", "ben")
	other := r.another("e2", func(*Config) {})
	idle, waits := r.poller("ben"), r.poller("ben")
	idle.poll(r, "0s")
	waits.poll(r, "0s")
	s := idle.listen(r, "")
	s.next()
	meshtest.Eventually(t, meshtest.Patience, "the edge knows of the other", func() bool { return r.edge.edges.Elsewhere("e1") })
	stopped := make(chan struct{})
	go func() {
		meshtest.Eventually(t, meshtest.Patience, "the poll waits", func() bool { return waiting(r) == 2 })
		defer close(stopped)
		began := time.Now()
		r.stop()
		if took := time.Since(began); took > 20*time.Second { // the poll would wait for a minute
			t.Errorf("the edge stopped after %v; want within its grace", took)
		}
	}()
	if got := typesOf(waits.poll(r, "60s")); got != "draining" {
		t.Errorf("the poll that waits: got %q; want draining", got)
	}
	for {
		if _, ok := s.next(); !ok {
			break
		}
	}
	if got := typesOf(s.frames); got != "welcome draining" {
		t.Errorf("the stream: got %q; want to be welcome, then draining", got)
	}
	<-stopped
	r.say("g", 1)
	for _, p := range []*poller{idle, waits} {
		if got := p.poll(other, "10s"); !slices.Equal(seqsIn(got, "g"), span(2, 2)) {
			t.Errorf("elsewhere: got %s; want the message", typesOf(got))
		}
	}
	again := idle.listen(other, s.last)
	again.until("g", 2)
}

func TestAStormOfPollersIsReadForInTurn(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const people = 99
	var users []chat.UserID
	for i := range people {
		users = append(users, chat.UserID(fmt.Sprintf("u%d", i)))
	}
	r.group("g", users...)
	pollers := make([]*poller, people)
	for i, u := range users {
		pollers[i] = r.poller(u)
		pollers[i].poll(r, "0s")
	}
	other := r.another("e2", func(*Config) {})
	it := r.say("g", 1)
	done := make(chan struct{})
	for _, p := range pollers {
		go func() {
			defer func() { done <- struct{}{} }()
			if got := p.poll(other, "20s"); !slices.Equal(seqsIn(got, "g"), span(it.Seq, it.Seq)) {
				t.Errorf("got %s; want the message", typesOf(got))
			}
		}()
	}
	for range pollers {
		<-done
	}
	if n := other.edge.Connections(); n != people {
		t.Errorf("%d connections; want %d", n, people)
	}
}
