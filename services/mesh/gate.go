package mesh

import (
	"context"
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
)

// CreateUser is that of the store.
func (g *gate) CreateUser(ctx context.Context, u store.User) error {
	if err := g.err(); err != nil {
		return err
	}
	return g.Store.CreateUser(ctx, u)
}

// UserByName is that of the store.
func (g *gate) UserByName(ctx context.Context, name string) (store.User, error) {
	if err := g.err(); err != nil {
		return store.User{}, err
	}
	return g.Store.UserByName(ctx, name)
}

// Users is that of the store.
func (g *gate) Users(ctx context.Context, ids ...chat.UserID) ([]store.User, error) {
	if err := g.err(); err != nil {
		return nil, err
	}
	return g.Store.Users(ctx, ids...)
}

// CreateSession is that of the store.
func (g *gate) CreateSession(ctx context.Context, s store.Session) error {
	if err := g.err(); err != nil {
		return err
	}
	return g.Store.CreateSession(ctx, s)
}

// Session is that of the store.
func (g *gate) Session(ctx context.Context, user chat.UserID, id string) (store.Session, error) {
	if err := g.err(); err != nil {
		return store.Session{}, err
	}
	return g.Store.Session(ctx, user, id)
}

// RotateSession is that of the store.
func (g *gate) RotateSession(ctx context.Context, user chat.UserID, id string, old, next [32]byte, expires time.Time) error {
	if err := g.err(); err != nil {
		return err
	}
	return g.Store.RotateSession(ctx, user, id, old, next, expires)
}

// DeleteSession is that of the store.
func (g *gate) DeleteSession(ctx context.Context, user chat.UserID, id string) error {
	if err := g.err(); err != nil {
		return err
	}
	return g.Store.DeleteSession(ctx, user, id)
}

// Write is that of the store.
func (g *gate) Write(ctx context.Context, b store.Batch) error {
	if err := g.err(); err != nil {
		return err
	}
	return g.Store.Write(ctx, b)
}

// Link is that of the store.
func (g *gate) Link(ctx context.Context, id chat.ID, seq chat.Seq, users ...chat.UserID) error {
	if err := g.err(); err != nil {
		return err
	}
	return g.Store.Link(ctx, id, seq, users...)
}

// Page is that of the store.
func (g *gate) Page(ctx context.Context, id chat.ID, r store.Range) ([]store.Item, error) {
	if err := g.err(); err != nil {
		return nil, err
	}
	return g.Store.Page(ctx, id, r)
}

// Find is that of the store.
func (g *gate) Find(ctx context.Context, id chat.ID, sender chat.UserID, client chat.ClientID) (store.Found, error) {
	if err := g.err(); err != nil {
		return store.Found{}, err
	}
	return g.Store.Find(ctx, id, sender, client)
}

// Sent is that of the store.
func (g *gate) Sent(ctx context.Context, id chat.ID, sender chat.UserID, limit int) ([]chat.ClientID, error) {
	if err := g.err(); err != nil {
		return nil, err
	}
	return g.Store.Sent(ctx, id, sender, limit)
}

// Head is that of the store.
func (g *gate) Head(ctx context.Context, id chat.ID) (chat.Seq, uint64, error) {
	if err := g.err(); err != nil {
		return 0, 0, err
	}
	return g.Store.Head(ctx, id)
}

// Record is that of the store.
func (g *gate) Record(ctx context.Context, id chat.ID) (store.Record, error) {
	if err := g.err(); err != nil {
		return store.Record{}, err
	}
	return g.Store.Record(ctx, id)
}

// Cursor is that of the store.
func (g *gate) Cursor(ctx context.Context, id chat.ID, user chat.UserID) (store.Cursor, error) {
	if err := g.err(); err != nil {
		return store.Cursor{}, err
	}
	return g.Store.Cursor(ctx, id, user)
}

// Chats is that of the store.
func (g *gate) Chats(ctx context.Context, after chat.ID, limit int) ([]chat.ID, error) {
	if err := g.err(); err != nil {
		return nil, err
	}
	return g.Store.Chats(ctx, after, limit)
}

// ChatsOf is that of the store.
func (g *gate) ChatsOf(ctx context.Context, user chat.UserID) ([]store.UserChat, error) {
	if err := g.err(); err != nil {
		return nil, err
	}
	return g.Store.ChatsOf(ctx, user)
}
