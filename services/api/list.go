package api

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"net/http"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/store"
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
	// LastMessage is the last that the person has not hidden, as it stands, or null.
	LastMessage json.RawMessage `json:"last_message"`
	ReadSeq     chat.Seq        `json:"read_seq"`
	Unread      uint64          `json:"unread"`
	// UnreadMentions are the messages of those that mention the person, at most maxMentions.
	UnreadMentions int    `json:"unread_mentions"`
	Picture        string `json:"picture,omitempty"`
	// Settings are the caller's own.
	Settings settingsView `json:"settings"`
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
	archived, err := archivedOf(q)
	if err != nil {
		return answer{}, err
	}
	index, err := s.store.ChatsOf(c.ctx, c.who.User)
	if err := s.stored(err); err != nil {
		return answer{}, err
	}
	ids := make([]chat.ID, 0, len(index))
	settings := make(map[chat.ID]store.ChatSettings, len(index))
	for _, entry := range index {
		if archived == nil || *archived == entry.Settings.Archived {
			ids = append(ids, entry.Chat)
			settings[entry.Chat] = entry.Settings
		}
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
			out.Chats[i].Settings = viewSettings(settings[p.id], out.Chats[i].ReadSeq)
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
		LastSeq: snap.Head.Seq, Picture: st.Picture}
	var err error
	if l.LastMessage, err = s.lastMessage(ctx, user, snap); err != nil {
		return l, err
	}
	at, err := s.standing(ctx, user, snap)
	l.ReadSeq, l.Unread, l.UnreadMentions = at.read, at.unread, at.mentions
	return l, err
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
