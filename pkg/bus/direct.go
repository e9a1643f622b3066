package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// A direct get may have many messages for an answer. All answers come to one subscription of the connection and are told apart by the
// last token of their subject: a subscription for each question costs the broker two changes of its tables, and here a queue.

// answers are what the questions of a connection are answered.
type answers struct {
	prefix string // of the subjects of answers, with a dot at its end
	mu     sync.Mutex
	next   uint64                // guarded by mu
	open   map[string]*collector // by the last token; guarded by mu
}

// collector gathers the messages of one answer.
type collector struct {
	msgs []*nats.Msg // the connection's, until done
	done chan struct{}
}

// listen subscribes to the answers.
func (a *answers) listen(nc *nats.Conn) error {
	a.prefix, a.open = nc.NewInbox()+".", map[string]*collector{}
	_, err := nc.Subscribe(a.prefix+"*", a.take)
	return err
}

// take is given each message of every answer. What has a status ends its answer.
func (a *answers) take(m *nats.Msg) {
	token := strings.TrimPrefix(m.Subject, a.prefix)
	_, last := m.Header["Status"]
	a.mu.Lock()
	c := a.open[token]
	if last {
		delete(a.open, token)
	}
	a.mu.Unlock()
	if c == nil {
		return // nobody waits for it any more
	}
	c.msgs = append(c.msgs, m)
	if last {
		close(c.done)
	}
}

// ask puts a question to a subject, and returns its answer in full: the last message has the status that ends it.
func (a *answers) ask(ctx context.Context, nc *nats.Conn, subj string, body []byte) ([]*nats.Msg, error) {
	c := &collector{done: make(chan struct{})}
	a.mu.Lock()
	a.next++
	token := strconv.FormatUint(a.next, 36)
	a.open[token] = c
	a.mu.Unlock()
	err := nc.PublishRequest(subj, a.prefix+token, body)
	if err == nil {
		select {
		case <-c.done:
			return c.msgs, nil
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	a.mu.Lock()
	delete(a.open, token)
	a.mu.Unlock()
	return nil, err
}

// Statuses that end the answer to a direct get.
const (
	statusEnd  = "204"
	statusNone = "404"
)

// direct is a direct get.
type direct struct {
	Seq       uint64     `json:"seq,omitempty"`
	NextFor   string     `json:"next_by_subj,omitempty"`
	LastFor   string     `json:"last_by_subj,omitempty"`
	Since     *time.Time `json:"start_time,omitempty"`
	Batch     int        `json:"batch,omitempty"`
	MaxBytes  int        `json:"max_bytes,omitempty"`
	MultiLast []string   `json:"multi_last,omitempty"`
	UpToSeq   uint64     `json:"up_to_seq,omitempty"`
}

// getMany asks one copy of a stream, and returns the last sequence of the stream there with its answer; zero where it has no such message.
func (b *Bus) getMany(ctx context.Context, stream string, q direct) (msgs []*Msg, upTo uint64, err error) {
	body, err := json.Marshal(q)
	if err != nil {
		return nil, 0, err
	}
	got, err := b.answers.ask(ctx, b.nc, "$JS.API.DIRECT.GET."+stream, body)
	if err != nil { // what was not answered, or not in full, must not look like what does not exist
		return nil, 0, fmt.Errorf("%w: get from %s: %w", ErrDown, stream, err)
	}
	end := got[len(got)-1]
	switch status := end.Header.Get("Status"); {
	case status == statusNone && len(got) == 1:
		return nil, 0, nil
	case status != statusEnd || len(end.Data) > 0:
		return nil, 0, fmt.Errorf("%w: get from %s: %s %s", ErrDown, stream, status, end.Header.Get("Description"))
	}
	upTo, _ = strconv.ParseUint(end.Header.Get("Nats-UpTo-Sequence"), 10, 64)
	msgs = make([]*Msg, 0, len(got)-1)
	for _, m := range got[:len(got)-1] {
		stored, err := storedMsg(m)
		if err != nil {
			return nil, 0, fmt.Errorf("%w: get from %s: %w", ErrDown, stream, err)
		}
		msgs = append(msgs, stored)
	}
	return msgs, upTo, nil
}

// getOne asks one copy of a stream for a message; nil is none.
func (b *Bus) getOne(ctx context.Context, stream string, q direct) (*Msg, error) {
	body, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	m, err := b.nc.RequestWithContext(ctx, "$JS.API.DIRECT.GET."+stream, body)
	if err != nil {
		return nil, fmt.Errorf("%w: get from %s: %w", ErrDown, stream, err)
	}
	if len(m.Data) == 0 && m.Header.Get("Status") == statusNone {
		return nil, nil
	}
	stored, err := storedMsg(m)
	if err != nil {
		return nil, fmt.Errorf("%w: get from %s: %w", ErrDown, stream, err)
	}
	return stored, nil
}
