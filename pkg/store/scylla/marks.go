package scylla

import (
	"cmp"
	"context"
	"slices"

	"github.com/scylladb/gocqlx/v2/qb"
	"golang.org/x/sync/errgroup"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
)

// The statements that read marks, mentions and what was sent.
var (
	getMarks = cql(qb.Select("marks").Columns("target", "kind", "user_id", "item", "seq", "removed", "at").
			Where(qb.Eq("chat_id"), qb.Eq("bucket"), qb.GtOrEqNamed("target", "low"), qb.LtOrEqNamed("target", "high")).ToCql())
	getErased = cql(qb.Select("marks").Columns("target").
			Where(qb.Eq("chat_id"), qb.Eq("bucket"), qb.In("target"), qb.Eq("kind")).ToCql())
	getMentions = cql(qb.Select("mentions").Columns("seq").
			Where(qb.Eq("user_id"), qb.Eq("chat_id"), qb.Eq("bucket"), qb.Gt("seq")).LimitNamed("limit").ToCql())
	getSentSeqs = cql(qb.Select("client_ids").Columns("seq").Where(qb.Eq("chat_id"), qb.Eq("bucket"), qb.Eq("sender")).ToCql())
)

// partitionsAtOnce is how many partitions a read looks into at once.
const partitionsAtOnce = 16

// Marks returns the marks of events of a chat, ascending by target and then by seq. It reads the partitions that the range names,
// as far as the chat goes.
func (s *Store) Marks(ctx context.Context, id chat.ID, from, to chat.Seq) (out []store.Mark, err error) {
	err = s.do(ctx, "marks", func(c call) error {
		if err := checkIDs("chat", id); err != nil {
			return err
		}
		if from > to || from >= maxPlace {
			return nil
		}
		to := min(to, maxPlace-1)
		if bucketOf(to)-bucketOf(from) > partitionsAtOnce {
			head, err := c.head(c.ctx, id)
			if err != nil {
				return err
			}
			to = min(to, head)
		}
		var all []store.Mark
		for first, last := bucketOf(from), bucketOf(to); first <= last; first += partitionsAtOnce {
			parts := make([][]store.Mark, min(partitionsAtOnce, last-first+1))
			g, ctx := errgroup.WithContext(c.ctx)
			for i := range parts {
				g.Go(func() (err error) { parts[i], err = c.marksIn(ctx, id, first+int64(i), from, to); return err })
			}
			if err := g.Wait(); err != nil {
				return err
			}
			all = append(all, slices.Concat(parts...)...)
		}
		slices.SortFunc(all, func(a, b store.Mark) int { return cmp.Or(cmp.Compare(a.Target, b.Target), cmp.Compare(a.Seq, b.Seq)) })
		out = all
		return nil
	})
	return out, err
}

func (c call) marksIn(ctx context.Context, id chat.ID, bucket int64, from, to chat.Seq) ([]store.Mark, error) {
	it := c.query(ctx, getMarks, string(id), bucket, int64(from), int64(to)).Iter()
	var out []store.Mark
	var target, seq, at int64
	var kind, user, item string
	var removed bool
	for it.Scan(&target, &kind, &user, &item, &seq, &removed, &at) {
		m := store.Mark{Target: chat.Seq(target), Seq: chat.Seq(seq), Type: chat.EventType(kind), By: chat.UserID(user), At: timeOf(at)}
		switch kind {
		case reactionKind:
			m.Emoji, m.Removed = item, removed
		case editKind:
		default:
			continue
		}
		out = append(out, m)
	}
	return out, it.Close()
}

// Mentions returns the messages of a chat above after that mention a person, ascending, at most limit.
func (s *Store) Mentions(
	ctx context.Context, user chat.UserID, id chat.ID, after chat.Seq, limit int,
) (out []chat.Seq, err error) {
	err = s.do(ctx, "mentions", func(c call) error {
		if err := firstError(checkIDs("user", user), checkIDs("chat", id)); err != nil {
			return err
		}
		if after >= maxPlace || limit <= 0 {
			return nil
		}
		head, err := c.head(c.ctx, id)
		if err != nil {
			return err
		}
		var all []chat.Seq
		for bucket := mentionBucket(after); bucket <= mentionBucket(head) && len(all) < limit; {
			some, err := c.seqs(c.ctx, getMentions, string(user), string(id), bucket, int64(after), limit-len(all))
			if err != nil {
				return err
			}
			if len(some) < limit-len(all) {
				bucket++
			} else {
				after = some[len(some)-1]
			}
			if some, err = c.notErased(id, some); err != nil {
				return err
			}
			all = append(all, some...)
		}
		out = all
		return nil
	})
	return out, err
}

// seqs reads a column of seqs.
func (c call) seqs(ctx context.Context, stmt string, args ...any) ([]chat.Seq, error) {
	it := c.query(ctx, stmt, args...).Iter()
	var out []chat.Seq
	var seq int64
	for it.Scan(&seq) {
		out = append(out, chat.Seq(seq))
	}
	return out, it.Close()
}

// notErased leaves out the messages that are erased, or have an edit that is.
func (c call) notErased(id chat.ID, messages []chat.Seq) ([]chat.Seq, error) {
	byBucket := map[int64][]int64{}
	for _, seq := range messages {
		byBucket[bucketOf(seq)] = append(byBucket[bucketOf(seq)], int64(seq))
	}
	gone := make(chan []chat.Seq, len(messages))
	g, ctx := errgroup.WithContext(c.ctx)
	g.SetLimit(partitionsAtOnce)
	for bucket, targets := range byBucket {
		for some := range slices.Chunk(targets, askedAtOnce) {
			g.Go(func() error {
				seqs, err := c.seqs(ctx, getErased, string(id), bucket, some, erasedKind)
				gone <- seqs // there are no more parts than messages
				return err
			})
		}
	}
	err := g.Wait()
	close(gone)
	if err != nil {
		return nil, err
	}
	for seqs := range gone {
		messages = slices.DeleteFunc(messages, func(seq chat.Seq) bool { return slices.Contains(seqs, seq) })
	}
	return messages, nil
}

// SentSeqs returns the messages of a person in a chat above after, ascending, at most limit. It goes through all that the person has
// sent in the generations of client ids that it needs: up to 262,144 events they are one partition.
func (s *Store) SentSeqs(
	ctx context.Context, id chat.ID, sender chat.UserID, after chat.Seq, limit int,
) (out []chat.Seq, err error) {
	err = s.do(ctx, "sent seqs", func(c call) error {
		if err := firstError(checkIDs("chat", id), checkIDs("sender", sender)); err != nil {
			return err
		}
		if after >= maxPlace || limit <= 0 {
			return nil
		}
		head, err := c.head(c.ctx, id)
		if err != nil {
			return err
		}
		var all []chat.Seq
		for g := generation(after + 1); g <= generation(head) && len(all) < limit; g++ {
			some, err := c.sentSeqsIn(g, id, sender)
			if err != nil {
				return err
			}
			all = append(all, slices.DeleteFunc(some, func(seq chat.Seq) bool { return seq <= after })...)
		}
		out = all[:min(len(all), limit)]
		return nil
	})
	return out, err
}

// sentSeqsIn reads what a person has sent in one generation, ascending.
func (c call) sentSeqsIn(g int, id chat.ID, sender chat.UserID) ([]chat.Seq, error) {
	first, n := int64(0), int64(1)
	if g > 0 {
		first, n = int64(1)<<(g-1), int64(1)<<(g-1)
	}
	parts := make([][]chat.Seq, n)
	eg, ctx := errgroup.WithContext(c.ctx)
	eg.SetLimit(partitionsAtOnce)
	for i := range parts {
		eg.Go(func() (err error) {
			parts[i], err = c.seqs(ctx, getSentSeqs, string(id), first+int64(i), string(sender))
			return err
		})
	}
	if err := eg.Wait(); err != nil {
		return nil, err
	}
	all := slices.Concat(parts...)
	slices.Sort(all)
	return all, nil
}
