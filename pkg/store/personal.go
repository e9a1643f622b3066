package store

import (
	"context"
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// ChatSettings are what a person has set for one chat, for themselves alone. The zero value is what holds where nothing was set.
type ChatSettings struct {
	// MutedUntil is until when the chat is silent, to the microsecond; nil is not.
	MutedUntil *time.Time
	// Archived puts the chat out of sight, MarkedUnread shows it as unread although all was read.
	Archived, MarkedUnread bool
	// MarkedAt is up to where the person had read the chat when they marked it: who has read further has seen it since.
	MarkedAt chat.Seq
}

// Personal keeps what a person has set for themselves: nobody else sees it. How much of it there is bounds who calls it.
type Personal interface {
	// SetChatSettings replaces what a person has set for a chat, all of it: of two calls the later one stays.
	SetChatSettings(ctx context.Context, user chat.UserID, id chat.ID, s ChatSettings) error
	// ChatSettingsOf returns what a person has set for a chat, the zero value where that is nothing.
	ChatSettingsOf(ctx context.Context, user chat.UserID, id chat.ID) (ChatSettings, error)

	// Hide keeps events of a chat out of a person's sight, for ever. It may be repeated.
	Hide(ctx context.Context, user chat.UserID, id chat.ID, seqs ...chat.Seq) error
	// Hidden returns the events from one seq to another, both included, that a person has hidden, ascending.
	Hidden(ctx context.Context, user chat.UserID, id chat.ID, from, to chat.Seq) ([]chat.Seq, error)

	// Block keeps that by wants nothing to do with user, Unblock forgets it; both may be repeated. These and the following are
	// linearizable.
	Block(ctx context.Context, by, user chat.UserID) error
	Unblock(ctx context.Context, by, user chat.UserID) error
	// Blocks returns whom a person has blocked, ascending by id.
	Blocks(ctx context.Context, by chat.UserID) ([]chat.UserID, error)
	// IsBlocked tells whether by has blocked user.
	IsBlocked(ctx context.Context, by, user chat.UserID) (bool, error)
}
