package chatlog_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// forger is a way to the broker that speaks its protocol, so that it can keep a publish from the broker, and answer in its place.
// See https://docs.nats.io/reference/reference-protocols/nats-protocol.
type forger struct {
	listener net.Listener
	target   string
	wg       sync.WaitGroup

	mu    sync.Mutex // guards the following fields
	conns []net.Conn
	// forge decides about a publish that asks for an answer, or is part of a batch: whether it is kept from the broker, and what
	// is answered instead of what the broker says; an empty answer is silence. nil lets all pass.
	forge func(subject string) (forgery, bool)
	// batch is the forgery of the batch under way: all of it is kept from the broker, or nothing.
	batch  *forgery
	forged int
}

type forgery struct {
	keep   bool
	answer string
}

func newForger(t testing.TB, target string) *forger {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &forger{listener: l, target: target}
	f.wg.Go(f.accept)
	t.Cleanup(func() {
		_ = l.Close()
		f.mu.Lock()
		for _, c := range f.conns {
			_ = c.Close()
		}
		f.mu.Unlock()
		f.wg.Wait()
	})
	return f
}

// next forges the answer to the next append to a log: one message or a batch.
func (f *forger) next(what forgery) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.forged = 0
	f.forge = func(subject string) (forgery, bool) {
		return what, strings.HasPrefix(subject, "chat.")
	}
}

// done lets all pass again, and returns how many answers were forged.
func (f *forger) done() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.forge = nil
	return f.forged
}

func (f *forger) accept() {
	for {
		c, err := f.listener.Accept()
		if err != nil {
			return
		}
		s, err := net.Dial("tcp", f.target)
		if err != nil {
			_ = c.Close()
			continue
		}
		f.mu.Lock()
		f.conns = append(f.conns, c, s)
		f.mu.Unlock()
		p := &forgedConn{f: f, client: c, server: s, inbox: map[string]string{}, answers: map[string]string{}}
		f.wg.Go(p.requests)
		f.wg.Go(p.responses)
	}
}

// forgedConn is one connection through a forger.
type forgedConn struct {
	f              *forger
	client, server net.Conn
	mu             sync.Mutex        // guards the following fields, and writing to client
	inbox          map[string]string // pattern to the id of the subscription
	answers        map[string]string // reply subject to what is said instead
}

// requests passes on what the client says.
func (p *forgedConn) requests() {
	defer p.server.Close()
	r := bufio.NewReader(p.client)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		words := strings.Fields(line)
		out := []byte(line)
		switch words[0] {
		case "SUB":
			p.mu.Lock()
			p.inbox[words[1]] = words[len(words)-1]
			p.mu.Unlock()
		case "PUB", "HPUB":
			body, err := payload(r, words)
			if err != nil {
				return
			}
			out = append(out, body...)
			if p.publish(words, body) {
				continue
			}
		}
		if _, err := p.server.Write(out); err != nil {
			return
		}
	}
}

// payload reads what follows a line whose last word is its size.
func payload(r io.Reader, words []string) ([]byte, error) {
	n, err := strconv.Atoi(words[len(words)-1])
	if err != nil {
		return nil, err
	}
	body := make([]byte, n+2)
	_, err = io.ReadFull(r, body)
	return body, err
}

// publish decides about a publish, and tells whether it is kept from the broker.
func (p *forgedConn) publish(words []string, body []byte) bool {
	reply := ""
	if withReply := 4; words[0] == "HPUB" && len(words) == withReply+1 || words[0] == "PUB" && len(words) == withReply {
		reply = words[2]
	}
	inBatch := bytes.Contains(body, []byte("Nats-Batch-Id:"))
	p.f.mu.Lock()
	var what forgery
	forged := false
	if p.f.batch != nil && inBatch {
		what, forged = *p.f.batch, true
	} else if p.f.forge != nil {
		if what, forged = p.f.forge(words[1]); forged {
			if p.f.forge = nil; inBatch { // the whole batch, and nothing behind it
				p.f.batch = &what
			}
		}
	}
	if forged && reply != "" {
		p.f.batch = nil
		p.f.forged++
	}
	p.f.mu.Unlock()
	if !forged {
		return false
	}
	if reply != "" {
		p.mu.Lock()
		defer p.mu.Unlock()
		if !what.keep {
			p.answers[reply] = what.answer // once the broker has answered
		} else if what.answer != "" {
			p.say(reply, what.answer)
		}
	}
	return what.keep
}

// say answers the client. Who calls it holds mu.
func (p *forgedConn) say(reply, answer string) {
	for pattern, sid := range p.inbox {
		if prefix, ok := strings.CutSuffix(pattern, "*"); pattern == reply || ok && strings.HasPrefix(reply, prefix) {
			fmt.Fprintf(p.client, "MSG %s %s %d\r\n%s\r\n", reply, sid, len(answer), answer)
			return
		}
	}
}

// responses passes on what the broker says.
func (p *forgedConn) responses() {
	defer p.client.Close()
	r := bufio.NewReader(p.server)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		out := []byte(line)
		words := strings.Fields(line)
		answer, forged := "", false
		if words[0] == "MSG" || words[0] == "HMSG" {
			body, err := payload(r, words)
			if err != nil {
				return
			}
			out = append(out, body...)
			p.mu.Lock()
			answer, forged = p.answers[words[1]]
			p.mu.Unlock()
		}
		p.mu.Lock()
		if forged {
			if answer != "" {
				p.say(words[1], answer)
			}
		} else if _, err = p.client.Write(out); err != nil {
			p.mu.Unlock()
			return
		}
		p.mu.Unlock()
	}
}
