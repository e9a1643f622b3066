package scylla

import (
	"context"

	"github.com/gocql/gocql"
	"golang.org/x/sync/errgroup"

	"github.com/chatmesh/chatmesh/pkg/trace"
)

// The bounds of one batch. Servers count the size of a batch only where it spans partitions, which none of ours does; the bounds
// keep requests short all the same. What is larger by itself goes alone.
const (
	maxBatchRows  = 100
	maxBatchBytes = 32 << 10
)

// atOnce is how many batches one call has on their way at once.
const atOnce = 32

// send writes all groups, each batch within one partition, and waits for all. Everything is idempotent: after an error any
// part of it may have been written.
func (c call) send(all groups) error {
	g, ctx := errgroup.WithContext(c.ctx)
	g.SetLimit(atOnce)
	for p, rows := range all {
		for len(rows) > 0 {
			n := firstBatch(rows)
			some := rows[:n]
			rows = rows[n:]
			g.Go(func() error {
				select {
				case c.slots <- struct{}{}:
				case <-ctx.Done():
					return ctx.Err()
				}
				defer func() { <-c.slots }()
				span := trace.ChildOf(ctx, p.key, spanNames[p.table], trace.Client)
				err := c.execute(ctx, some)
				if span.On() {
					span.Set(trace.Count(len(some)))
					span.End(err)
				}
				return err
			})
		}
	}
	return g.Wait()
}

// firstBatch is how many of the rows go together.
func firstBatch(rows []row) int {
	n, size := 0, 0
	for n < len(rows) && n < maxBatchRows {
		if size += rows[n].size; n > 0 && size > maxBatchBytes {
			break
		}
		n++
	}
	return n
}

func (c call) execute(ctx context.Context, rows []row) error {
	if len(rows) == 1 {
		return c.Session.Session.Query(rows[0].stmt, rows[0].args...).WithContext(ctx).Idempotent(true).Exec()
	}
	//lint:ignore SA1019 the fork has another name for it, which upstream does not have yet
	b := c.Session.NewBatch(gocql.UnloggedBatch).WithContext(ctx)
	b.Entries = make([]gocql.BatchEntry, len(rows))
	for i, r := range rows {
		b.Entries[i] = gocql.BatchEntry{Stmt: r.stmt, Args: r.args, Idempotent: true}
	}
	return c.Session.ExecuteBatch(b)
}
