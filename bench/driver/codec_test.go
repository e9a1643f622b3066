package driver

import (
	"fmt"
	"slices"
	"testing"
)

// told writes down what a sink is told.
type told struct{ said []string }

func (s *told) Acked(tag uint32)         { s.said = append(s.said, fmt.Sprintf("acked %d", tag)) }
func (s *told) Delivered(payload []byte) { s.said = append(s.said, "delivered "+string(payload)) }
func (s *told) Failed(err error)         { s.said = append(s.said, "failed "+err.Error()) }

// takes gives a protocol what comes, torn into two parts at each place in turn, and compares what the sink is told and what is replied.
// Each time the protocol is a new one that has sent something.
func takes(t *testing.T, fresh func() Protocol, in string, want []string, reply string) {
	t.Helper()
	for at := range len(in) + 1 {
		p, sink := fresh(), &told{}
		first, replied, err := p.Take([]byte(in[:at]), sink, nil)
		if err != nil {
			t.Fatalf("the first %d bytes: %v", at, err)
		}
		second, replied, err := p.Take([]byte(in[first:]), sink, replied)
		if err != nil {
			t.Fatalf("torn at %d: %v", at, err)
		}
		if first+second != len(in) {
			t.Fatalf("torn at %d: got %d and %d bytes taken; want %d", at, first, second, len(in))
		}
		if !slices.Equal(sink.said, want) {
			t.Fatalf("torn at %d: got %q; want %q", at, sink.said, want)
		}
		if string(replied) != reply {
			t.Fatalf("torn at %d: got reply %q; want %q", at, replied, reply)
		}
	}
}

func TestMQTTIsWrittenAndReadByteForByte(t *testing.T) {
	m := &mqtt{}
	got := m.Append(nil, "u2", 70_000, []byte("hello"))
	got = m.Append(got, "u2", 70_001, []byte("again"))
	const want = "\x32\x0b\x00\x02u2\x00\x01hello\x32\x0b\x00\x02u2\x00\x02again"
	if string(got) != want {
		t.Errorf("got %q; want %q", got, want)
	}
	takes(t, func() Protocol {
		m := &mqtt{}
		m.Append(nil, "u2", 70_000, nil)
		m.Append(nil, "u2", 70_001, nil)
		return m
	}, "\x40\x02\x00\x01\x32\x0b\x00\x02u1\x01\x09hello\x40\x02\x00\x02", []string{"acked 70000", "delivered hello", "acked 70001"}, "\x40\x02\x01\x09")
}

func TestAnMQTTPacketIdentifierIsNeverZero(t *testing.T) {
	m := &mqtt{last: 65_535}
	if got := m.Append(nil, "a", 1, nil); string(got) != "\x32\x05\x00\x01a\x00\x01" {
		t.Errorf("got %q; want the identifier 1", got)
	}
}

func TestAnAcknowledgementOutOfOrderEndsAnMQTTConnection(t *testing.T) {
	m := &mqtt{}
	m.Append(nil, "a", 1, nil)
	m.Append(nil, "a", 2, nil)
	if _, _, err := m.Take([]byte("\x40\x02\x00\x02"), &told{}, nil); err == nil {
		t.Error("got no error")
	}
}

func TestXMPPIsWrittenAndReadByteForByte(t *testing.T) {
	fresh := func() *xmpp { return &xmpp{rooms: "@conference.localhost", nick: "/u1", sent: 1} }
	x := fresh()
	got := x.Append(nil, "u2@localhost", 70_000, []byte("hello"))
	got = x.Append(got, "g1@conference.localhost", 70_001, []byte("all"))
	const want = "<message to='u2@localhost' type='chat' id='70000'><body>hello</body></message><r xmlns='urn:xmpp:sm:3'/>" +
		"<message to='g1@conference.localhost' type='groupchat' id='70001'><body>all</body></message>"
	if string(got) != want {
		t.Errorf("got %s; want %s", got, want)
	}
	// As ejabberd 23.01 writes it.
	const in = "<message xml:lang='en' to='u1@localhost' from='u2@localhost/bench' type='chat' id='7'><archived by='u1@localhost' id='1795' xmlns='urn:xmpp:mam:tmp'/>" +
		"<stanza-id by='u1@localhost' id='1795' xmlns='urn:xmpp:sid:0'/><body>hello</body></message><r xmlns='urn:xmpp:sm:3'/>" +
		"<a h='2' xmlns='urn:xmpp:sm:3'/>" +
		"<message to='u1@localhost/bench' from='g1@conference.localhost' type='groupchat'><subject/></message>" +
		"<message xml:lang='en' to='u1@localhost/bench' from='g1@conference.localhost/u1' type='groupchat' id='70001'><body>all</body></message>" +
		"<message xml:lang='en' to='u1@localhost/bench' from='g1@conference.localhost/u3' type='groupchat' id='9'><body>me too</body></message>" +
		"<a h='4' xmlns='urn:xmpp:sm:3'/><r xmlns='urn:xmpp:sm:3'/>"
	takes(t, func() Protocol {
		x := fresh()
		x.Append(nil, "u2@localhost", 70_000, nil)            // the second stanza
		x.Append(nil, "g1@conference.localhost", 70_001, nil) // the third
		x.Append(nil, "u2@localhost", 70_002, nil)            // the fourth
		return x
	}, in, []string{"delivered hello", "acked 70000", "acked 70001", "delivered me too", "acked 70002"},
		"<a xmlns='urn:xmpp:sm:3' h='1'/><a xmlns='urn:xmpp:sm:3' h='4'/>")
}

func TestWhatAnXMPPServerRefusesIsTold(t *testing.T) {
	x, sink := &xmpp{}, &told{}
	if _, _, err := x.Take([]byte("<message from='u2@localhost' type='error' id='7'><error type='cancel'/></message>"), sink, nil); err != nil {
		t.Error(err)
	}
	if len(sink.said) != 1 {
		t.Errorf("got %q; want one failure", sink.said)
	}
	if _, _, err := x.Take([]byte("<stream:error><system-shutdown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>"), sink, nil); err == nil {
		t.Error("got no error for the end of the stream")
	}
}

// frames gives the protocol of a WebSocket's frames one frame.
func frames(t *testing.T, f Frames, content string) (said []string, reply string) {
	t.Helper()
	sink := &told{}
	b, err := f.Frame([]byte(content), sink, nil)
	if err != nil {
		t.Fatalf("%s: %v", content, err)
	}
	return sink.said, string(b)
}

func TestCentrifugeIsWrittenAndReadByteForByte(t *testing.T) {
	c := &centrifuge{}
	if got, want := string(c.AppendMessage(nil, "u2", 70_000, []byte("hello"))), `{"id":70000,"publish":{"channel":"u2","data":"hello"}}`; got != want {
		t.Errorf("got %s; want %s", got, want)
	}
	// As centrifuge v0.40.1 writes it.
	said, reply := frames(t, c, `{"id":5,"publish":{}}`+"\n"+`{"push":{"channel":"g1","pub":{"data":"all","offset":1,"epoch":"cicaQdSx"}}}`+"\n{}\n"+
		`{"id":70000,"publish":{}}`)
	if want := []string{"acked 5", "delivered all", "acked 70000"}; !slices.Equal(said, want) {
		t.Errorf("got %q; want %q", said, want)
	}
	if want := string(AppendText(nil, []byte("{}"))); reply != want {
		t.Errorf("got reply %q; want the ping back", reply)
	}
	if said, _ = frames(t, c, `{"id":5,"error":{"code":103,"message":"permission denied"}}`); len(said) != 1 || said[0][:6] != "failed" {
		t.Errorf("got %q; want a failure", said)
	}
}

func TestSocketIOIsWrittenAndReadByteForByte(t *testing.T) {
	s := socketIO{}
	if got, want := string(s.AppendMessage(nil, "u2", 70_000, []byte("hello"))), `4270000["send","u2","hello"]`; got != want {
		t.Errorf("got %s; want %s", got, want)
	}
	for in, want := range map[string]string{`42["message","hello"]`: "delivered hello", `4370000[]`: "acked 70000"} {
		if said, _ := frames(t, s, in); len(said) != 1 || said[0] != want {
			t.Errorf("got %q; want %q", said, want)
		}
	}
	if said, reply := frames(t, s, "2"); len(said) != 0 || reply != string(AppendText(nil, []byte("3"))) {
		t.Errorf("got %q, %q; want a pong", said, reply)
	}
	if said, _ := frames(t, s, "41"); len(said) != 1 || said[0][:6] != "failed" {
		t.Errorf("got %q; want a failure", said)
	}
}
