package bus

import (
	"bytes"
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
	_, err := b.Publish(ctx, lease(bucket, key, value, ttl))
	return err
}

func lease(bucket, key string, value []byte, ttl time.Duration) *nats.Msg {
	m := newMsg(subject.KV(bucket, key), value)
	m.Header.Set(jetstream.MsgTTLHeader, max(ttl, time.Second).Round(time.Second).String())
	return m
}

// Errors of leases.
var (
	// ErrHeld says that somebody else holds the key.
	ErrHeld = errors.New("bus: held by another")
	// ErrLost says that the key is not as its holder left it: it expired, was removed, or is another's.
	ErrLost = errors.New("bus: lease lost")
)

// Acquire sets a key for ttl if nobody holds it, or renews it where this holder does, whom the value names. revision is what
// the last call returned, zero at first. It fails with ErrHeld.
func (b *Bus) Acquire(ctx context.Context, bucket, key string, value []byte, ttl time.Duration, revision uint64) (uint64, error) {
	at, err := b.claim(ctx, bucket, key, value, ttl, revision)
	var refused *Refusal
	if !errors.As(err, &refused) {
		return at, err
	}
	last, err := b.lastOf(ctx, bucket, key)
	switch {
	case err != nil:
		return 0, err
	case last == nil:
		revision = 0
	case isMarker(last), bytes.Equal(last.Data, value): // an ended lease, or this holder's whose answer was lost
		revision = last.Sequence
	default:
		return 0, ErrHeld
	}
	at, err = b.claim(ctx, bucket, key, value, ttl, revision)
	if errors.As(err, &refused) {
		err = ErrHeld
	}
	return at, err
}

// Renew sets a key anew for ttl if it is still as its holder left it at revision, and returns the new revision. It fails with
// ErrLost; then all that the holder stored later than revision may be gone as well.
func (b *Bus) Renew(ctx context.Context, bucket, key string, value []byte, ttl time.Duration, revision uint64) (uint64, error) {
	at, err := b.claim(ctx, bucket, key, value, ttl, revision)
	var refused *Refusal
	if !errors.As(err, &refused) {
		return at, err
	}
	last, err := b.lastOf(ctx, bucket, key)
	if err != nil {
		return 0, err
	}
	if last == nil || last.Sequence < revision || isMarker(last) || !bytes.Equal(last.Data, value) {
		return 0, ErrLost
	}
	return b.claim(ctx, bucket, key, value, ttl, last.Sequence) // the answer to an earlier renewal was lost
}

// claim sets a key for ttl if its last change is at revision, zero for none.
func (b *Bus) claim(ctx context.Context, bucket, key string, value []byte, ttl time.Duration, revision uint64) (uint64, error) {
	m := lease(bucket, key, value, ttl)
	m.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(revision, 10))
	a, err := b.Publish(ctx, m)
	return a.Sequence, err
}

// lastOf returns the last change of a key, which may be a marker of its end; nil for none.
func (b *Bus) lastOf(ctx context.Context, bucket, key string) (*Msg, error) {
	return b.Last(ctx, subject.KVStream(bucket), subject.KV(bucket, key))
}

func isMarker(m *Msg) bool {
	return m.Header.Get(kvOperation) != "" || m.Header.Get(jetstream.MarkerReasonHeader) != ""
}

// Node is what a live process tells of itself in the bucket of nodes.
type Node struct {
	Service string `json:"service"`
	Node    string `json:"node"`
	Address string `json:"address,omitempty"`
	Version string `json:"version"`
	Load    int64  `json:"load"`
	// URL is where clients of an edge connect, Capacity how many it takes. Draining says that it takes none at the moment.
	URL      string    `json:"url,omitempty"`
	Capacity int64     `json:"capacity,omitempty"`
	Draining bool      `json:"draining,omitempty"`
	Started  time.Time `json:"started"`
}

// NodeTTL is how long a node that fell silent stays in the bucket, nodeBeat how often it is heard of.
const (
	NodeTTL  = 10 * time.Second
	nodeBeat = 3 * time.Second
)

// Announce keeps the key of a node alive until ctx ends, then removes it. load is asked at each beat; nil is zero.
func (b *Bus) Announce(ctx context.Context, n Node, load func() int64) {
	var state func(*Node)
	if load != nil {
		state = func(n *Node) { n.Load = load() }
	}
	b.AnnounceState(ctx, n, nil, state)
}

// AnnounceState is Announce for a node of which more changes: state brings that up to date before each beat. again makes it
// beat at once. Both may be nil.
func (b *Bus) AnnounceState(ctx context.Context, n Node, again <-chan struct{}, state func(*Node)) {
	key := subject.NodeKey(n.Service, n.Node)
	beat := time.NewTimer(nodeBeat)
	defer beat.Stop()
	for ctx.Err() == nil {
		if state != nil {
			state(&n)
		}
		value, err := json.Marshal(n)
		if err == nil {
			err = b.PutFor(ctx, subject.Nodes, key, value, NodeTTL)
		}
		if err != nil && ctx.Err() == nil {
			b.log.Debug("node not announced", "service", n.Service, "error", err)
		}
		beat.Reset(nodeBeat)
		select {
		case <-ctx.Done():
		case <-again:
		case <-beat.C:
		}
	}
	bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = b.DeleteKey(bye, subject.Nodes, key) // expires otherwise
}

// kvOperation is the header that makes a message in a bucket the removal of its key.
const kvOperation = "KV-Operation"

// Removal is the message that removes a key of a bucket with expiring keys, for PublishAll: if its last change is at
// revision, or in any case where that is zero. What it leaves in the bucket, so that watchers learn of it, goes by itself.
func Removal(bucket, key string, revision uint64) *nats.Msg {
	// A purge, not a delete: an aged delete leaves a second marker, and without an age of its own it would stay for ever.
	m := lease(bucket, key, nil, markerTTL)
	m.Header.Set(kvOperation, "PURGE")
	if revision > 0 {
		m.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(revision, 10))
	}
	return m
}

// noMessageTTL is the broker's refusal of a message with an age of its own, in a bucket whose keys do not expire.
const noMessageTTL = 10166

// DeleteKey removes a key of a bucket; watchers learn of it.
func (b *Bus) DeleteKey(ctx context.Context, bucket, key string) error {
	m := Removal(bucket, key, 0)
	_, err := b.Publish(ctx, m)
	var refused *Refusal
	if errors.As(err, &refused) && refused.Code == noMessageTTL {
		m.Header.Del(jetstream.MsgTTLHeader)
		_, err = b.Publish(ctx, m)
	}
	return err
}

// KeyChange is a change of a key in a bucket. Value is nil when the key was removed or has expired. Revision is the sequence of
// the change in the stream behind the bucket.
type KeyChange struct {
	Key      string
	Value    []byte
	At       time.Time
	Revision uint64
}

// Watch calls fn for every key that is in the bucket and then for each change, in order, until ctx ends; of changes of a key in
// quick succession perhaps only for the last. ready is called once all that was there at first has been told. When the watch
// breaks it begins anew: begin is called before, so that the caller can forget what it knew. begin and ready may be nil.
func (b *Bus) Watch(ctx context.Context, bucket string, begin, ready func(), fn func(KeyChange)) {
	call := func(f func()) {
		if f != nil {
			f()
		}
	}
	for failures := 0; ctx.Err() == nil; failures++ {
		err := b.watch(ctx, bucket, func() { call(begin) }, func() { failures = 0; call(ready) }, fn)
		if ctx.Err() != nil {
			return
		}
		if failures == 0 {
			b.log.Warn("watch begins anew", "bucket", bucket, "error", err)
		}
		_ = Sleep(ctx, Backoff(failures))
		for b.Check(ctx) != nil && Sleep(ctx, statusPoll) == nil {
			failures = 0
		}
	}
}

// statusPoll is how often a broken watch looks whether the connection is back.
const statusPoll = 100 * time.Millisecond

// watchProbe is how often a watch that hears nothing asks whether there is something to hear: when the broker's node that
// feeds it dies while the connection to another stands, the client itself takes up to 15 s to notice.
const watchProbe = 2 * time.Second

// Ends of a watch; what changed meanwhile is told by a new one.
var (
	errQuiet = errors.New("bus: connection was lost")
	errStuck = errors.New("bus: changes do not arrive")
)

// hasAfter tells whether a bucket is known to hold a change behind a revision.
func (b *Bus) hasAfter(ctx context.Context, bucket string, revision uint64) bool {
	ctx, cancel := context.WithTimeout(ctx, watchProbe/2)
	defer cancel()
	next, err := b.From(ctx, subject.KVStream(bucket), subject.KV(bucket, ">"), revision+1, 1, 0)
	return err == nil && len(next) > 0
}

func (b *Bus) watch(ctx context.Context, bucket string, begin, ready func(), fn func(KeyChange)) error {
	status := b.nc.StatusChanged(nats.RECONNECTING, nats.CLOSED)
	defer b.nc.RemoveStatusListener(status)
	// Each attempt has a context of its own: the client waits for its end in a goroutine, and while it sets the watch up it
	// has no other bound.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	setup := time.AfterFunc(2*requestTimeout, cancel)
	defer setup.Stop()
	kv, err := b.js.KeyValue(ctx, bucket)
	if err != nil {
		return fmt.Errorf("%w: bucket %s: %w", ErrDown, bucket, err)
	}
	w, err := kv.WatchAll(ctx)
	if err != nil {
		return fmt.Errorf("%w: watch %s: %w", ErrDown, bucket, err)
	}
	defer func() {
		_ = w.Stop()
		for range w.Updates() { // the client's callback may wait for somebody to take an update
		}
	}()
	if !setup.Stop() {
		return fmt.Errorf("%w: watch %s took too long", ErrDown, bucket)
	}
	begin()
	probe := time.NewTicker(watchProbe)
	defer probe.Stop()
	var seen uint64
	silent, missed := true, 0
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-status:
			return errQuiet
		case <-probe.C:
			if missed++; !silent || !b.hasAfter(ctx, bucket, seen) {
				missed = 0
			}
			if silent = true; missed == 2 {
				return errStuck
			}
		case e, ok := <-w.Updates():
			silent = false
			if ok && e != nil {
				seen = e.Revision()
			}
			switch {
			case !ok:
				return errQuiet
			case e == nil:
				ready()
			case e.Operation() == jetstream.KeyValuePut:
				value := e.Value()
				if value == nil {
					value = []byte{} // empty, not removed
				}
				fn(KeyChange{Key: e.Key(), Value: value, At: e.Created(), Revision: e.Revision()})
			default:
				fn(KeyChange{Key: e.Key(), At: e.Created(), Revision: e.Revision()})
			}
		}
	}
}

// Keep sets a key for ever; Key returns its value or fails with ErrNotFound.
func (b *Bus) Keep(ctx context.Context, bucket, key string, value []byte) error {
	_, err := b.Publish(ctx, newMsg(subject.KV(bucket, key), value))
	return err
}

// Create sets a key for ever if it is not set. It fails with ErrHeld where it is.
func (b *Bus) Create(ctx context.Context, bucket, key string, value []byte) (uint64, error) {
	m := newMsg(subject.KV(bucket, key), value)
	m.Header.Set(jetstream.ExpectedLastSubjSeqHeader, "0")
	a, err := b.Publish(ctx, m)
	var refused *Refusal
	if errors.As(err, &refused) {
		err = ErrHeld
	}
	return a.Sequence, err
}

// Key returns the value of a key. It fails with ErrNotFound.
func (b *Bus) Key(ctx context.Context, bucket, key string) ([]byte, error) {
	last, err := b.lastOf(ctx, bucket, key)
	if err != nil {
		return nil, err
	}
	if last == nil || isMarker(last) {
		return nil, ErrNotFound
	}
	return last.Data, nil
}
