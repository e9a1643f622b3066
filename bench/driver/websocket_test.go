package driver

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// kept is a Sink that keeps what it gets.
type kept struct {
	acked  []uint32
	texts  []string
	errs   []error
	notice chan struct{}
}

func (k *kept) Acked(tag uint32)   { k.acked = append(k.acked, tag); k.tell() }
func (k *kept) Delivered(p []byte) { k.texts = append(k.texts, string(p)); k.tell() }
func (k *kept) Failed(err error)   { k.errs = append(k.errs, err); k.tell() }
func (k *kept) tell() {
	if k.notice != nil {
		k.notice <- struct{}{}
	}
}

func TestAStampComesBackAsItWas(t *testing.T) {
	s := Stamp{Sender: 0xabcdef, Address: 1, Number: 4_000_000_000, Due: 78 * time.Hour, Sent: 1}
	b := s.Append([]byte("before"), 100)
	if got, want := string(b[6:6+StampSize]), "~abcdef000001ee6b2800ff62d840c000000000000001"; got != want {
		t.Errorf("got %s; want %s", got, want)
	}
	if len(b) != 106 || bytes.ContainsAny(b, "\"\\<>&") {
		t.Errorf("got %d bytes: %s; want 106 that need no escaping", len(b), b)
	}
	if got, ok := ParseStamp(b[6:]); !ok || got != s {
		t.Errorf("got %+v, %v; want %+v", got, ok, s)
	}
	if got := s.Append(nil, 10); len(got) != StampSize {
		t.Errorf("got %d bytes; want no less than the stamp", len(got))
	}
	b[20] = 'g'
	for _, bad := range [][]byte{nil, b[6:], b[:StampSize], []byte("hello")} {
		if _, ok := ParseStamp(bad); ok {
			t.Errorf("%q is taken for a stamp", bad)
		}
	}
}

func TestFramesOfAClientAreThoseOfTheRFC(t *testing.T) {
	// The masked "Hello" of RFC 6455, 5.7.
	out := seal(append(make([]byte, headroom), "Hello"...), 0, opText, 0x3d21fa37)
	if got, want := hex.EncodeToString(out), "818537fa213d7f9f4d5158"; got != want {
		t.Errorf("got %s; want %s", got, want)
	}
	for _, n := range []int{0, 1, 7, 125, 126, 127, 65535, 65536, 70000} {
		content := bytes.Repeat([]byte("x"), n)
		got := seal(append(make([]byte, headroom), content...), 0, opBinary, 0x01020304)
		header := map[bool]int{true: 6, false: 8}[n < 126]
		if n > 65535 {
			header = 14
		}
		if len(got) != header+n || got[0] != 0x82 || !bytes.Equal(got[header-4:header], []byte{4, 3, 2, 1}) {
			t.Errorf("%d bytes: the frame begins %x and has %d", n, got[:header], len(got))
		}
		masked(got[header:], 0x01020304)
		if !bytes.Equal(got[header:], content) {
			t.Errorf("%d bytes: the content is another", n)
		}
	}
}

func TestFramesOfAServerAreCutWhereverTheyAreBroken(t *testing.T) {
	const ack = `{"type":"ack","id":"17","chat":"c","client_id":"x","seq":42,"sent_at":"2026-11-23T18:12:55.123000Z"}`
	message := func(text string) string {
		return `{"type":"message","chat":"g1","seq":42,"n":37,"sender":"ann","client_id":"x-1","text":"` + text + `","sent_at":"2026-11-23T18:12:55.123000Z"}`
	}
	var in []byte
	for _, content := range []string{ack, message("short"), message(strings.Repeat("long", 20000)), `{"type":"typing"}`} {
		switch n := len(content); {
		case n < 126:
			in = append(in, 0x81, byte(n))
		case n < 1<<16:
			in = append(in, 0x81, 126, byte(n>>8), byte(n))
		default:
			in = append(in, 0x81, 127, 0, 0, 0, 0, 0, byte(n>>16), byte(n>>8), byte(n))
		}
		in = append(in, content...)
	}
	in = append(in, 0x89, 2, 'h', 'i')                                                      // a ping
	in = append(in, append([]byte{0x01, 126, 0, 140}, message("in two parts")[:140]...)...) // and a message in parts
	in = append(append(in, 0x80, byte(len(message("in two parts"))-140)), message("in two parts")[140:]...)
	for step := 1; step < len(in)+1; step += 1 + step*3 {
		sink, w := &kept{}, newWebSocket(NewChatmesh(1))
		var rest, reply []byte
		for from := 0; from < len(in); from += step {
			rest = append(rest, in[from:min(from+step, len(in))]...)
			taken, replied, err := w.Take(rest, sink, reply)
			if err != nil {
				t.Fatal(err)
			}
			rest, reply = rest[taken:], replied
		}
		if len(rest) > 0 || fmt.Sprint(sink.acked) != "[17]" || len(sink.texts) != 3 || sink.texts[0] != "short" || len(sink.texts[1]) != 80000 || sink.texts[2] != "in two parts" {
			t.Errorf("in steps of %d: %d bytes rest, acked %v, %d texts", step, len(rest), sink.acked, len(sink.texts))
		}
		if len(reply) != 8 || reply[0] != 0x8a {
			t.Errorf("in steps of %d: the ping is answered with %x", step, reply)
		}
	}
}

func TestASendOfChatmeshIsOneObject(t *testing.T) {
	c := NewChatmesh(0x12345678)
	got := string(c.AppendMessage(nil, "chat1", 4_000_000_000, []byte("hello")))
	if want := `{"type":"send","id":"4000000000","chat":"chat1","client_id":"`; !strings.HasPrefix(got, want) {
		t.Errorf("got %s; want it to begin with %s", got, want)
	}
	if want := `-7000-9234-567800000001","text":"hello"}`; !strings.HasSuffix(got, want) {
		t.Errorf("got %s; want it to end with %s", got, want)
	}
}

// relay answers as the server of a test: it acknowledges and returns what came.
func relay(t *testing.T) string {
	up := websocket.Upgrader{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close()
		c.WriteMessage(websocket.TextMessage, []byte(`{"type":"message","text":"welcome"}`))
		for n := 0; ; n++ {
			_, b, err := c.ReadMessage()
			if err != nil {
				return
			}
			if bytes.Contains(b, []byte(`"text":"end"`)) {
				c.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(3001, "too slow"))
				return
			}
			text := b[bytes.Index(b, textKey):]
			c.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, `{"type":"ack","id":"%d"}`, n))
			c.WriteMessage(websocket.TextMessage, append([]byte(`{"type":"message"`), text...))
		}
	}))
	t.Cleanup(srv.Close)
	return strings.TrimPrefix(srv.URL, "http://")
}

func TestAConnectionOfTheLoopSendsGetsAndTellsItsEnd(t *testing.T) {
	l, err := NewLoop()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	sink := &kept{notice: make(chan struct{}, 5000)}
	s, err := l.WebSocket(t.Context(), relay(t), "/", nil, NewChatmesh(1), sink, nil)
	if err != nil {
		t.Fatal(err)
	}
	const n = 1000
	large := bytes.Repeat([]byte("0123456789"), 500)
	for i := range n {
		if err := s.Send("x", uint32(i), large); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Send("x", n, []byte("end")); err != nil {
		t.Fatal(err)
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	for range 1 + 2*n + 1 {
		select {
		case <-sink.notice:
		case <-time.After(time.Minute):
			t.Fatal("something did not come")
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if len(sink.acked) != n || len(sink.texts) != n+1 || sink.texts[0] != "welcome" || sink.texts[n] != string(large) {
		t.Errorf("got %d acks, %d texts", len(sink.acked), len(sink.texts))
	}
	if len(sink.errs) != 1 || !strings.Contains(sink.errs[0].Error(), "3001: too slow") {
		t.Errorf("got %v; want the server's reason", sink.errs)
	}
	if err := s.Send("x", 0, nil); err == nil {
		t.Error("a connection that is closed takes messages")
	}
}

func TestWhatIsSentFromASinkIsWrittenByItself(t *testing.T) {
	l, err := NewLoop()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	b := &bouncing{done: make(chan struct{})}
	ready := make(chan struct{})
	b.ready = ready
	s, err := l.WebSocket(t.Context(), relay(t), "/", nil, NewChatmesh(1), b, nil)
	if err != nil {
		t.Fatal(err)
	}
	b.conn = s
	close(ready)
	select {
	case <-b.done:
	case <-time.After(time.Minute):
		t.Fatal("the ball lies somewhere")
	}
}

// bouncing sends whenever something comes, a hundred times.
type bouncing struct {
	conn  Conn
	ready chan struct{}
	done  chan struct{}
	n     int
}

func (b *bouncing) Acked(uint32) {}
func (b *bouncing) Failed(error) {}
func (b *bouncing) Delivered([]byte) {
	<-b.ready
	if b.n++; b.n == 100 {
		close(b.done)
	} else if b.n < 100 {
		b.conn.Send("x", uint32(b.n), []byte("again"))
	}
}

func TestAServerThatRefusesIsAnError(t *testing.T) {
	l, err := NewLoop()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	srv := httptest.NewServer(http.NotFoundHandler())
	defer srv.Close()
	if _, err := l.WebSocket(t.Context(), strings.TrimPrefix(srv.URL, "http://"), "/", nil, NewChatmesh(1), &kept{}, nil); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("got %v; want a 404", err)
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := l.WebSocket(ctx, silent.Addr().String(), "/", nil, NewChatmesh(1), &kept{}, nil); err == nil {
		t.Error("a server that says nothing is waited for without end")
	}
}

// counting is a Sink that only counts.
type counting struct{ acked, delivered int }

func (c *counting) Acked(uint32) { c.acked++ }
func (c *counting) Delivered(b []byte) {
	if _, ok := ParseStamp(b); ok {
		c.delivered++
	}
}
func (c *counting) Failed(error) {}

// codec is a message of 100 bytes through all that the driver does for it: stamped and encoded, its acknowledgement and its delivery
// cut and read.
func codec() func() {
	w, sink := newWebSocket(NewChatmesh(1)), &counting{}
	var payload, out, in []byte
	text := Stamp{Sender: 1, Address: 2, Number: 3, Due: 4, Sent: 5}.Append(nil, 100)
	for _, content := range []string{`{"type":"ack","id":"17","chat":"0123456789abcdef","client_id":"01993b9e-7f4c-7000-8000-000100000001","seq":42,"sent_at":"2026-11-23T18:12:55.123000Z"}`,
		`{"type":"message","chat":"0123456789abcdef","seq":42,"n":37,"sender":"0123456789abcdef","client_id":"01993b9e-7f4c-7000-8000-000100000001","text":"` + string(text) +
			`","sent_at":"2026-11-23T18:12:55.123000Z"}`} {
		in = append(append(in, 0x81, 126, byte(len(content)>>8), byte(len(content))), content...)
	}
	n := uint32(0)
	return func() {
		n++
		payload = Stamp{Sender: 1, Address: 2, Number: n, Due: Clock(), Sent: Clock()}.Append(payload[:0], 100)
		out = w.Append(out[:0], "0123456789abcdef", n, payload)
		if taken, _, err := w.Take(in, sink, nil); taken != len(in) || err != nil {
			panic("not taken")
		}
	}
}

func TestTheCodecAllocatesNothing(t *testing.T) {
	if n := testing.AllocsPerRun(1000, codec()); n != 0 {
		t.Errorf("got %v allocations a message; want none", n)
	}
}

func BenchmarkWebSocketCodec(b *testing.B) {
	b.ReportAllocs()
	for message := codec(); b.Loop(); {
		message()
	}
}
