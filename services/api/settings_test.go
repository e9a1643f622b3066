package api

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/chatmesh/chatmesh/pkg/auth"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// device listens to what the devices of a person are told.
func (p *person) device() *nats.Subscription {
	p.w.t.Helper()
	b := p.w.broker.Bus(p.w.t)
	sub, err := b.Conn().SubscribeSync(subject.User(p.id))
	check(p.w.t, err)
	check(p.w.t, b.Conn().Flush())
	return sub
}

// next is the next frame that a device is told.
func next(t *testing.T, sub *nats.Subscription) string {
	t.Helper()
	m, err := sub.NextMsg(20 * time.Second)
	check(t, err)
	return string(m.Data)
}

func (p *person) settings(id chat.ID) settingsView {
	p.w.t.Helper()
	chats, _ := p.list("")
	for _, c := range chats {
		if c.ID == id {
			return c.Settings
		}
	}
	p.w.t.Fatalf("%s is not in the list", id)
	return settingsView{}
}

func TestWhatSomebodySetsForAChatIsTheirsAndToldToTheirDevices(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.people("ann", "ben")
	ann, ben := p[0], p[1]
	id := ann.group(ben)
	device := ann.device()
	for _, c := range []struct{ body, want string }{
		{`{"archived":true}`, `"muted_until":null,"archived":true,"marked_unread":false}`},
		{`{"muted_until":"2030-01-02T03:04:05.1234567+02:00"}`, `"muted_until":"2030-01-02T01:04:05.123456Z","archived":true,"marked_unread":false}`},
		{`{"archived":false,"muted_until":null,"marked_unread":true}`, `"muted_until":null,"archived":false,"marked_unread":true}`},
		{`{"archived":null,"muted_until":"9999-12-31T23:59:59Z"}`, `"muted_until":"9999-12-31T23:59:59.000000Z","archived":false,"marked_unread":true}`},
	} {
		r := ann.call("PUT", chatPath(id, "settings"), c.body).want(t, 200, "")
		if want := `{"chat":"` + string(id) + `",` + c.want; string(r.body) != want {
			t.Errorf("%s: got %s; want %s", c.body, r.body, want)
		}
		if got, want := next(t, device), `{"type":"settings","chat":"`+string(id)+`",`+c.want; got != want {
			t.Errorf("%s: a device got %s; want %s", c.body, got, want)
		}
		if got := wire.Encode(ann.settings(id)); string(got) != "{"+c.want {
			t.Errorf("%s: the list has %s; want {%s", c.body, got, c.want)
		}
	}
	if got := ben.settings(id); got != (settingsView{}) {
		t.Errorf("ben: got %+v; want nothing", got)
	}
	for _, body := range []string{`{}`, `{"archived":null}`, `{"archived":1}`, `{"muted_until":7}`, `{"muted_until":"tomorrow"}`, `{"muted_until":""}`,
		`{"muted_until":"1969-12-31T23:59:59Z"}`, `{"muted_until":"9999-12-31T23:59:59-01:00"}`, `{"marked_unread":"yes"}`, ``, `[]`} {
		ann.call("PUT", chatPath(id, "settings"), body).want(t, 400, chat.BadRequest)
	}
	stranger := w.person("stranger")
	stranger.call("PUT", chatPath(id, "settings"), `{"archived":true}`).want(t, 404, chat.NotFound)
	w.store.down.Store(true)
	ann.call("PUT", chatPath(id, "settings"), `{"archived":true}`).want(t, 503, chat.Unavailable)
	w.store.down.Store(false)
	if snap, err := w.log.Snapshot(t.Context(), id); err != nil || snap.Head.Seq != 1 {
		t.Errorf("got seq %d, %v; want that the chat knows nothing of it", snap.Head.Seq, err)
	}
}

func TestReadingTakesTheMarkBackWhateverDeviceReads(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.people("ann", "ben")
	ann, ben := p[0], p[1]
	id := ann.group(ben)
	mark := func() {
		ann.call("PUT", chatPath(id, "settings"), `{"marked_unread":true,"archived":true}`).want(t, 200, "")
		if got := ann.settings(id); !got.MarkedUnread {
			t.Fatalf("got %+v; want it marked", got)
		}
	}
	ben.send(id, "one")
	ann.call("PUT", chatPath(id, "read"), `{"seq":2}`).want(t, 200, "")
	mark()
	device := ann.device()
	ann.call("PUT", chatPath(id, "delivered"), `{"seq":2}`).want(t, 200, "")
	if got := ann.settings(id); !got.MarkedUnread {
		t.Errorf("got %+v; want that to have it is not to read it", got)
	}
	// All was read before: the cursor does not move.
	ann.call("PUT", chatPath(id, "read"), `{"seq":2}`).want(t, 200, "")
	if got, want := next(t, device), `{"type":"settings","chat":"`+string(id)+`","muted_until":null,"archived":true,"marked_unread":false}`; got != want {
		t.Errorf("a device got %s; want %s", got, want)
	}
	if got := ann.settings(id); got.MarkedUnread || !got.Archived {
		t.Errorf("got %+v; want it archived still", got)
	}
	// As an edge does it, which knows nothing of marks.
	mark()
	ben.send(id, "two")
	if got := ann.settings(id); !got.MarkedUnread {
		t.Errorf("got %+v; want that a message of another leaves the mark", got)
	}
	if _, err := w.log.Mark(t.Context(), id, ann.id, chatlog.Move{Read: 3}); err != nil {
		t.Fatal(err)
	}
	if got := ann.settings(id); got.MarkedUnread {
		t.Errorf("got %+v; want the mark taken back", got)
	}
	if r := ann.call("PUT", chatPath(id, "settings"), `{"archived":false}`); string(r.body) != `{"chat":"`+string(id)+`","muted_until":null,"archived":false,"marked_unread":false}` {
		t.Errorf("got %s; want that it stays taken back", r.body)
	}
	// An own message is a read as well.
	mark()
	ann.send(id, "three")
	if got := ann.settings(id); got.MarkedUnread {
		t.Errorf("got %+v; want the mark taken back by an own message", got)
	}
}

func TestTheListIsOfArchivedChatsOrOfTheOthersOrOfAll(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.people("ann", "ben")
	ann, ben := p[0], p[1]
	var all, put, rest []chat.ID
	for i := range 7 {
		id := ann.group(ben)
		all = append(all, id)
		if i%3 > 0 {
			rest = append(rest, id)
			continue
		}
		put = append(put, id)
		ann.call("PUT", chatPath(id, "settings"), `{"archived":true}`).want(t, 200, "")
	}
	ben.send(put[0], "it stays archived")
	for query, want := range map[string][]chat.ID{"": all, "archived=true": put, "archived=false": rest} {
		var got []chat.ID
		for cursor := ""; ; {
			chats, next := ann.list(fmt.Sprintf("?limit=2&%s%s", query, cursor))
			for _, c := range chats {
				got = append(got, c.ID)
			}
			if next == "" {
				break
			}
			cursor = "&cursor=" + next
		}
		slices.Sort(got)
		if want = slices.Sorted(slices.Values(want)); !slices.Equal(got, want) {
			t.Errorf("%q: got %v; want %v", query, got, want)
		}
	}
	for _, bad := range []string{"", "1", "TRUE", "no"} {
		ann.call("GET", "/v1/chats?archived="+bad, nil).want(t, 400, chat.BadRequest)
	}
}

func TestWhatIsHiddenIsHiddenOnAllDevicesOfOnePerson(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.people("ann", "ben", "stranger")
	ann, ben, stranger := p[0], p[1], p[2]
	id := ann.group(ben)
	for range 4 {
		ben.send(id, "text")
	}
	device := ann.device()
	hide := func(who *person, seq chat.Seq) error {
		_, err := w.api.hide(&call{ctx: t.Context(), who: auth.Identity{User: who.id, Session: who.session}}, id, seq)
		return err
	}
	for _, seq := range []chat.Seq{4, 2, 4} {
		check(t, hide(ann, seq))
		if got, want := next(t, device), fmt.Sprintf(`{"type":"hidden","chat":"%s","seqs":[%d]}`, id, seq); got != want {
			t.Errorf("a device got %s; want %s", got, want)
		}
	}
	for seq, want := range map[chat.Seq]error{0: errNoMessage, 1: errNoMessage, 6: errNoMessage, 1 << 62: errNoMessage} { // 1 made the group
		if err := hide(ann, seq); err != want {
			t.Errorf("%d: got %v; want %v", seq, err, want)
		}
	}
	if err := hide(stranger, 2); err != errNoChat {
		t.Errorf("got %v; want %v", err, errNoChat)
	}
	listed := func(who *person, query string) string {
		return string(who.call("GET", chatPath(id, "hidden")+query, nil).want(t, 200, "").body)
	}
	for _, c := range []struct {
		who         *person
		query, want string
	}{
		{ann, "", `{"seqs":[2,4],"has_more":false,"from_seq":1,"to_seq":5}`},
		{ann, "?after=2", `{"seqs":[4],"has_more":false,"from_seq":3,"to_seq":5}`},
		{ann, "?after=5", `{"seqs":[],"has_more":false,"from_seq":0,"to_seq":0}`},
		{ann, "?after=99999999999999999999", `{"seqs":[],"has_more":false,"from_seq":0,"to_seq":0}`},
		{ben, "", `{"seqs":[],"has_more":false,"from_seq":1,"to_seq":5}`},
	} {
		if got := listed(c.who, c.query); got != c.want {
			t.Errorf("%s %q: got %s; want %s", c.who.name, c.query, got, c.want)
		}
	}
	stranger.call("GET", chatPath(id, "hidden"), nil).want(t, 404, chat.NotFound)
	ann.call("GET", chatPath(id, "hidden")+"?after=x", nil).want(t, 400, chat.BadRequest)
	var page wire.Page
	ben.call("GET", chatPath(id, "messages"), nil).want(t, 200, "").into(t, &page)
	if len(page.Messages) != 5 {
		t.Errorf("got %d events; want that ben has all five", len(page.Messages))
	}
}
