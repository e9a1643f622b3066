package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
)

const (
	// batch is how many events are written, and synced, together.
	batch = 200
	// patience is how long a fetch waits for events, and so how long a stop may take.
	patience = 2 * time.Second
	// pause is waited after a fetch that failed: the broker may be away.
	pause = time.Second
)

// run writes the feed until ctx ends.
func run(ctx context.Context, s settings) error {
	f, err := open(s.out)
	if err != nil {
		return err
	}
	defer f.close()
	opts := []nats.Option{nats.Name(s.consumer), nats.MaxReconnects(-1)}
	if s.ca != "" {
		opts = append(opts, nats.RootCAs(s.ca))
	}
	if s.nkey != "" {
		seed, err := nats.NkeyOptionFromSeed(s.nkey)
		if err != nil {
			return err
		}
		// A team may listen to the inbox of its own role only.
		opts = append(opts, seed, nats.CustomInboxPrefix("_INBOX_"+s.consumer))
	}
	nc, err := nats.Connect(s.url, opts...)
	if err != nil {
		return err
	}
	defer nc.Close()
	consumers, err := find(ctx, nc, s.consumer)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "audit: feed of %d partitions\n", len(consumers))
	g, ctx := errgroup.WithContext(ctx)
	for _, c := range consumers {
		g.Go(func() error { return feed(ctx, c, f, s.text) })
	}
	err = g.Wait()
	return errors.Join(err, nc.Flush()) // the last acks
}

// find returns the team's consumer of each partition. A team may not list streams: it asks for one after the other.
func find(ctx context.Context, nc *nats.Conn, name string) ([]jetstream.Consumer, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	var out []jetstream.Consumer
	for {
		stream := fmt.Sprintf("CHAT_%d", len(out))
		c, err := js.Consumer(ctx, stream, name)
		switch {
		case err == nil:
			out = append(out, c)
		case errors.Is(err, jetstream.ErrStreamNotFound) && len(out) > 0:
			return out, nil
		default:
			return nil, fmt.Errorf("consumer %s of %s: %w", name, stream, err)
		}
	}
}

// line is what is written of an event. Stream and StreamSeq say where it stands in the log, once for all time.
type line struct {
	Stream    string `json:"stream"`
	StreamSeq uint64 `json:"stream_seq"`
	Type      string `json:"type"`
	Chat      string `json:"chat"`
	Seq       uint64 `json:"seq"`
	Sender    string `json:"sender,omitempty"`
	ClientID  string `json:"client_id,omitempty"`
	Text      string `json:"text,omitempty"`
	SentAt    string `json:"sent_at,omitempty"`
	Change    string `json:"change,omitempty"`
	User      string `json:"user,omitempty"`
	By        string `json:"by,omitempty"`
	Role      string `json:"role,omitempty"`
	At        string `json:"at,omitempty"`
}

// feed writes the events of a partition until ctx ends. What was fetched is written before it returns.
func feed(ctx context.Context, c jetstream.Consumer, f *file, text bool) error {
	for ctx.Err() == nil {
		msgs, err := fetch(c)
		if err == nil && len(msgs) > 0 {
			err = write(msgs, f, text)
			if err != nil {
				return err // the disk: what is not acked comes again after a restart
			}
			if info, err := c.Info(ctx); err == nil {
				f.forget(info.Stream, info.AckFloor.Stream)
			}
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "audit: will try again:", err)
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
		}
	}
	return nil
}

func fetch(c jetstream.Consumer) ([]jetstream.Msg, error) {
	b, err := c.Fetch(batch, jetstream.FetchMaxWait(patience))
	if err != nil {
		return nil, err
	}
	var out []jetstream.Msg
	for m := range b.Messages() {
		out = append(out, m)
	}
	if len(out) > 0 {
		return out, nil
	}
	return nil, b.Error()
}

// write adds the lines of some events to the file, and acks the events when they are on disk.
func write(msgs []jetstream.Msg, f *file, text bool) error {
	var lines []line
	for _, m := range msgs {
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		var l line
		if err := json.Unmarshal(m.Data(), &l); err != nil { // a later version may write something else
			l = line{Type: "unknown"}
		}
		l.Stream, l.StreamSeq = meta.Stream, meta.Sequence.Stream
		if !text {
			l.Text = ""
		}
		lines = append(lines, l)
	}
	if err := f.add(lines); err != nil {
		return err
	}
	for _, m := range msgs {
		if err := m.Ack(); err != nil { // then it comes again, and is known
			return nil
		}
	}
	return nil
}
