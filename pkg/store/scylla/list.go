package scylla

import (
	"context"
	"slices"

	"github.com/scylladb/gocqlx/v2/qb"
	"golang.org/x/sync/errgroup"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// indexTime is the write timestamp of all rows of chat_index, which are written once and never change.
const indexTime = int64(1)

// bucketsAtOnce is how many buckets one request asks for: ScyllaDB takes at most 100 keys.
const bucketsAtOnce = 64

// getIndex returns the next chats of some buckets, ascending within each.
var getIndex = cql(qb.Select("chat_index").Columns("bucket", "chat_id").
	Where(qb.In("bucket"), qb.GtNamed("chat_id", "after")).LimitPerPartitionNamed("each").ToCql())

// Chats returns the ids of the chats that have a record and come behind after, ascending, at most limit. Each bucket of the index
// ascends; they are merged up to where each of them is known.
func (s *Store) Chats(ctx context.Context, after chat.ID, limit int) (out []chat.ID, err error) {
	err = s.do(ctx, "chats", func(c call) error {
		if len(after) > chat.MaxID {
			return chat.Errorf(chat.BadRequest, "chat is longer than %d bytes", chat.MaxID)
		}
		for more := true; more && len(out) < limit; {
			// About as many as there are in each bucket if they are spread evenly, and some to spare.
			each := 4 + (limit-len(out))*5/4/indexBuckets
			var some []chat.ID
			var err error
			if some, more, err = c.nextChats(after, each); err != nil {
				return err
			}
			if out = append(out, some...); len(some) > 0 {
				after = some[len(some)-1]
			}
		}
		out = out[:min(len(out), max(limit, 0))]
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// nextChats reads each chats of every bucket and returns those up to which all buckets are known. more tells whether there may
// be others behind them.
func (c call) nextChats(after chat.ID, each int) (ids []chat.ID, more bool, err error) {
	var known [indexBuckets][]chat.ID
	g, ctx := errgroup.WithContext(c.ctx)
	for from := 0; from < indexBuckets; from += bucketsAtOnce {
		g.Go(func() error {
			keys := make([]int, bucketsAtOnce)
			for i := range keys {
				keys[i] = from + i
			}
			it := c.query(ctx, getIndex, keys, string(after), each).Iter()
			var bucket int
			var id string
			for it.Scan(&bucket, &id) {
				known[bucket] = append(known[bucket], chat.ID(id)) // a bucket belongs to one request
			}
			return it.Close()
		})
	}
	if err := g.Wait(); err != nil {
		return nil, false, err
	}
	var horizon chat.ID // the least of the last ids of buckets that may have more
	for _, b := range known {
		ids = append(ids, b...)
		if len(b) == each && (!more || b[each-1] < horizon) {
			horizon, more = b[each-1], true
		}
	}
	slices.Sort(ids)
	if more {
		ids = slices.DeleteFunc(ids, func(id chat.ID) bool { return id > horizon })
	}
	return ids, more, nil
}
