package scylla

import (
	"encoding/json"
	"strconv"

	"github.com/scylladb/gocqlx/v2/qb"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
)

// The statements of Write. Arguments come in the order of the columns, the timestamp last, in an UPDATE first.
var (
	putEvent = cql(qb.Insert("messages").Columns("chat_id", "bucket", "seq", "body").TimestampNamed("ts").ToCql())
	putFound = cql(qb.Insert("client_ids").Columns("chat_id", "bucket", "sender", "client_id", "seq", "sent_at").TimestampNamed("ts").ToCql())
	putIndex = cql(qb.Insert("chat_index").Columns("bucket", "chat_id").TimestampNamed("ts").ToCql())
	setHead  = cql(qb.Update("chats").TimestampNamed("ts").Set("seq", "n", "at", "stream").Where(qb.Eq("chat_id")).ToCql())
	setState = cql(qb.Update("chats").TimestampNamed("ts").Set("state").Where(qb.Eq("chat_id")).ToCql())

	ofUser       = []qb.Cmp{qb.Eq("user_id"), qb.Eq("chat_id")}
	setLink      = cql(qb.Update("user_chats").TimestampNamed("ts").Set("link").Where(ofUser...).ToCql())
	setCursor    = cql(qb.Update("user_chats").TimestampNamed("ts").Set("seq", "n").Where(ofUser...).ToCql())
	setDelivered = cql(qb.Update("user_chats").TimestampNamed("ts").Set("delivered").Where(ofUser...).ToCql())
)

func cql(stmt string, _ []string) string { return stmt }

// row is one statement of a batch. size is about what it takes on its way.
type row struct {
	stmt string
	args []any
	size int
}

// partition names one partition of one table.
type partition struct {
	table  byte
	key    string
	bucket int64
}

// The tables, for partition.
const (
	messagesTable = iota
	foundTable
	indexTable
	chatsTable
	userChatsTable
	marksTable
	mentionsTable
	hiddenTable
)

// spanNames are the names of the spans of writes to the tables. What is traced is what has a chat for its key.
var spanNames = [...]string{messagesTable: "cql write messages", foundTable: "cql write client_ids", indexTable: "cql write chat_index",
	chatsTable: "cql write chats", userChatsTable: "cql write user_chats", marksTable: "cql write marks",
	mentionsTable: "cql write mentions", hiddenTable: "cql write hidden"}

// groups are statements by partition.
type groups map[partition][]row

func (g groups) add(p partition, stmt string, args ...any) {
	size := 64
	for _, a := range args {
		switch v := a.(type) {
		case string:
			size += 8 + len(v)
		case []byte:
			size += 8 + len(v)
		default:
			size += 16
		}
	}
	g[p] = append(g[p], row{stmt, args, size})
}

type member struct {
	user chat.UserID
	chat chat.ID
}

// place is an event's.
type place struct {
	chat chat.ID
	seq  chat.Seq
}

// plan is a batch taken apart: what follows from several entries is written once, as the last of them has it.
type plan struct {
	store          *Store
	content, heads groups

	bodies  map[place]uint64   // the stream sequence of the first event
	stubs   map[place]chat.Seq // the latest deletion
	erased  map[place]struct{} // the messages that are erased, or have an edit that is
	last    map[chat.ID]*store.Entry
	states  map[chat.ID]*chat.State
	links   map[member]int64
	cursors map[member]store.Cursor
	listed  map[chat.ID]struct{}
}

func newPlan(s *Store) *plan {
	return &plan{s, groups{}, groups{}, map[place]uint64{}, map[place]chat.Seq{}, map[place]struct{}{}, map[chat.ID]*store.Entry{}, map[chat.ID]*chat.State{},
		map[member]int64{}, map[member]store.Cursor{}, map[chat.ID]struct{}{}}
}

// event plans one event, or the stub of one, and all that follows from it.
func (p *plan) event(en *store.Entry) {
	e := &en.Event
	if e.Deleted != nil {
		p.stub(en)
		return
	}
	at := place{e.Chat, e.Seq}
	if stream, twice := p.bodies[at]; twice && stream <= en.Stream {
		return // cells of one timestamp would be compared by their content
	}
	p.bodies[at] = en.Stream
	p.body(en, firstTime(en.Stream))
	p.follow(en)
}

func (p *plan) body(en *store.Entry, ts int64) {
	body := en.Body
	if body == nil {
		body = []byte{}
	}
	id, seq := string(en.Event.Chat), en.Event.Seq
	p.content.add(partition{messagesTable, id, bucketOf(seq)}, putEvent, id, bucketOf(seq), int64(seq), body, ts)
}

// follow plans what follows from an event, whether its text is there or not.
func (p *plan) follow(en *store.Entry) {
	e := &en.Event
	id := string(e.Chat)
	// A stub may not know where the event stands in the stream.
	if last := p.last[e.Chat]; last == nil || last.Event.Seq < e.Seq || last.Event.Seq == e.Seq && last.Stream < en.Stream {
		p.last[e.Chat] = en
	}
	switch e.Type {
	case chat.Message:
		bucket := foundBucket(e.Seq, e.ClientID)
		p.content.add(partition{foundTable, id, bucket}, putFound, id, bucket, string(e.Sender), string(e.ClientID),
			int64(e.Seq), e.Time().UnixMicro(), firstTime(uint64(e.Seq)))
		p.mention(e, e.Seq)
		p.cursor(store.Cursor{Chat: e.Chat, User: e.Sender, Seq: e.Seq, N: e.N})
		return
	case chat.Edited:
		p.mark(e.Chat, e.Target, editKind, e.By, strconv.FormatUint(uint64(e.Seq), 10), e, lastTime(e.Seq))
		p.mention(e, e.Target)
		return
	case chat.Reacted:
		p.mark(e.Chat, e.Target, reactionKind, e.By, e.Emoji, e, lastTime(e.Seq))
		return
	}
	switch e.Change {
	case chat.Created:
		for _, m := range e.Members {
			p.link(m.UserID, e.Chat, e.Seq, true)
		}
	case chat.MemberAdded:
		p.link(e.User, e.Chat, e.Seq, true)
	case chat.MemberRemoved:
		p.link(e.User, e.Chat, e.Seq, false)
	}
}

func (p *plan) state(st *chat.State) {
	if before := p.states[st.Chat]; before == nil || before.Seq < st.Seq {
		p.states[st.Chat] = st
	}
}

func (p *plan) cursor(c store.Cursor) {
	k := member{c.User, c.Chat}
	now := p.cursors[k]
	if c.Seq > now.Seq {
		now.Seq, now.N = c.Seq, c.N
	}
	now.Delivered = max(now.Delivered, c.Delivered)
	p.cursors[k] = now
}

func (p *plan) link(user chat.UserID, id chat.ID, seq chat.Seq, in bool) {
	k := member{user, id}
	p.links[k] = max(p.links[k], linkTime(seq, in))
}

// finish plans what was gathered.
func (p *plan) finish() error {
	for m, l := range p.links {
		p.content.add(partition{userChatsTable, string(m.user), 0}, setLink, l, l, string(m.user), string(m.chat))
	}
	for m, c := range p.cursors {
		part := partition{userChatsTable, string(m.user), 0}
		if c.Seq > 0 {
			p.content.add(part, setCursor, lastTime(c.Seq), int64(c.Seq), int64(c.N), string(m.user), string(m.chat))
		}
		if c.Delivered > c.Seq { // what was read was delivered
			p.content.add(part, setDelivered, lastTime(c.Delivered), int64(c.Delivered), string(m.user), string(m.chat))
		}
	}
	for id, en := range p.last {
		p.list(id)
		e := &en.Event
		p.heads.add(partition{chatsTable, string(id), 0}, setHead,
			lastTime(e.Seq), int64(e.Seq), int64(e.N), e.Time().UnixMicro(), int64(en.Stream), string(id))
	}
	for id, st := range p.states {
		p.list(id)
		j, err := json.Marshal(st)
		if err != nil {
			return err
		}
		p.heads.add(partition{chatsTable, string(id), 0}, setState, lastTime(st.Seq), j, string(id))
	}
	return nil
}

// list puts a chat into the index of all chats, unless it is known to be there.
func (p *plan) list(id chat.ID) {
	if _, there := p.listed[id]; there || p.store.listed.Contains(id) {
		return
	}
	p.listed[id] = struct{}{}
	bucket := indexBucket(id)
	p.content.add(partition{indexTable, "", int64(bucket)}, putIndex, bucket, string(id), indexTime)
}

// remember keeps what is known when all was written.
func (p *plan) remember() {
	for id := range p.listed {
		p.store.listed.Add(id, struct{}{})
	}
	for id, en := range p.last {
		p.store.atLeast(id, en.Event.Seq)
	}
}
