package e2e

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/e2e/raw"
)

// fill sends n messages over a socket, several at a time, and returns the seq of the last.
func fill(t *testing.T, s *raw.Socket, chat string, n int) uint64 {
	t.Helper()
	const writers = 8
	acked := make([]uint64, writers)
	inParallel(writers, func(w int) {
		for i := w; i < n; i += writers {
			acked[w] = max(acked[w], send(t, s, chat, newClientID(), text("number %d", i)).Seq)
		}
	})
	last := uint64(0)
	for _, a := range acked {
		last = max(last, a)
	}
	return last
}

func TestHistoryPagesCoverEverySeqAscending(t *testing.T) {
	t.Parallel()
	srv := server(t)
	alice, bob := newPerson(t, srv, "alice"), newPerson(t, srv, "bob")
	chat := alice.group("pages", bob)
	const last = 251 // with the creation
	if got := fill(t, alice.device(nil), chat, last-1); got != last {
		t.Fatalf("the last seq is %d; want %d", got, last)
	}
	for _, c := range []struct {
		query    string
		from, to uint64 // 0 to 0 is an empty page
		more     bool
	}{
		{"?limit=10", last - 9, last, true}, // the newest
		{"?after=0&limit=10", 1, 10, true},  // the oldest
		{"?after=10&limit=10", 11, 20, true},
		{"?after=241&limit=10", 242, last, false},
		{"?after=245&limit=200", 246, last, false},
		{"?after=251&limit=10", 0, 0, false},
		{"?before=11&limit=10", 1, 10, false},
		{"?before=12&limit=10", 2, 11, true},
		{"?before=252&limit=1", last, last, true},
		{"?before=1&limit=10", 0, 0, false},
		{"?after=0&limit=200", 1, 200, true},
		{"?before=252&limit=200", 52, last, true},
	} {
		f := bob.page(chat, c.query)
		if c.from == 0 {
			if len(f.Messages) != 0 || f.HasMore {
				t.Errorf("%s: got %v, has_more %v; want nothing", c.query, seqs(f.Messages), f.HasMore)
			}
			continue
		}
		if n := c.to - c.from + 1; uint64(len(f.Messages)) != n || f.HasMore != c.more {
			t.Errorf("%s: got %d events %v, has_more %v; want %d, %v", c.query, len(f.Messages), seqs(f.Messages), f.HasMore, n, c.more)
			continue
		}
		contiguous(t, c.query, f.Messages, c.from)
		if f.FromSeq != c.from || f.ToSeq != c.to {
			t.Errorf("%s: covers %d to %d; want %d to %d", c.query, f.FromSeq, f.ToSeq, c.from, c.to)
		}
	}
	newest := bob.page(chat, "")
	if len(newest.Messages) == 0 || newest.Messages[len(newest.Messages)-1].Seq != last || !newest.HasMore {
		t.Errorf("without bounds: got %v, has_more %v; want the newest", seqs(newest.Messages), newest.HasMore)
	}
	if a := bob.call(http.MethodGet, "/v1/chats/"+chat+"/messages?limit=201", nil); a.Status == http.StatusOK {
		var f raw.Frame
		if err := a.Into(&f); err != nil || len(f.Messages) > 200 {
			t.Errorf("limit=201: got %d events, %v; want at most 200", len(f.Messages), err)
		}
	} else if why := refusedWith(a, "bad_request"); why != "" {
		t.Errorf("limit=201: %s", why)
	}
	var backwards []raw.Frame
	for before := uint64(last + 1); ; {
		f := bob.page(chat, fmt.Sprintf("?before=%d&limit=60", before))
		backwards = append(f.Messages, backwards...)
		if !f.HasMore {
			break
		}
		before = f.Messages[0].Seq
	}
	contiguous(t, "backwards", backwards, 1)
	if len(backwards) != last || len(bob.history(chat)) != last {
		t.Errorf("backwards %d, forwards %d events; want %d", len(backwards), len(bob.history(chat)), last)
	}
}

func TestAnAckedMessageIsInHistoryAtOnce(t *testing.T) {
	t.Parallel()
	srv := server(t)
	alice, bob := newPerson(t, srv, "alice"), newPerson(t, srv, "bob")
	chat := alice.direct(bob)
	s := alice.device(nil)
	for i := range 20 {
		words := text("at once %d", i)
		ack := send(t, s, chat, newClientID(), words)
		for _, p := range []*person{alice, bob} {
			f := p.page(chat, "?limit=1")
			if len(f.Messages) != 1 || f.Messages[0].Seq != ack.Seq || f.Messages[0].Text != words {
				t.Fatalf("the newest page of %s after the ack of %d: got %s", p.name, ack.Seq, f.Raw)
			}
		}
		if c, _ := bob.listed(chat); c.LastSeq != ack.Seq || c.LastMessage == nil || c.LastMessage.Text != words {
			t.Fatalf("the list after the ack of %d: got last_seq %d, last_message %+v", ack.Seq, c.LastSeq, c.LastMessage)
		}
		page, err := s.Ask(raw.Object{"type": "sync", "chat": chat, "after": ack.Seq - 1})
		if err != nil || len(page.Messages) != 1 || page.Messages[0].Text != words {
			t.Fatalf("sync after the ack of %d: got %s, %v", ack.Seq, page.Raw, err)
		}
	}
}

func TestHelloWithCursorsBringsWhatWasMissedInOrder(t *testing.T) {
	t.Parallel()
	srv := server(t)
	alice, bob := newPerson(t, srv, "alice"), newPerson(t, srv, "bob")
	little, exact, much, none := alice.direct(bob), alice.group("exact", bob), alice.group("much", bob), alice.group("none", bob)
	sender := alice.device(nil)
	fill(t, sender, little, 30) // seqs 2 to 31
	fill(t, sender, exact, 200) // 2 to 201
	fill(t, sender, much, 201)  // 2 to 202
	s := bob.device(map[string]uint64{little: 11, exact: 1, much: 1, none: 1})
	live := send(t, sender, little, newClientID(), text("live"))
	awaitSeq(t, "bob", s, little, live.Seq)
	contiguous(t, "what bob missed and what came live", s.Events(little), 12)
	awaitSeq(t, "bob", s, exact, 201)
	contiguous(t, "200 missed events", s.Events(exact), 2)
	if _, err := s.Await(raw.Patience, func(f raw.Frame) bool { return f.Type == "resync" && f.Chat == much }); err != nil {
		t.Fatalf("201 missed events: no resync: %v", err)
	}
	for _, chat := range []string{little, exact, none} {
		if got := s.Frames(func(f raw.Frame) bool { return f.Type == "resync" && f.Chat == chat }); len(got) > 0 {
			t.Errorf("got %s for a chat that misses at most 200", got[0].Raw)
		}
	}
	if got := s.Events(none); len(got) != 0 {
		t.Errorf("a chat that misses nothing: got %v", seqs(got))
	}
	// Of the chat with resync, whatever came is in order, and sync brings the rest.
	all := syncAll(t, s, much, 1, 0)
	contiguous(t, "sync", all, 2)
	if len(all) != 201 {
		t.Errorf("sync brought %d events; want 201", len(all))
	}
}

func TestACursorThatCannotBeGivesNothingAway(t *testing.T) {
	t.Parallel()
	srv := server(t)
	alice, bob, eve := newPerson(t, srv, "alice"), newPerson(t, srv, "bob"), newPerson(t, srv, "eve")
	private, common := alice.direct(bob), alice.group("common", bob, eve)
	secret := alice.post(private, text("not for eve"))
	s := eve.device(map[string]uint64{private: 0, common: 99, "nochat": 5})
	last := alice.post(common, text("for eve"))
	awaitSeq(t, "eve", s, common, last)
	if got := s.Events(private); len(got) != 0 {
		t.Errorf("a stranger got %v of a chat (last seq %d)", seqs(got), secret)
	}
	for _, chat := range []string{private, "nochat"} { // in any order: chats are caught up one by one
		if _, err := s.Await(raw.Patience, func(f raw.Frame) bool { return f.Type == "resync" && f.Chat == chat }); err != nil {
			t.Errorf("the cursor of %s, a chat of others or of nobody: no resync: %v", chat, err)
		}
	}
	told := s.Frames(func(f raw.Frame) bool { return f.Type == "resync" && (f.Chat == private || f.Chat == "nochat") })
	if len(told) != 2 {
		t.Errorf("a stranger can tell a chat from none: got %d resyncs; want one for each", len(told))
	}
}

// syncAll asks for pages until there is no more.
func syncAll(t *testing.T, s *raw.Socket, chat string, after uint64, limit int) (all []raw.Frame) {
	t.Helper()
	for {
		q := raw.Object{"type": "sync", "chat": chat, "after": after}
		if limit > 0 {
			q["limit"] = limit
		}
		page, err := s.Ask(q)
		if err != nil || page.Type != "page" || page.Chat != chat {
			t.Fatalf("sync after %d: got %.300s, %v; want a page", after, page.Raw, err)
		}
		if limit > 0 && len(page.Messages) > limit || len(page.Messages) > 200 {
			t.Errorf("sync after %d with limit %d: got %d events", after, limit, len(page.Messages))
		}
		all = append(all, page.Messages...)
		if !page.HasMore {
			return all
		}
		if len(page.Messages) == 0 {
			t.Fatalf("sync after %d: has_more on an empty page", after)
		}
		after = page.Messages[len(page.Messages)-1].Seq
	}
}

func TestSyncPagesUntilDone(t *testing.T) {
	t.Parallel()
	srv := server(t)
	alice, bob := newPerson(t, srv, "alice"), newPerson(t, srv, "bob")
	chat := alice.group("sync", bob)
	fill(t, alice.device(nil), chat, 120)
	s := bob.device(nil)
	for _, limit := range []int{0, 1, 7, 50, 200} {
		after := uint64(0)
		if limit == 1 {
			after = 110
		}
		all := syncAll(t, s, chat, after, limit)
		contiguous(t, fmt.Sprintf("limit %d", limit), all, after+1)
		if got, want := len(all), int(121-after); got != want {
			t.Errorf("limit %d: got %d events; want %d", limit, got, want)
		}
	}
	page, err := s.Ask(raw.Object{"type": "sync", "chat": chat, "after": 121})
	if err != nil || len(page.Messages) != 0 || page.HasMore {
		t.Errorf("after the last: got %s, %v; want an empty page", page.Raw, err)
	}
}

func TestTheListOfChatsIsPagedByLastActivity(t *testing.T) {
	t.Parallel()
	srv := server(t)
	alice, bob := newPerson(t, srv, "alice"), newPerson(t, srv, "bob")
	var order []string
	for i := range 7 {
		order = append(order, alice.group(fmt.Sprintf("chat %d", i), bob))
		time.Sleep(3 * time.Millisecond) // activity is told apart by milliseconds
	}
	for _, i := range []int{3, 0, 5} {
		bob.post(order[i], text("activity"))
		time.Sleep(3 * time.Millisecond)
	}
	want := []string{order[5], order[0], order[3], order[6], order[4], order[2], order[1]}
	for _, limit := range []int{1, 3, 7, 100} {
		var got []string
		for _, c := range alice.list(limit) {
			got = append(got, c.ID)
			if c.Kind != "group" || c.MembersCount != 2 || c.Title == "" || c.LastSeq == 0 {
				t.Errorf("got %+v; want kind, title, members_count and last_seq", c)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("limit %d: got %v; want %v", limit, got, want)
		}
	}
}
