package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
)

// The refusals that must be the same, byte for byte, whatever their cause: whoever compares them learns nothing.
var (
	errNoChat      = chat.Errorf(chat.NotFound, "no such chat")
	errNoUser      = chat.Errorf(chat.NotFound, "no such user")
	errNoRoute     = chat.Errorf(chat.NotFound, "there is nothing here")
	errCredentials = chat.Errorf(chat.InvalidCredentials, "user name or password is wrong")
	errRefresh     = chat.Errorf(chat.InvalidToken, "the refresh token is not valid any more")
	errNoToken     = chat.Errorf(chat.Unauthorized, "an access token is required")
	errEnded       = chat.Errorf(chat.Unauthorized, "the session has ended")
)

// unavailable is the refusal for what may be tried again, with its cause for the log.
func unavailable(why string, cause error) error {
	return fmt.Errorf("%w: %w", chat.Retry(chat.Unavailable, time.Second, why), cause)
}

// refusal turns what failed below into what a client may be told; what remains no chat.Error is an internal one.
func refusal(err error) error {
	var known *chat.Error
	switch {
	case err == nil, errors.As(err, &known):
		return err
	case errors.Is(err, bus.ErrDown):
		return unavailable("the broker cannot be reached", err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return unavailable("it took too long", err)
	}
	return err
}

// underChat is the one refusal for a chat that is not there and one that is not the caller's.
func underChat(err error) error {
	if chat.Is(err, chat.NotFound) {
		return errNoChat
	}
	return err
}

// stored is the error of a call to the store: its answers as they are, anything else as Unavailable. The log gets the first
// failure and the first success after it.
func (s *Server) stored(err error) error {
	var known *chat.Error
	switch {
	case err == nil, errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrTaken), errors.Is(err, store.ErrConflict),
		errors.As(err, &known):
		if s.storeAway.Load() && s.storeAway.CompareAndSwap(true, false) {
			s.logger.Info("store answers again")
		}
		return err
	case errors.Is(err, context.Canceled): // nobody waits for the answer
	case s.storeAway.CompareAndSwap(false, true):
		s.logger.Warn("store does not answer", "error", err)
	}
	return unavailable("the store cannot be used at the moment", err)
}

// statuses is the HTTP status of each code.
var statuses = map[chat.Code]int{
	chat.BadRequest:         http.StatusBadRequest,
	chat.Unauthorized:       http.StatusUnauthorized,
	chat.InvalidToken:       http.StatusUnauthorized,
	chat.InvalidCredentials: http.StatusUnauthorized,
	chat.Forbidden:          http.StatusForbidden,
	chat.NotFound:           http.StatusNotFound,
	chat.Conflict:           http.StatusConflict,
	chat.UsernameTaken:      http.StatusConflict,
	chat.TooLarge:           http.StatusRequestEntityTooLarge,
	chat.TooLong:            http.StatusUnprocessableEntity,
	chat.TooManyMembers:     http.StatusUnprocessableEntity,
	chat.RateLimited:        http.StatusTooManyRequests,
	chat.Internal:           http.StatusInternalServerError,
	chat.Unavailable:        http.StatusServiceUnavailable,
}

// problem is a refusal as RFC 9457 has it, with the code that the contract promises.
type problem struct {
	Type         string    `json:"type"`
	Title        string    `json:"title"`
	Status       int       `json:"status"`
	Detail       string    `json:"detail"`
	Code         chat.Code `json:"code"`
	RetryAfterMS int64     `json:"retry_after_ms,omitempty"`
}

// problemOf returns the document for a refusal.
func problemOf(e *chat.Error) problem {
	status, ok := statuses[e.Code]
	if !ok {
		status = http.StatusInternalServerError
	}
	return problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: e.Message, Code: e.Code,
		RetryAfterMS: e.RetryAfter.Milliseconds()}
}
