package scylla

import (
	"github.com/scylladb/gocqlx/v2/qb"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
)

// The kinds of rows in marks.
const (
	editKind     = string(chat.Edited)
	reactionKind = string(chat.Reacted)
	mentionKind  = "mention"
	erasedKind   = "erased"
)

// The statements about marks and mentions.
var (
	markKey = []qb.Cmp{qb.Eq("chat_id"), qb.Eq("bucket"), qb.Eq("target"), qb.Eq("kind"), qb.Eq("user_id"), qb.Eq("item")}
	putMark = cql(qb.Insert("marks").Columns("chat_id", "bucket", "target", "kind", "user_id", "item", "seq", "removed", "at").
		TimestampNamed("ts").ToCql())
	dropMark   = cql(qb.Delete("marks").TimestampNamed("ts").Where(markKey...).ToCql())
	putMention = cql(qb.Insert("mentions").Columns("user_id", "chat_id", "bucket", "seq").TimestampNamed("ts").ToCql())

	mentionKey   = []qb.Cmp{qb.Eq("user_id"), qb.Eq("chat_id"), qb.Eq("bucket"), qb.Eq("seq")}
	dropMention  = cql(qb.Delete("mentions").TimestampNamed("ts").Where(mentionKey...).ToCql())
	getMentioned = cql(qb.Select("marks").Columns("user_id").Where(markKey[:4]...).ToCql())
)

// mark plans a row of marks.
func (p *plan) mark(id chat.ID, target chat.Seq, kind string, user chat.UserID, item string, e *chat.Event, ts int64) {
	bucket := bucketOf(target)
	p.content.add(partition{marksTable, string(id), bucket}, putMark, string(id), bucket, int64(target), kind, string(user), item,
		int64(e.Seq), e.Removed, e.Time().UnixMicro(), ts)
}

// mention plans that a message is found for whom it, or an edit of it, mentions. Whether it is erased is looked at when it is looked
// for: nothing is read here.
func (p *plan) mention(e *chat.Event, target chat.Seq) {
	for _, u := range e.Mentions {
		bucket := mentionBucket(target)
		p.content.add(partition{mentionsTable, string(u) + " " + string(e.Chat), bucket}, putMention,
			string(u), string(e.Chat), bucket, int64(target), firstTime(uint64(target)))
		p.mark(e.Chat, target, mentionKind, u, "", e, firstTime(uint64(target)))
	}
}

// stub plans that a stub replaces a body. Its timestamp is above those of all events, and the later deletion is above the
// earlier one.
func (p *plan) stub(en *store.Entry) {
	bare := *en
	e := &bare.Event
	at := place{e.Chat, e.Seq}
	e.Mentions = nil
	p.follow(&bare) // of two stubs, the one that counts less may know its place in the stream
	if p.stubs[at] >= e.Deleted.Seq {
		return
	}
	p.stubs[at] = e.Deleted.Seq
	p.body(&bare, eraseTime(uint64(e.Deleted.Seq)))
	target := e.Seq
	if e.Type == chat.Edited {
		target = e.Target
	}
	p.mark(e.Chat, target, erasedKind, "", "", &chat.Event{Seq: e.Deleted.Seq}, lastTime(e.Deleted.Seq))
	p.erased[place{e.Chat, target}] = struct{}{}
}

// unmention takes away whom messages mention. Their erased rows are there already, so nobody finds them: this only tidies up, as far
// as what mentions somebody is there.
func (c call) unmention(erased map[place]struct{}) error {
	if len(erased) == 0 {
		return nil
	}
	drop := groups{}
	for at := range erased {
		id, bucket, seq := string(at.chat), bucketOf(at.seq), int64(at.seq)
		it := c.query(c.ctx, getMentioned, id, bucket, seq, mentionKind).Iter()
		for user := ""; it.Scan(&user); {
			drop.add(partition{mentionsTable, user + " " + id, mentionBucket(at.seq)}, dropMention,
				eraseTime(uint64(at.seq)), user, id, mentionBucket(at.seq), seq)
			drop.add(partition{marksTable, id, bucket}, dropMark, eraseTime(uint64(at.seq)), id, bucket, seq, mentionKind, user, "")
		}
		if err := it.Close(); err != nil {
			return err
		}
	}
	return c.send(drop)
}
