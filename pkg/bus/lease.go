package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chatmesh/chatmesh/pkg/subject"
)

func newMsg(subj string, data []byte) *nats.Msg {
	return &nats.Msg{Subject: subj, Data: data, Header: nats.Header{}}
}

// PutFor sets a key of a bucket to a value that expires after ttl (whole seconds, at least one) unless it is set again.
// Every call gives the age anew: a key that is updated in another way would never expire.
func (b *Bus) PutFor(ctx context.Context, bucket, key string, value []byte, ttl time.Duration) error {
	m := newMsg(subject.KV(bucket, key), value)
	m.Header.Set(jetstream.MsgTTLHeader, max(ttl, time.Second).Round(time.Second).String())
	_, err := b.Publish(ctx, m)
	return err
}

// Acquire sets a key for ttl if nobody holds it, or renews it where this holder does. revision is what the last call
// returned, zero at first. It fails with ErrHeld.
func (b *Bus) Acquire(ctx context.Context, bucket, key string, value []byte, ttl time.Duration, revision uint64) (uint64, error) {
	m := newMsg(subject.KV(bucket, key), value)
	m.Header.Set(jetstream.MsgTTLHeader, max(ttl, time.Second).Round(time.Second).String())
	m.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(revision, 10))
	a, err := b.Publish(ctx, m)
	if err == nil {
		return a.Sequence, nil
	}
	var refused *Refusal
	if !errors.As(err, &refused) {
		return 0, err
	}
	// An expired or deleted key leaves a marker: nobody holds it then.
	last, err := b.LastFor(ctx, subject.KVStream(bucket), subject.KV(bucket, key))
	if err != nil {
		return 0, err
	}
	if len(last) == 1 && !isMarker(last[0]) {
		return 0, ErrHeld
	}
	var at uint64
	if len(last) == 1 {
		at = last[0].Sequence
	}
	m.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(at, 10))
	if a, err = b.Publish(ctx, m); err != nil {
		if errors.As(err, &refused) {
			err = ErrHeld
		}
		return 0, err
	}
	return a.Sequence, nil
}

// ErrHeld says that somebody else holds the key.
var ErrHeld = errors.New("bus: held by another")

func isMarker(m *Msg) bool {
	return m.Header.Get("KV-Operation") != "" || m.Header.Get(jetstream.MarkerReasonHeader) != ""
}

// Node is what a live process tells of itself in the bucket of nodes.
type Node struct {
	Service string    `json:"service"`
	Node    string    `json:"node"`
	Address string    `json:"address,omitempty"`
	Version string    `json:"version"`
	Load    int64     `json:"load"`
	Started time.Time `json:"started"`
}

// Heartbeat of nodes, and how long one that fell silent stays in the bucket.
const (
	nodeBeat = 3 * time.Second
	nodeTTL  = 10 * time.Second
)

// Announce keeps the key of a node alive until ctx ends, then removes it. load is asked at each beat; nil is zero.
func (b *Bus) Announce(ctx context.Context, n Node, load func() int64) {
	key := subject.NodeKey(n.Service, n.Node)
	for {
		if load != nil {
			n.Load = load()
		}
		value, err := json.Marshal(n)
		if err == nil {
			err = b.PutFor(ctx, subject.Nodes, key, value, nodeTTL)
		}
		if err != nil && ctx.Err() == nil {
			b.log.Debug("node not announced", "service", n.Service, "error", err)
		}
		if Sleep(ctx, nodeBeat) != nil {
			break
		}
	}
	bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = b.DeleteKey(bye, subject.Nodes, key) // expires otherwise
}

// DeleteKey removes a key of a bucket; watchers learn of it.
func (b *Bus) DeleteKey(ctx context.Context, bucket, key string) error {
	m := newMsg(subject.KV(bucket, key), nil)
	m.Header.Set("KV-Operation", "DEL")
	_, err := b.Publish(ctx, m)
	return err
}

// KeyChange is a change of a key in a bucket. Value is nil when the key was removed or has expired.
type KeyChange struct {
	Key   string
	Value []byte
	At    time.Time
}

// Watch calls fn for every key that is in the bucket and then for each change, in order, until ctx ends. ready is called once
// all that was there at first has been told. When the watch breaks it begins anew: begin is called before, so that the
// caller can forget what it knew. begin and ready may be nil.
func (b *Bus) Watch(ctx context.Context, bucket string, begin, ready func(), fn func(KeyChange)) {
	call := func(f func()) {
		if f != nil {
			f()
		}
	}
	for n := 0; ctx.Err() == nil; n++ {
		err := b.watch(ctx, bucket, func() { call(begin) }, func() { n = 0; call(ready) }, fn)
		if ctx.Err() == nil {
			b.log.Warn("watch begins anew", "bucket", bucket, "error", err)
			_ = Sleep(ctx, Backoff(n))
		}
	}
}

// errQuiet ends a watch that lost its connection: what changed meanwhile is told by a new one.
var errQuiet = errors.New("bus: connection was lost")

func (b *Bus) watch(ctx context.Context, bucket string, begin, ready func(), fn func(KeyChange)) error {
	status := b.nc.StatusChanged(nats.RECONNECTING, nats.CLOSED)
	defer b.nc.RemoveStatusListener(status)
	kv, err := b.js.KeyValue(ctx, bucket)
	if err != nil {
		return fmt.Errorf("%w: bucket %s: %w", ErrDown, bucket, err)
	}
	w, err := kv.WatchAll(ctx)
	if err != nil {
		return fmt.Errorf("%w: watch %s: %w", ErrDown, bucket, err)
	}
	defer func() { _ = w.Stop() }()
	begin()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-status:
			return errQuiet
		case e, ok := <-w.Updates():
			switch {
			case !ok:
				return errQuiet
			case e == nil:
				ready()
			case e.Operation() == jetstream.KeyValuePut:
				fn(KeyChange{Key: e.Key(), Value: e.Value(), At: e.Created()})
			default:
				fn(KeyChange{Key: e.Key(), At: e.Created()})
			}
		}
	}
}

// Keep sets a key for ever; Key returns its value or fails with ErrNotFound.
func (b *Bus) Keep(ctx context.Context, bucket, key string, value []byte) error {
	_, err := b.Publish(ctx, newMsg(subject.KV(bucket, key), value))
	return err
}

// Key returns the value of a key. It fails with ErrNotFound.
func (b *Bus) Key(ctx context.Context, bucket, key string) ([]byte, error) {
	msgs, err := b.LastFor(ctx, subject.KVStream(bucket), subject.KV(bucket, key))
	if err != nil {
		return nil, err
	}
	if len(msgs) == 0 || isMarker(msgs[0]) {
		return nil, ErrNotFound
	}
	return msgs[0].Data, nil
}
