package local

import (
	"context"
	"encoding/binary"
	"time"

	lsm "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/gocql/gocql"
	"golang.org/x/sync/errgroup"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
)

// barePebble writes the rows that follow from messages into a bare engine, set up as the store sets it up: the message, where its client
// id stands, the head of its chat, the sender's cursor. Nothing is read, checked or locked. One sync for a batch.
func barePebble(dir string) (func(context.Context, []store.Entry) error, func() error, error) {
	o := &lsm.Options{FormatMajorVersion: lsm.FormatValueSeparation, CacheSize: 64 << 20, MemTableSize: 16 << 20, MemTableStopWritesThreshold: 4,
		L0CompactionThreshold: 2, L0StopWritesThreshold: 24, Logger: quietLog{}}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy, o.Levels[i].BlockSize = bloom.FilterPolicy(10), 16<<10
	}
	db, err := lsm.Open(dir, o)
	if err != nil {
		return nil, nil, err
	}
	write := func(_ context.Context, events []store.Entry) error {
		b := db.NewBatch()
		heads, cursors := map[chat.ID]*chat.Event{}, map[[2]string]*chat.Event{}
		var key, value []byte
		for i := range events {
			e := &events[i].Event
			key = binary.BigEndian.AppendUint64(append(append(key[:0], 'e'), e.Chat...), uint64(e.Seq))
			if err := b.Set(key, events[i].Body, nil); err != nil {
				return err
			}
			key = append(append(append(append(key[:0], 'f'), e.Chat...), e.Sender...), e.ClientID...)
			value = binary.AppendVarint(binary.AppendUvarint(value[:0], uint64(e.Seq)), e.SentAt.UnixMicro())
			if err := b.Set(key, value, nil); err != nil {
				return err
			}
			heads[e.Chat], cursors[[2]string{string(e.Sender), string(e.Chat)}] = e, e
		}
		for id, e := range heads {
			value = binary.AppendVarint(binary.AppendUvarint(binary.AppendUvarint(value[:0], uint64(e.Seq)), e.N), e.SentAt.UnixMicro())
			if err := b.Set(append(append(key[:0], 'h'), id...), value, nil); err != nil {
				return err
			}
		}
		for k, e := range cursors {
			value = binary.AppendUvarint(binary.AppendUvarint(value[:0], uint64(e.Seq)), e.N)
			if err := b.Set(append(append(append(key[:0], 'm'), k[0]...), k[1]...), value, nil); err != nil {
				return err
			}
		}
		return b.Commit(lsm.Sync)
	}
	return write, db.Close, nil
}

// quietLog says nothing.
type quietLog struct{}

// Infof says nothing.
func (quietLog) Infof(string, ...any) {}

// Errorf says nothing: what fails comes back as an error.
func (quietLog) Errorf(string, ...any) {}

// Fatalf ends the bench: the engine cannot go on.
func (quietLog) Fatalf(format string, _ ...any) { panic("pebble: " + format) }

// cqlSession is the bare driver.
func cqlSession(host, keyspace string) (*gocql.Session, error) {
	c := gocql.NewCluster(host)
	c.ProtoVersion, c.Keyspace, c.Timeout, c.WriteTimeout, c.ConnectTimeout = 4, keyspace, 30*time.Second, 30*time.Second, 10*time.Second
	c.Consistency = gocql.LocalQuorum
	return gocql.NewSession(*c)
}

const (
	putMessage = "INSERT INTO messages (chat_id, bucket, seq, body) VALUES (?, ?, ?, ?) USING TIMESTAMP ?"
	putClient  = "INSERT INTO client_ids (chat_id, bucket, sender, client_id, seq, sent_at) VALUES (?, ?, ?, ?, ?, ?) USING TIMESTAMP ?"
	setHead    = "UPDATE chats USING TIMESTAMP ? SET seq = ?, n = ?, at = ?, stream = ? WHERE chat_id = ?"
	setCursor  = "UPDATE user_chats USING TIMESTAMP ? SET seq = ?, n = ? WHERE user_id = ? AND chat_id = ?"
	// maxPlace and bucketSize are of the schema: see its files.
	maxPlace, bucketSize = 1 << 49, 256
)

// bareCQL writes the rows that follow from messages as the driver does it best: a batch for each partition, as many at once as the store
// has. Nothing is waited for but the answers.
func bareCQL(s *gocql.Session) func(context.Context, []store.Entry) error {
	return func(ctx context.Context, events []store.Entry) error {
		type part struct {
			id     chat.ID
			bucket uint64
		}
		parts, heads, cursors := map[part][]*store.Entry{}, map[chat.ID]*store.Entry{}, map[chat.UserID]*chat.Event{}
		for i := range events {
			e := &events[i].Event
			p := part{e.Chat, uint64(e.Seq) / bucketSize}
			parts[p] = append(parts[p], &events[i])
			heads[e.Chat], cursors[e.Sender] = &events[i], e
		}
		g, ctx := errgroup.WithContext(ctx)
		g.SetLimit(32)
		batch := func(add func(*gocql.Batch)) {
			g.Go(func() error {
				//lint:ignore SA1019 the fork has another name for it, which upstream does not have yet
				b := s.NewBatch(gocql.UnloggedBatch).WithContext(ctx)
				add(b)
				return s.ExecuteBatch(b)
			})
		}
		for p, some := range parts {
			batch(func(b *gocql.Batch) {
				for _, e := range some {
					b.Query(putMessage, string(p.id), int64(p.bucket), int64(e.Event.Seq), e.Body, int64(maxPlace-e.Stream))
				}
			})
			batch(func(b *gocql.Batch) {
				for _, e := range some {
					b.Query(putClient, string(p.id), int64(0), string(e.Event.Sender), string(e.Event.ClientID), int64(e.Event.Seq), e.Event.SentAt.UnixMicro(),
						int64(maxPlace-e.Event.Seq))
				}
			})
		}
		one := func(stmt string, args ...any) {
			g.Go(func() error { return s.Query(stmt, args...).WithContext(ctx).Exec() })
		}
		for id, e := range heads {
			one(setHead, int64(e.Event.Seq), int64(e.Event.Seq), int64(e.Event.N), e.Event.SentAt.UnixMicro(), int64(e.Stream), string(id))
		}
		for user, e := range cursors {
			one(setCursor, int64(e.Seq), int64(e.Seq), int64(e.N), string(user), string(e.Chat))
		}
		return g.Wait()
	}
}

// barePage reads the 50 events up to last, from one partition or from two at once.
func barePage(ctx context.Context, s *gocql.Session, id chat.ID, last chat.Seq) (rows int, err error) {
	const get = "SELECT seq, body FROM messages WHERE chat_id = ? AND bucket = ? AND seq >= ? AND seq <= ? ORDER BY seq DESC LIMIT 50"
	low := last - pageOf50 + 1
	read := func(ctx context.Context, bucket, low, high chat.Seq) (n int, err error) {
		it := s.Query(get, string(id), int64(bucket), int64(low), int64(high)).WithContext(ctx).Iter()
		var seq int64
		for body := []byte(nil); it.Scan(&seq, &body); body = nil {
			n++
		}
		return n, it.Close()
	}
	if low/bucketSize == last/bucketSize {
		return read(ctx, last/bucketSize, low, last)
	}
	var counts [2]int
	g, ctx := errgroup.WithContext(ctx)
	for i, bucket := range []chat.Seq{low / bucketSize, last / bucketSize} {
		g.Go(func() (err error) { counts[i], err = read(ctx, bucket, low, last); return err })
	}
	err = g.Wait()
	return counts[0] + counts[1], err
}
