package driver

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
)

// XMPPLogin says who logs in, and where.
type XMPPLogin struct {
	// Domain is that of the server; addresses of groups end in Rooms, such as "@conference.localhost".
	Domain, Rooms string
	// User is the part of the address before the @.
	User, Password string
	// Groups are the addresses of the groups that the person joins, with User as the nickname.
	Groups []string
}

// XMPP opens a connection with XMPP over TCP, without TLS, logs in with PLAIN, switches stream management (XEP-0198) on, and joins groups
// (XEP-0045). An address is a bare JID. The server names the resource, so that a connection has nothing to do with an earlier one.
//
// A message to a person is acknowledged by stream management, for which each message asks: the server says that it has handled it, which
// with an archive includes that it was stored. A message to a group is acknowledged by its coming back from the group, which has stored it
// then; it is not delivered to its sender besides.
func (l *Loop) XMPP(ctx context.Context, address string, who XMPPLogin, sink Sink) (*Stream, error) {
	return l.Open(ctx, address, sink, func(o *Opening) (Protocol, error) {
		x := &xmpp{rooms: who.Rooms, nick: "/" + who.User}
		return x, x.login(o, who)
	})
}

// login speaks until everything that is sent to the person from now on will come.
func (x *xmpp) login(o *Opening, who XMPPLogin) error {
	header := "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='" + who.Domain + "' version='1.0'>"
	secret := base64.StdEncoding.EncodeToString([]byte("\x00" + who.User + "\x00" + who.Password))
	if _, err := fmt.Fprintf(o, "%s<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>%s</auth>", header, secret); err != nil {
		return err
	}
	if err := x.await(o, "<success"); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(o, "%s<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>"+
		"<enable xmlns='urn:xmpp:sm:3'/><presence/>", header); err != nil {
		return err
	}
	if err := x.await(o, "<enabled"); err != nil {
		return err
	}
	x.came, x.sent = 0, 1                           // both sides count from here; the presence was the first
	if err := x.await(o, "<presence"); err != nil { // of oneself
		return err
	}
	for _, group := range who.Groups {
		x.sent++
		if _, err := fmt.Fprintf(o, "<presence to='%s/%s'><x xmlns='http://jabber.org/protocol/muc'><history maxstanzas='0'/></x></presence>",
			group, who.User); err != nil {
			return err
		}
		if err := x.await(o, "<status code='110'/>"); err != nil { // of oneself in the group
			return err
		}
	}
	return nil
}

// await reads until an element has some text in it, and answers when the server asks how much came.
func (x *xmpp) await(o *Opening, text string) error {
	for {
		b, err := readElement(o)
		if err != nil {
			return fmt.Errorf("xmpp: no %s: %w", text, err)
		}
		reply, err := x.element(b, nil, nil)
		if err != nil {
			return err
		}
		if len(reply) > 0 {
			if _, err := o.Write(reply); err != nil {
				return err
			}
		}
		if bytes.Contains(b, []byte(text)) {
			return nil
		}
	}
}

// readElement reads the next whole child of the stream.
func readElement(o *Opening) ([]byte, error) {
	var all []byte
	for {
		tag, err := o.Reader.ReadBytes('>')
		if err != nil {
			return nil, err
		}
		all = append(all, tag...)
		if size, err := cutElement(all); err != nil || size == len(all) {
			return all, err
		}
	}
}

// cutElement returns the length of what stands whole at the beginning of b: a child of the stream, or the tag that opens or ends the
// stream; 0 where it is not whole yet. In what ejabberd writes, < and > stand nowhere but around tags.
func cutElement(b []byte) (size int, err error) {
	for depth := 0; ; {
		from := bytes.IndexByte(b[size:], '<')
		if from < 0 {
			return 0, nil
		}
		n := bytes.IndexByte(b[size+from:], '>')
		if n < 1 {
			return 0, nil
		}
		tag := b[size+from : size+from+n+1]
		size += from + n + 1
		switch {
		case tag[1] == '/':
			depth--
		case tag[1] == '?', tag[n-1] == '/', bytes.HasPrefix(tag, []byte("<stream:stream")):
		default:
			depth++
		}
		if depth <= 0 {
			return size, nil
		}
	}
}

// xmpp is the Protocol of XMPP.
type xmpp struct {
	rooms, nick string
	came        uint32 // stanzas from the server

	mu     sync.Mutex
	sent   uint32        // guarded by mu; stanzas to the server
	flying []xmppMessage // guarded by mu; to persons
}

type xmppMessage struct{ number, tag uint32 }

const xmppAsk = "<r xmlns='urn:xmpp:sm:3'/>"

// Append is of Protocol.
func (x *xmpp) Append(out []byte, address string, tag uint32, payload []byte) []byte {
	group := strings.HasSuffix(address, x.rooms)
	x.mu.Lock()
	x.sent++
	if !group {
		x.flying = append(x.flying, xmppMessage{x.sent, tag})
	}
	x.mu.Unlock()
	out = append(out, "<message to='"...)
	out = append(out, address...)
	if group {
		out = append(out, "' type='groupchat' id='"...)
	} else {
		out = append(out, "' type='chat' id='"...)
	}
	out = strconv.AppendUint(out, uint64(tag), 10)
	out = append(out, "'><body>"...)
	out = append(out, payload...)
	out = append(out, "</body></message>"...)
	if !group {
		out = append(out, xmppAsk...)
	}
	return out
}

// Take is of Protocol.
func (x *xmpp) Take(in []byte, sink Sink, reply []byte) (taken int, replied []byte, err error) {
	for {
		size, err := cutElement(in[taken:])
		if err != nil || size == 0 {
			return taken, reply, err
		}
		if reply, err = x.element(in[taken:taken+size], sink, reply); err != nil {
			return taken, reply, err
		}
		taken += size
	}
}

var (
	xmppMessageTag = []byte("<message ")
	xmppAskTag     = []byte("<r ")
	xmppCameTag    = []byte("<a ")
	xmppBad        = [][]byte{[]byte("<stream:error"), []byte("</stream:stream"), []byte("<failure"), []byte("<failed")}
	xmppBody       = []byte("<body>")
)

// element handles a child of the stream. sink is nil as long as the person logs in.
func (x *xmpp) element(b []byte, sink Sink, reply []byte) ([]byte, error) {
	switch {
	case bytes.HasPrefix(b, xmppMessageTag):
		x.came++
		if sink == nil {
			return reply, nil
		}
		return reply, x.message(b, sink)
	case bytes.HasPrefix(b, xmppAskTag):
		reply = append(reply, "<a xmlns='urn:xmpp:sm:3' h='"...)
		reply = strconv.AppendUint(reply, uint64(x.came), 10)
		return append(reply, "'/>"...), nil
	case bytes.HasPrefix(b, xmppCameTag):
		h, ok := attribute(b, " h='")
		n, err := strconv.ParseUint(string(h), 10, 32)
		if !ok || err != nil {
			return reply, fmt.Errorf("driver: xmpp: %.80q", b)
		}
		if sink != nil {
			x.handled(uint32(n), sink)
		}
		return reply, nil
	case bytes.HasPrefix(b, []byte("<presence")), bytes.HasPrefix(b, []byte("<iq")):
		x.came++
		if kind, _ := attribute(b, " type='"); string(kind) == "error" {
			return reply, fmt.Errorf("driver: xmpp: the server says %.400q", b)
		}
		return reply, nil
	}
	for _, bad := range xmppBad {
		if bytes.HasPrefix(b, bad) {
			return reply, fmt.Errorf("driver: xmpp: the server says %.400q", b)
		}
	}
	return reply, nil
}

// handled tells the sink of the messages to persons among the first n stanzas.
func (x *xmpp) handled(n uint32, sink Sink) {
	x.mu.Lock()
	done := 0
	for done < len(x.flying) && x.flying[done].number <= n {
		done++
	}
	acked := x.flying[:done:done]
	x.flying = x.flying[done:]
	x.mu.Unlock()
	for _, m := range acked {
		sink.Acked(m.tag)
	}
}

func (x *xmpp) message(b []byte, sink Sink) error {
	kind, _ := attribute(b, " type='")
	if string(kind) == "error" {
		sink.Failed(fmt.Errorf("driver: xmpp: the server says %.400q", b))
		return nil
	}
	_, body, ok := bytes.Cut(b, xmppBody)
	end := bytes.IndexByte(body, '<')
	if !ok || end < 0 {
		return nil // the subject of a group
	}
	if string(kind) == "groupchat" {
		if from, _ := attribute(b, " from='"); bytes.HasSuffix(from, []byte(x.nick)) {
			id, _ := attribute(b, " id='")
			tag, err := strconv.ParseUint(string(id), 10, 32)
			if err != nil {
				return errors.New("driver: xmpp: a message of one's own came back without its id")
			}
			sink.Acked(uint32(tag))
			return nil
		}
	}
	sink.Delivered(body[:end])
	return nil
}

// attribute is the value of an attribute of the first tag; name is such as " id='".
func attribute(b []byte, name string) ([]byte, bool) {
	b = b[:bytes.IndexByte(b, '>')]
	_, b, ok := bytes.Cut(b, []byte(name))
	end := bytes.IndexByte(b, '\'')
	if !ok || end < 0 {
		return nil, false
	}
	return b[:end], true
}
