package api

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
)

// errFault is what a store says that is down.
var errFault = errors.New("injected fault")

// faulty is a store that can be down, in all or for links.
type faulty struct {
	store.Store
	down, noLinks, noDeletes atomic.Bool
	links                    atomic.Int64
}

func (f *faulty) err() error {
	if f.down.Load() {
		return errFault
	}
	return nil
}

func (f *faulty) CreateUser(ctx context.Context, u store.User) error {
	return unless(f.err(), func() error { return f.Store.CreateUser(ctx, u) })
}

func (f *faulty) UserByName(ctx context.Context, name string) (store.User, error) {
	if err := f.err(); err != nil {
		return store.User{}, err
	}
	return f.Store.UserByName(ctx, name)
}

func (f *faulty) Users(ctx context.Context, ids ...chat.UserID) ([]store.User, error) {
	if err := f.err(); err != nil {
		return nil, err
	}
	return f.Store.Users(ctx, ids...)
}

func (f *faulty) RotateSession(ctx context.Context, u chat.UserID, id string, old, next [32]byte, expires time.Time) error {
	return unless(f.err(), func() error { return f.Store.RotateSession(ctx, u, id, old, next, expires) })
}

func (f *faulty) DeleteSession(ctx context.Context, u chat.UserID, id string) error {
	if f.noDeletes.Load() {
		return errFault
	}
	return unless(f.err(), func() error { return f.Store.DeleteSession(ctx, u, id) })
}

func (f *faulty) Link(ctx context.Context, id chat.ID, seq chat.Seq, users ...chat.UserID) error {
	f.links.Add(1)
	if f.noLinks.Load() {
		return errFault
	}
	return unless(f.err(), func() error { return f.Store.Link(ctx, id, seq, users...) })
}

func (f *faulty) Page(ctx context.Context, id chat.ID, r store.Range) ([]store.Item, error) {
	if err := f.err(); err != nil {
		return nil, err
	}
	return f.Store.Page(ctx, id, r)
}

func (f *faulty) Find(ctx context.Context, id chat.ID, u chat.UserID, c chat.ClientID) (store.Found, error) {
	if err := f.err(); err != nil {
		return store.Found{}, err
	}
	return f.Store.Find(ctx, id, u, c)
}

func (f *faulty) Sent(ctx context.Context, id chat.ID, u chat.UserID, limit int) ([]chat.ClientID, error) {
	if err := f.err(); err != nil {
		return nil, err
	}
	return f.Store.Sent(ctx, id, u, limit)
}

func (f *faulty) Head(ctx context.Context, id chat.ID) (chat.Seq, uint64, error) {
	if err := f.err(); err != nil {
		return 0, 0, err
	}
	return f.Store.Head(ctx, id)
}

func (f *faulty) Record(ctx context.Context, id chat.ID) (store.Record, error) {
	if err := f.err(); err != nil {
		return store.Record{}, err
	}
	return f.Store.Record(ctx, id)
}

func (f *faulty) Cursor(ctx context.Context, id chat.ID, u chat.UserID) (store.Cursor, error) {
	if err := f.err(); err != nil {
		return store.Cursor{}, err
	}
	return f.Store.Cursor(ctx, id, u)
}

func (f *faulty) Marks(ctx context.Context, id chat.ID, from, to chat.Seq) ([]store.Mark, error) {
	if err := f.err(); err != nil {
		return nil, err
	}
	return f.Store.Marks(ctx, id, from, to)
}

func (f *faulty) Mentions(ctx context.Context, u chat.UserID, id chat.ID, after chat.Seq, limit int) ([]chat.Seq, error) {
	if err := f.err(); err != nil {
		return nil, err
	}
	return f.Store.Mentions(ctx, u, id, after, limit)
}

func (f *faulty) Hidden(ctx context.Context, u chat.UserID, id chat.ID, from, to chat.Seq) ([]chat.Seq, error) {
	if err := f.err(); err != nil {
		return nil, err
	}
	return f.Store.Hidden(ctx, u, id, from, to)
}

func (f *faulty) Write(ctx context.Context, b store.Batch) error {
	return unless(f.err(), func() error { return f.Store.Write(ctx, b) })
}

func (f *faulty) ChatsOf(ctx context.Context, u chat.UserID) ([]store.UserChat, error) {
	if err := f.err(); err != nil {
		return nil, err
	}
	return f.Store.ChatsOf(ctx, u)
}

func unless(err error, f func() error) error {
	if err != nil {
		return err
	}
	return f()
}
