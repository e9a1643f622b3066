package api

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// base32 in the alphabet that keeps the order of the bytes, so that ids sort by the time they were made.
var idEncoding = base32.HexEncoding.WithPadding(base32.NoPadding)

func encodeID(b [16]byte) string { return strings.ToLower(idEncoding.EncodeToString(b[:])) }

// newID is a UUIDv7 as 26 of [0-9a-v].
func newID() (string, error) {
	u, err := uuid.NewV7()
	if err != nil {
		return "", fmt.Errorf("api: new id: %w", err)
	}
	return encodeID(u), nil
}

// NewUserID returns the id of a new person.
func NewUserID() (chat.UserID, error) {
	id, err := newID()
	return chat.UserID(id), err
}

// NewGroupID returns the id of a new group.
func NewGroupID() (chat.ID, error) {
	id, err := newID()
	return chat.ID("g" + id), err
}

// DirectID is the id of the direct chat of two people, whichever is named first: whoever makes the chat makes it in the same
// log, so that of all who try at the same time one wins.
func DirectID(a, b chat.UserID) chat.ID {
	if b < a {
		a, b = b, a
	}
	sum := sha256.Sum256([]byte(string(a) + "." + string(b))) // no id has a dot
	return chat.ID("d" + encodeID([16]byte(sum[:16])))
}

// isDirect tells whether an id made here is that of a direct chat.
func isDirect(id chat.ID) bool { return strings.HasPrefix(string(id), "d") }
