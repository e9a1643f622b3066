package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// Bounds of a page of chats.
const (
	defaultChats = 50
	maxChats     = 100
	// listAtOnce is how many chats of a page are looked into at once.
	listAtOnce = 8
	// previewText is how many code points of the last message are told.
	previewText = 1000
)

// listed is a chat in the list of one of its members.
type listed struct {
	ID           chat.ID     `json:"id"`
	Kind         chat.Kind   `json:"kind"`
	Title        string      `json:"title,omitempty"`
	Peer         chat.UserID `json:"peer,omitempty"`
	MembersCount int         `json:"members_count"`
	LastSeq      chat.Seq    `json:"last_seq"`
	// LastMessage is an event, or null.
	LastMessage json.RawMessage `json:"last_message"`
	ReadSeq     chat.Seq        `json:"read_seq"`
	Unread      uint64          `json:"unread"`
}

// listChats returns the caller's chats, the most recently active first. All heads are read in a few calls; the rest only for
// the page that is returned.
func (s *Server) listChats(c *call) (answer, error) {
	q, err := c.query()
	if err != nil {
		return answer{}, err
	}
	limit, err := limitOf(q, defaultChats, maxChats)
	if err != nil {
		return answer{}, err
	}
	var from place
	if q.Has("cursor") {
		if from, err = parsePlace(q.Get("cursor")); err != nil {
			return answer{}, err
		}
	}
	index, err := s.store.ChatsOf(c.ctx, c.who.User)
	if err := s.stored(err); err != nil {
		return answer{}, err
	}
	ids := make([]chat.ID, 0, len(index))
	for _, entry := range index {
		ids = append(ids, entry.Chat)
	}
	snaps, err := s.log.Snapshots(c.ctx, ids)
	if err != nil {
		return answer{}, err
	}
	places := make([]place, 0, len(snaps))
	for id, snap := range snaps {
		p := place{snap.Head.At.UnixMilli(), id}
		if _, in := snap.State.Member(c.who.User); in && (from.id == "" || from.compare(p) < 0) {
			places = append(places, p)
		}
	}
	slices.SortFunc(places, place.compare)
	out := struct {
		Chats []listed `json:"chats"`
		Next  string   `json:"next_cursor,omitempty"`
	}{}
	if len(places) > limit {
		places = places[:limit]
		out.Next = places[limit-1].String()
	}
	out.Chats = make([]listed, len(places))
	g, ctx := errgroup.WithContext(c.ctx)
	g.SetLimit(listAtOnce)
	for i, p := range places {
		g.Go(func() (err error) {
			out.Chats[i], err = s.listed(ctx, c.who.User, snaps[p.id])
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return answer{}, err
	}
	return answer{http.StatusOK, out}, nil
}

// listed looks into one chat.
func (s *Server) listed(ctx context.Context, user chat.UserID, snap chatlog.Snapshot) (listed, error) {
	st := snap.State
	l := listed{ID: st.Chat, Kind: st.Kind, Title: st.Title, Peer: peerOf(st, user), MembersCount: len(st.Members),
		LastSeq: snap.Head.Seq}
	last, err := s.lastMessage(ctx, st.Chat, snap.Head)
	if err != nil {
		return l, err
	}
	if l.LastMessage, err = preview(last); err != nil {
		return l, err
	}
	l.ReadSeq, l.Unread, err = s.standing(ctx, user, snap)
	return l, err
}

// lastMessage returns the last message of a chat up to head, or nil.
func (s *Server) lastMessage(ctx context.Context, id chat.ID, head chatlog.Head) ([]byte, error) {
	if head.N == 0 {
		return nil, nil
	}
	if head.Body != nil {
		if e, err := wire.DecodeEvent(head.Body); err == nil && e.Type == chat.Message {
			return head.Body, nil
		}
	}
	// Nearly always it is among the last few events.
	page, err := s.log.Page(ctx, id, store.Range{Before: head.Seq + 1, Limit: 16, MaxBytes: pageBytes})
	if err != nil {
		return nil, err
	}
	for _, it := range slices.Backward(page.Items) {
		if e, err := wire.DecodeEvent(it.Body); err != nil {
			return nil, err
		} else if e.Type == chat.Message {
			return it.Body, nil
		}
	}
	// Otherwise it is the first event that counts as many messages as the head does.
	lo, hi := chat.Seq(1), head.Seq
	if len(page.Items) > 0 {
		hi = page.From - 1
	}
	for lo <= hi {
		mid := lo + (hi-lo)/2
		page, err := s.log.Page(ctx, id, store.Range{After: mid - 1, Before: mid + 1, Forward: true, Limit: 1})
		if err != nil {
			return nil, err
		}
		if len(page.Items) != 1 {
			return nil, errors.New("api: an event below the head is missing")
		}
		e, err := wire.DecodeEvent(page.Items[0].Body)
		switch {
		case err != nil:
			return nil, err
		case e.N == head.N && e.Type == chat.Message:
			return page.Items[0].Body, nil
		case e.N == head.N:
			hi = mid - 1
		default:
			lo = mid + 1
		}
	}
	return nil, fmt.Errorf("api: none of %d messages was found", head.N)
}

// preview is a message with its text cut; null for none.
func preview(body []byte) (json.RawMessage, error) {
	if len(body) <= previewText { // a code point has a byte at least
		return body, nil
	}
	e, err := wire.DecodeEvent(body)
	if err != nil || utf8.RuneCountInString(e.Text) <= previewText {
		return body, err
	}
	n := 0
	for i := range e.Text {
		if n == previewText {
			e.Text = e.Text[:i]
			break
		}
		n++
	}
	return wire.Encode(struct {
		chat.Event
		Truncated bool `json:"truncated"`
	}{e, true}), nil
}

// standing returns how far a person is in a chat, and how many messages of others follow. Own messages count as read; those
// which the store does not have yet are looked for in the log.
func (s *Server) standing(ctx context.Context, user chat.UserID, snap chatlog.Snapshot) (chat.Seq, uint64, error) {
	id, head := snap.State.Chat, snap.Head
	// The record first: the cursor in the store then has every own message up to it.
	rec, err := s.store.Record(ctx, id)
	if err := s.stored(err); err != nil && !errors.Is(err, store.ErrNotFound) {
		return 0, 0, err
	}
	at, err := s.log.Cursor(ctx, id, user)
	if err != nil {
		return 0, 0, err
	}
	if max(rec.Seq, at.Seq) < head.Seq {
		if at, err = s.ownAfter(ctx, user, snap, rec, at); err != nil {
			return 0, 0, err
		}
	}
	if at.Seq >= head.Seq { // the head may have moved on meanwhile
		return head.Seq, 0, nil
	}
	return at.Seq, head.N - at.N, nil
}

// tailPage bounds what is read of a tail at once.
const (
	tailPage  = 4096
	tailBytes = 16 << 20
)

// ownAfter returns the later of a cursor and the last message of its person between record and head.
func (s *Server) ownAfter(ctx context.Context, user chat.UserID, snap chatlog.Snapshot, rec store.Record, at store.Cursor) (store.Cursor, error) {
	own := []byte(`"sender":"` + string(user) + `"`) // stands so in no text: its quotes are escaped
	done := max(rec.Seq, at.Seq)
	for done < snap.Head.Seq {
		items, err := s.log.After(ctx, snap.State.Chat, done, rec.Stream, min(int(snap.Head.Seq-done), tailPage), tailBytes)
		if err != nil {
			return at, err
		}
		if len(items) == 0 || items[0].Seq != done+1 {
			// The store has it by now, or the log has forgotten it: then the store's cursor says it all.
			now, err := s.log.Cursor(ctx, snap.State.Chat, user)
			if err == nil && now.Seq > at.Seq {
				at = now
			}
			return at, err
		}
		for _, it := range items {
			done = it.Seq
			if !bytes.Contains(it.Body, own) {
				continue
			}
			e, err := wire.DecodeEvent(it.Body)
			if err != nil {
				return at, err
			}
			if e.Type == chat.Message && e.Sender == user {
				at.Seq, at.N = e.Seq, e.N
			}
		}
	}
	return at, nil
}

// place is where a chat stands in the list: by the time of its last event, then by id.
type place struct {
	at int64 // milliseconds
	id chat.ID
}

// compare orders places as the list does: the latest first.
func (p place) compare(q place) int {
	return cmp.Or(cmp.Compare(q.at, p.at), cmp.Compare(p.id, q.id))
}

var placeEncoding = base64.RawURLEncoding.Strict()

// String is the place as a client gets it, to have the list from behind it.
func (p place) String() string {
	return placeEncoding.EncodeToString(append(binary.BigEndian.AppendUint64(nil, uint64(p.at)), p.id...))
}

// parsePlace reads what String wrote. It fails with BadRequest.
func parsePlace(s string) (place, error) {
	b, err := placeEncoding.DecodeString(s)
	if err != nil || len(b) <= 8 {
		return place{}, chat.Errorf(chat.BadRequest, "cursor is none of ours")
	}
	p := place{at: int64(binary.BigEndian.Uint64(b))}
	if p.id, err = chat.ParseID(string(b[8:])); err != nil || p.at < 0 {
		return place{}, chat.Errorf(chat.BadRequest, "cursor is none of ours")
	}
	return p, nil
}
