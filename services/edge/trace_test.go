package edge

import (
	"net/http"
	"strconv"
	"testing"

	"github.com/gorilla/websocket"
	"github.com/nats-io/nats.go"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/trace"
	"github.com/chatmesh/chatmesh/pkg/trace/tracetest"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

const place = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// eventTo is an event of a chat on the subject of a person, with its place in a trace if it has one.
func eventTo(user chat.UserID, seq chat.Seq, parent string) *nats.Msg {
	at := chat.Now()
	m := &nats.Msg{Subject: subject.User(user), Header: nats.Header{subject.HeaderStream: {strconv.Itoa(int(seq))}},
		Data: wire.Encode(chat.Event{Type: chat.Message, Chat: "c1", Seq: seq, N: uint64(seq), Sender: "u2", ClientID: "c", Text: "hello", SentAt: &at})}
	trace.Mark(m.Header, parent)
	return m
}

func TestADeliveryThatIsNotTracedAllocatesNothingForTraces(t *testing.T) {
	off := newRig(t)
	on := off.another("e2", func(c *Config) { c.Tracer = meshtest.Tracer(t, "http://127.0.0.1:1", 0) })
	plain, marked := eventTo("u1", 1, ""), eventTo("u1", 1, place)
	allocs := func(s *Server, m *nats.Msg) float64 {
		p := &person{s: s, id: "u1"}
		p.receive(m, nil) // from now on it comes again
		least := testing.AllocsPerRun(200, func() { p.receive(m, nil) })
		for range 4 { // what runs beside it counts as well
			least = min(least, testing.AllocsPerRun(200, func() { p.receive(m, nil) }))
		}
		return least
	}
	want := allocs(off.edge, plain)
	if got := allocs(off.edge, marked); got != want {
		t.Errorf("a traced event where tracing is off: got %v allocations; want %v", got, want)
	}
	if got := allocs(on.edge, plain); got != want {
		t.Errorf("an event that is not traced where tracing is on: got %v allocations; want %v", got, want)
	}
	if got := allocs(on.edge, marked); got <= want {
		t.Errorf("a traced event: got %v allocations, as one that is not; want more, or this test sees nothing", got)
	}
}

func TestASpanFollowsAFrameIntoTheSocketOrSaysThatItWasNotWritten(t *testing.T) {
	out := tracetest.New(t)
	tr := meshtest.Tracer(t, out.URL, 1)
	_, span := tr.From(t.Context(), "edge deliver", place, "c1")
	first, second, third := []byte("{1}"), []byte("{2}"), []byte("{3}")
	c := &conn{out: [][]byte{first}}
	c.follow(frame{data: first, span: &span})
	c.follow(frame{data: second, span: &span}) // was not queued: the reader is too slow
	c.out = append(c.out, second, third)
	c.follow(frame{data: third, span: &span})
	if len(c.traced) != 2 {
		t.Fatalf("got %d spans; want those of what was queued", len(c.traced))
	}
	rest := written(written(c.traced, first), second)
	if len(rest) != 1 {
		t.Fatalf("got %d spans left; want that of the third frame", len(rest))
	}
	unwritten(rest)
	meshtest.Eventually(t, meshtest.Patience, "both", func() bool { return len(out.Named("edge write", "")) == 2 })
	failed := 0
	for _, s := range out.Named("edge write", "") {
		if s.Failed && s.Attrs["chatmesh.error"] == string(chat.Unavailable) {
			failed++
		}
	}
	if failed != 1 {
		t.Errorf("got %d that failed; want the one that was not written", failed)
	}
	span.End(nil)
}

// A client cannot have itself traced by the headers of its connection: only what is sampled is.
func TestAFrameBeginsATraceOfItsOwnWhateverTheHandshakeSays(t *testing.T) {
	out := tracetest.New(t)
	tr := meshtest.Tracer(t, out.URL, 1)
	r := newRig(t).another("e2", func(c *Config) { c.Tracer = tr })
	d := websocket.Dialer{Subprotocols: []string{wire.Subprotocol}}
	ws, res, err := d.Dial(r.url, http.Header{"Traceparent": {place}})
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	defer func() { _ = ws.Close() }()
	token, _, err := r.signer.Sign("u1", "s1")
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{`{"type":"hello","token":"` + token + `"}`, `{"type":"send","id":"1","chat":"nochat","client_id":"c","text":"t"}`} {
		if err := ws.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	meshtest.Eventually(t, meshtest.Patience, "the send", func() bool { return len(out.Named("edge send", "")) == 1 })
	s := out.Named("edge send", "")[0]
	if s.Parent != "" || s.Trace == place[3:35] || !s.Failed || s.Attrs["chatmesh.error"] != string(chat.NotFound) {
		t.Errorf("got %+v; want a root that says why it was refused", s)
	}
}
