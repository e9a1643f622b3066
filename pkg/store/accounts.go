package store

import (
	"context"
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// User is a person's account.
type User struct {
	ID           chat.UserID `json:"id"`
	Name         string      `json:"username"`
	DisplayName  string      `json:"display_name"`
	Email        string      `json:"email,omitempty"`
	PasswordHash string      `json:"password_hash"`
	CreatedAt    chat.Time   `json:"created_at"`
	// Status and Picture are what the person shows of themselves; empty is none.
	Status  string `json:"status,omitempty"`
	Picture string `json:"picture,omitempty"`
	// Deleted is when the person had the account deleted; zero says that it lives. From then on nobody logs in to it. All but ID,
	// Name, CreatedAt and Deleted is empty once EndDeletion was called.
	Deleted chat.Time `json:"deleted,omitzero"`
}

// Profile is what a person changes about themselves. What is nil stays as it is.
type Profile struct {
	DisplayName, Status, Picture *string
}

// Apply changes what u shows.
func (p Profile) Apply(u *User) {
	for _, f := range []struct{ to, from *string }{{&u.DisplayName, p.DisplayName}, {&u.Status, p.Status}, {&u.Picture, p.Picture}} {
		if f.from != nil {
			*f.to = *f.from
		}
	}
}

// ReplacePassword replaces the hash of the password if it still is old, or is next already. It fails with ErrNotFound where the account is
// deleted, else with ErrConflict.
func (u *User) ReplacePassword(old, next string) error {
	switch {
	case !u.Deleted.IsZero():
		return ErrNotFound
	case u.PasswordHash != old && u.PasswordHash != next:
		return ErrConflict
	}
	u.PasswordHash = next
	return nil
}

// CheckNew fails with BadRequest where a person who is new has what only somebody who is there can have.
func (u *User) CheckNew() error {
	if u.Status != "" || u.Picture != "" || !u.Deleted.IsZero() {
		return chat.Errorf(chat.BadRequest, "a new person has no status, no picture and was not deleted")
	}
	return nil
}

// Wipe takes away what an account that is deleted does not keep.
func (u *User) Wipe() {
	*u = User{ID: u.ID, Name: u.Name, CreatedAt: u.CreatedAt, Deleted: u.Deleted}
}

// Session is one log-in of a person. Only a digest of its refresh token is kept.
type Session struct {
	User      chat.UserID `json:"user"`
	ID        string      `json:"id"`
	Refresh   [32]byte    `json:"refresh"`
	CreatedAt chat.Time   `json:"created_at"`
	ExpiresAt chat.Time   `json:"expires_at"`
	// Device is what the person calls, or the client says of, the device; empty is unknown.
	Device string `json:"device,omitempty"`
	// LastSeen is when the tokens were last renewed, by the clock of the store's process; zero is never, then it was CreatedAt.
	LastSeen chat.Time `json:"last_seen,omitzero"`
}

// Accounts keeps people and their sessions. All of it is linearizable.
type Accounts interface {
	// CreateUser keeps a new person. It fails with ErrTaken when the name is in use; of concurrent calls with one name
	// exactly one succeeds. The name of a deleted account stays in use. What only SetProfile sets is empty at first.
	CreateUser(ctx context.Context, u User) error
	// UserByName finds a person by the exact name, deleted ones too. It fails with ErrNotFound.
	UserByName(ctx context.Context, name string) (User, error)
	// Users finds people by id, in any order, deleted ones too; unknown ids are left out.
	Users(ctx context.Context, ids ...chat.UserID) ([]User, error)
	// SetProfile changes what a person shows and returns the account as it is then. It fails with ErrNotFound, also when the
	// account was deleted.
	SetProfile(ctx context.Context, user chat.UserID, p Profile) (User, error)
	// SetPassword replaces the hash of the password if it still is old; where it is next already there is nothing to do. It fails
	// with ErrNotFound, also when the account was deleted, or with ErrConflict when the hash is another: of concurrent calls
	// exactly one succeeds.
	SetPassword(ctx context.Context, user chat.UserID, old, next string) error

	// BeginDeletion sets Deleted, if it is not set yet, and lists the person among those whose deletion is under way. It fails with
	// ErrNotFound. Repeated before EndDeletion it changes nothing, after it neither.
	BeginDeletion(ctx context.Context, user chat.UserID) error
	// Deleting returns people whose deletion is under way and whose id comes behind after, ascending, at most limit; where it
	// returns limit of them there may be more. It may list someone whose BeginDeletion failed, or whose EndDeletion is a moment ago:
	// whoever goes on with a deletion begins with BeginDeletion.
	Deleting(ctx context.Context, after chat.UserID, limit int) ([]chat.UserID, error)
	// EndDeletion forgets all of a person but the id, the name, which nobody else gets, and the times: profile, email, password,
	// sessions, settings, blocks, what was hidden. It fails with ErrNotFound, or with ErrConflict where BeginDeletion was not
	// called. It may be repeated.
	EndDeletion(ctx context.Context, user chat.UserID) error

	// CreateSession keeps a new session.
	CreateSession(ctx context.Context, s Session) error
	// Session returns a session. It fails with ErrNotFound, also when the session has expired.
	Session(ctx context.Context, user chat.UserID, id string) (Session, error)
	// Sessions returns the sessions of a person that have not expired, in any order.
	Sessions(ctx context.Context, user chat.UserID) ([]Session, error)
	// RotateSession replaces the refresh digest if it still is old, and sets a new expiry and LastSeen. It fails with ErrNotFound,
	// or with ErrConflict when the digest is another: of concurrent calls exactly one succeeds.
	RotateSession(ctx context.Context, user chat.UserID, id string, old, next [32]byte, expires time.Time) error
	// DeleteSession forgets a session; one that is not there is no error.
	DeleteSession(ctx context.Context, user chat.UserID, id string) error
	// DeleteSessions forgets all sessions of a person that there are when it is called, but one (empty: none stays), and returns
	// the ids of those it forgot, also those before an error.
	DeleteSessions(ctx context.Context, user chat.UserID, except string) ([]string, error)
}
