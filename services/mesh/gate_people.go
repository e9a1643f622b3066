package mesh

import (
	"context"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
)

// SetProfile is that of the store.
func (g *gate) SetProfile(ctx context.Context, user chat.UserID, p store.Profile) (store.User, error) {
	if err := g.err(); err != nil {
		return store.User{}, err
	}
	return g.Store.SetProfile(ctx, user, p)
}

// SetPassword is that of the store.
func (g *gate) SetPassword(ctx context.Context, user chat.UserID, old, next string) error {
	if err := g.err(); err != nil {
		return err
	}
	return g.Store.SetPassword(ctx, user, old, next)
}

// BeginDeletion is that of the store.
func (g *gate) BeginDeletion(ctx context.Context, user chat.UserID) error {
	if err := g.err(); err != nil {
		return err
	}
	return g.Store.BeginDeletion(ctx, user)
}

// Deleting is that of the store.
func (g *gate) Deleting(ctx context.Context, after chat.UserID, limit int) ([]chat.UserID, error) {
	if err := g.err(); err != nil {
		return nil, err
	}
	return g.Store.Deleting(ctx, after, limit)
}

// EndDeletion is that of the store.
func (g *gate) EndDeletion(ctx context.Context, user chat.UserID) error {
	if err := g.err(); err != nil {
		return err
	}
	return g.Store.EndDeletion(ctx, user)
}

// Sessions is that of the store.
func (g *gate) Sessions(ctx context.Context, user chat.UserID) ([]store.Session, error) {
	if err := g.err(); err != nil {
		return nil, err
	}
	return g.Store.Sessions(ctx, user)
}

// DeleteSessions is that of the store.
func (g *gate) DeleteSessions(ctx context.Context, user chat.UserID, except string) ([]string, error) {
	if err := g.err(); err != nil {
		return nil, err
	}
	return g.Store.DeleteSessions(ctx, user, except)
}

// SetChatSettings is that of the store.
func (g *gate) SetChatSettings(ctx context.Context, user chat.UserID, id chat.ID, s store.ChatSettings) error {
	if err := g.err(); err != nil {
		return err
	}
	return g.Store.SetChatSettings(ctx, user, id, s)
}

// ChatSettingsOf is that of the store.
func (g *gate) ChatSettingsOf(ctx context.Context, user chat.UserID, id chat.ID) (store.ChatSettings, error) {
	if err := g.err(); err != nil {
		return store.ChatSettings{}, err
	}
	return g.Store.ChatSettingsOf(ctx, user, id)
}

// Hide is that of the store.
func (g *gate) Hide(ctx context.Context, user chat.UserID, id chat.ID, seqs ...chat.Seq) error {
	if err := g.err(); err != nil {
		return err
	}
	return g.Store.Hide(ctx, user, id, seqs...)
}

// Hidden is that of the store.
func (g *gate) Hidden(ctx context.Context, user chat.UserID, id chat.ID, from, to chat.Seq) ([]chat.Seq, error) {
	if err := g.err(); err != nil {
		return nil, err
	}
	return g.Store.Hidden(ctx, user, id, from, to)
}

// Block is that of the store.
func (g *gate) Block(ctx context.Context, by, user chat.UserID) error {
	if err := g.err(); err != nil {
		return err
	}
	return g.Store.Block(ctx, by, user)
}

// Unblock is that of the store.
func (g *gate) Unblock(ctx context.Context, by, user chat.UserID) error {
	if err := g.err(); err != nil {
		return err
	}
	return g.Store.Unblock(ctx, by, user)
}

// Blocks is that of the store.
func (g *gate) Blocks(ctx context.Context, by chat.UserID) ([]chat.UserID, error) {
	if err := g.err(); err != nil {
		return nil, err
	}
	return g.Store.Blocks(ctx, by)
}

// IsBlocked is that of the store.
func (g *gate) IsBlocked(ctx context.Context, by, user chat.UserID) (bool, error) {
	if err := g.err(); err != nil {
		return false, err
	}
	return g.Store.IsBlocked(ctx, by, user)
}

// Marks is that of the store.
func (g *gate) Marks(ctx context.Context, id chat.ID, from, to chat.Seq) ([]store.Mark, error) {
	if err := g.err(); err != nil {
		return nil, err
	}
	return g.Store.Marks(ctx, id, from, to)
}

// Mentions is that of the store.
func (g *gate) Mentions(ctx context.Context, user chat.UserID, id chat.ID, after chat.Seq, limit int) ([]chat.Seq, error) {
	if err := g.err(); err != nil {
		return nil, err
	}
	return g.Store.Mentions(ctx, user, id, after, limit)
}

// SentSeqs is that of the store.
func (g *gate) SentSeqs(ctx context.Context, id chat.ID, sender chat.UserID, after chat.Seq, limit int) ([]chat.Seq, error) {
	if err := g.err(); err != nil {
		return nil, err
	}
	return g.Store.SentSeqs(ctx, id, sender, after, limit)
}

// EverIn is that of the store.
func (g *gate) EverIn(ctx context.Context, user chat.UserID) ([]chat.ID, error) {
	if err := g.err(); err != nil {
		return nil, err
	}
	return g.Store.EverIn(ctx, user)
}
