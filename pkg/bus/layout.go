package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/chatmesh/chatmesh/pkg/subject"
)

// Layout is what the mesh needs of the broker: streams, buckets and consumers.
type Layout struct {
	// Partitions is how many streams the chats are spread over. It never changes once streams exist.
	Partitions int
	// MaxBytes bounds the logs of all partitions together; beyond it appends are refused. Zero leaves it as it is, and makes new
	// streams without a bound.
	MaxBytes int64
	// Replicas of each stream and bucket: 1 or 3.
	Replicas int
	// Retention is how long the log keeps an event. It must be far longer than any outage of the store.
	Retention time.Duration
	// PresenceTTL is the age at which a person's key on an edge expires if nobody removes it: a backstop of minutes.
	PresenceTTL time.Duration
	// TokenTTL is how long an access token lives, and so how long an ended session must be remembered.
	TokenTTL time.Duration
}

// duplicates is the window in which the broker itself recognizes a message id. It lives in the broker's memory; beyond it
// the store answers.
const duplicates = 2 * time.Minute

// markerTTL is how long an expired key leaves a marker in a bucket, so that watchers learn of it.
const markerTTL = time.Minute

const partitionsKey = "chatmesh-partitions"

// ErrLayout says that what is there differs from the layout in a way that would lose data.
var ErrLayout = errors.New("bus: the broker's streams do not fit")

// Ensure creates what is missing and updates what may be changed. It fails with ErrLayout rather than lose data. Several may do so
// at once.
func (b *Bus) Ensure(ctx context.Context, l Layout) error {
	for tries := 0; ; tries++ {
		p, err := b.Plan(ctx, l)
		if err != nil {
			return err
		}
		if err := p.Refused(); err != nil {
			return err
		}
		err = b.Apply(ctx, p)
		var refused *jetstream.APIError
		if !errors.As(err, &refused) || tries == 2 {
			return err
		}
		// Perhaps another made the same at the same time: look again.
	}
}

// Expect fails as long as the streams of the layout are not there, with ErrNotFound, or with ErrLayout where they are for another
// number of partitions; it makes nothing.
func (b *Bus) Expect(ctx context.Context, l Layout) error {
	if err := b.checkPartitions(ctx, l.Partitions); err != nil {
		return err
	}
	for p := range l.Partitions {
		for _, name := range []string{subject.ChatStream(p), subject.CursorStream(p)} {
			if _, err := b.info(ctx, name); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkPartitions refuses another number of partitions than that with which the streams were made: chats would be looked
// for where they are not.
func (b *Bus) checkPartitions(ctx context.Context, want int) error {
	i, err := b.info(ctx, subject.ChatStream(0))
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if have := i.Config.Metadata[partitionsKey]; have != strconv.Itoa(want) {
		return fmt.Errorf("%w: they were made for %s partitions, the setting says %d (--partitions)", ErrLayout, have, want)
	}
	return nil
}

func (l Layout) metadata() map[string]string {
	return map[string]string{partitionsKey: strconv.Itoa(l.Partitions)}
}

// perPartition is the bound of one log, -1 for none.
func (l Layout) perPartition() int64 {
	if l.MaxBytes <= 0 {
		return -1
	}
	return max(l.MaxBytes/int64(l.Partitions), 1)
}

func (l Layout) chatStream(p int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:               subject.ChatStream(p),
		Description:        "every event of the chats of partition " + strconv.Itoa(p) + ", and their states",
		Subjects:           []string{subject.AllOf(p)},
		Retention:          jetstream.LimitsPolicy,
		Storage:            jetstream.FileStorage,
		Replicas:           l.Replicas,
		MaxAge:             l.Retention,
		MaxBytes:           l.perPartition(),
		Discard:            jetstream.DiscardNew, // refuse rather than drop what may not be in the store yet
		Duplicates:         min(duplicates, l.Retention),
		AllowDirect:        true,
		AllowRollup:        true,
		AllowAtomicPublish: true,
		DenyDelete:         false, // a deleted text is erased from the stream
		Metadata:           l.metadata(),
	}
}

func (l Layout) cursorStream(p int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:              subject.CursorStream(p),
		Description:       "how far each person has read the chats of partition " + strconv.Itoa(p),
		Subjects:          []string{subject.Cursors(p)},
		Retention:         jetstream.LimitsPolicy,
		Storage:           jetstream.FileStorage,
		Replicas:          l.Replicas,
		MaxAge:            l.Retention,
		MaxMsgsPerSubject: 1,
		Discard:           jetstream.DiscardOld,
		AllowDirect:       true,
		Metadata:          l.metadata(),
	}
}

func (l Layout) deadLetters() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:        subject.DeadLetters,
		Description: "what no worker could handle, with the reason",
		Subjects:    []string{subject.AllDead},
		Storage:     jetstream.FileStorage,
		Replicas:    l.Replicas,
		AllowDirect: true,
	}
}

func (l Layout) buckets() []jetstream.KeyValueConfig {
	kv := func(name, what string, ttl, marker time.Duration) jetstream.KeyValueConfig {
		return jetstream.KeyValueConfig{Bucket: name, Description: what, History: 1, TTL: ttl, LimitMarkerTTL: marker,
			Storage: jetstream.FileStorage, Replicas: l.Replicas}
	}
	all := []jetstream.KeyValueConfig{
		kv(subject.Presence, "who is on which edge, and the edges' leases", l.PresenceTTL, markerTTL),
		kv(subject.LastSeen, "when a person was last online", 0, 0),
		kv(subject.Nodes, "live nodes of each service", 0, markerTTL),
		kv(subject.Leases, "tasks that one process of several does", 0, markerTTL),
		kv(subject.Keys, "public keys of access tokens", 0, markerTTL),
		kv(subject.Revoked, "sessions that ended while their tokens were valid", l.TokenTTL+time.Minute, 0),
		kv(subject.Preferences, "what each person lets others learn of them", 0, 0),
	}
	if l.inMemory() {
		all = append(all, kv(subject.Places, "how far each worker is", 0, 0))
	}
	return all
}

// inMemory tells whether the workers' consumers are in memory. With several copies each sync of theirs is one on every broker, and one that
// restarts gets its memory from the others; with one copy every restart would forget.
func (l Layout) inMemory() bool { return l.Replicas > 1 }

// Pull settings of the workers' consumers.
const (
	// MaxPending is how many events a worker holds unacknowledged at most.
	MaxPending = 2000
	// ackWait is after which time what a worker held that died is delivered again.
	ackWait = 12 * time.Second
	// pinTTL is how long the active worker may be silent before another takes over.
	pinTTL = 4 * time.Second
)

// workers are the consumers of each stream of a partition.
func (l Layout) workers(stream string, partition int) []jetstream.ConsumerConfig {
	var out []jetstream.ConsumerConfig
	for _, name := range []string{subject.FanOut, subject.Persister} {
		cfg := jetstream.ConsumerConfig{
			Durable:        name,
			DeliverPolicy:  jetstream.DeliverAllPolicy,
			AckPolicy:      jetstream.AckExplicitPolicy,
			AckWait:        ackWait,
			MaxDeliver:     -1, // nothing is given up silently: what is poison becomes a dead letter
			MaxAckPending:  MaxPending,
			PriorityPolicy: jetstream.PriorityPolicyPinned,
			PriorityGroups: []string{subject.PinGroup},
			PinnedTTL:      pinTTL,
			MemoryStorage:  l.inMemory(),
		}
		if name == subject.FanOut && stream == subject.ChatStream(partition) {
			cfg.FilterSubject = subject.Logs(partition)
		}
		out = append(out, cfg)
	}
	return out
}

// bucketStream is the stream behind a bucket, as the client makes it.
func bucketStream(c jetstream.KeyValueConfig) jetstream.StreamConfig {
	window := duplicates
	if c.TTL > 0 {
		window = min(c.TTL, duplicates)
	}
	return jetstream.StreamConfig{
		Name: subject.KVStream(c.Bucket), Description: c.Description, Subjects: []string{subject.KV(c.Bucket, ">")}, Storage: c.Storage,
		Replicas: c.Replicas, MaxMsgsPerSubject: int64(c.History), MaxAge: c.TTL, Discard: jetstream.DiscardNew, Duplicates: window,
		AllowDirect: true, AllowRollup: true, DenyDelete: true, AllowMsgTTL: c.LimitMarkerTTL > 0, SubjectDeleteMarkerTTL: c.LimitMarkerTTL,
	}
}
