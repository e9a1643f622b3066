package api

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// settingsView is what a person has set for a chat, as it stands in the list.
type settingsView struct {
	MutedUntil   *chat.Time `json:"muted_until"`
	Archived     bool       `json:"archived"`
	MarkedUnread bool       `json:"marked_unread"`
}

// viewSettings shows what was set to who has read a chat up to read: with the next read a chat is not marked any more.
func viewSettings(n store.ChatSettings, read chat.Seq) settingsView {
	v := settingsView{Archived: n.Archived, MarkedUnread: n.MarkedUnread && read <= n.MarkedAt}
	if n.MutedUntil != nil {
		until := chat.TimeOf(*n.MutedUntil)
		v.MutedUntil = &until
	}
	return v
}

// settingsFrame is what the devices of the person are told.
func settingsFrame(id chat.ID, v settingsView) wire.Settings {
	return wire.Settings{Type: wire.TypeSettings, Chat: id, MutedUntil: v.MutedUntil, Archived: v.Archived, MarkedUnread: v.MarkedUnread}
}

// newSettings is what a call sets; what is missing stays.
type newSettings struct {
	MutedUntil   json.RawMessage `json:"muted_until"`
	Archived     *bool           `json:"archived"`
	MarkedUnread *bool           `json:"marked_unread"`
}

// until reads a time, or null for none. It fails with BadRequest.
func (n newSettings) until() (*time.Time, error) {
	if string(n.MutedUntil) == "null" {
		return nil, nil
	}
	var t chat.Time
	if err := json.Unmarshal(n.MutedUntil, &t); err != nil || t.Year() < 1970 || t.Year() > 9999 {
		return nil, chat.Errorf(chat.BadRequest, "muted_until is a time of RFC 3339, or null")
	}
	t = chat.TimeOf(t.Time)
	return &t.Time, nil
}

// setSettings changes what the caller has set for a chat, for themselves alone, and tells their other devices.
func (s *Server) setSettings(c *call) (answer, error) {
	id, err := c.chat()
	if err != nil {
		return answer{}, err
	}
	var in newSettings
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	if in.MutedUntil == nil && in.Archived == nil && in.MarkedUnread == nil {
		return answer{}, chat.Errorf(chat.BadRequest, "one of muted_until, archived and marked_unread is required")
	}
	var until *time.Time
	if in.MutedUntil != nil {
		if until, err = in.until(); err != nil {
			return answer{}, err
		}
	}
	snap, err := s.member(c.ctx, id, c.who.User)
	if err != nil {
		return answer{}, err
	}
	was, err := s.store.ChatSettingsOf(c.ctx, c.who.User, id)
	if err := s.stored(err); err != nil {
		return answer{}, err
	}
	at, err := s.standing(c.ctx, c.who.User, snap)
	if err != nil {
		return answer{}, err
	}
	next := was
	if in.MutedUntil != nil {
		next.MutedUntil = until
	}
	if in.Archived != nil {
		next.Archived = *in.Archived
	}
	if in.MarkedUnread != nil {
		next.MarkedUnread, next.MarkedAt = *in.MarkedUnread, at.read
	}
	if !next.MarkedUnread || at.read > next.MarkedAt {
		next.MarkedUnread, next.MarkedAt = false, 0
	}
	if err := s.stored(s.store.SetChatSettings(c.ctx, c.who.User, id, next)); err != nil {
		return answer{}, err
	}
	f := settingsFrame(id, viewSettings(next, at.read))
	s.tell(c.who.User, f)
	f.Type = ""
	return answer{http.StatusOK, f}, nil
}

// unmark takes back that a person has marked a chat as unread, where they have: they read it.
func (s *Server) unmark(ctx context.Context, user chat.UserID, id chat.ID) error {
	n, err := s.store.ChatSettingsOf(ctx, user, id)
	if err := s.stored(err); err != nil || !n.MarkedUnread {
		return err
	}
	n.MarkedUnread, n.MarkedAt = false, 0
	if err := s.stored(s.store.SetChatSettings(ctx, user, id, n)); err != nil {
		return err
	}
	s.tell(user, settingsFrame(id, viewSettings(n, 0)))
	return nil
}

// archivedOf returns the parameter archived: nil for all chats. It fails with BadRequest.
func archivedOf(q url.Values) (*bool, error) {
	if !q.Has("archived") {
		return nil, nil
	}
	switch q.Get("archived") {
	case "true":
		return new(true), nil
	case "false":
		return new(bool), nil
	}
	return nil, chat.Errorf(chat.BadRequest, "archived is true or false")
}
