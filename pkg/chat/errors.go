package chat

import (
	"errors"
	"fmt"
	"time"
)

// Code is the stable name of an error, the same over WebSocket, HTTP and NATS.
type Code string

// The codes of the outside contract.
const (
	BadRequest         Code = "bad_request"
	Unauthorized       Code = "unauthorized"
	Forbidden          Code = "forbidden"
	NotFound           Code = "not_found"
	TooLong            Code = "too_long"
	TooLarge           Code = "too_large"
	RateLimited        Code = "rate_limited"
	Unavailable        Code = "unavailable"
	Conflict           Code = "conflict"
	TooManyMembers     Code = "too_many_members"
	UsernameTaken      Code = "username_taken"
	InvalidCredentials Code = "invalid_credentials"
	InvalidToken       Code = "invalid_token"
	Internal           Code = "internal"
)

// Codes lists every code, in the order of the contract.
var Codes = []Code{
	BadRequest, Unauthorized, Forbidden, NotFound, TooLong, TooLarge, RateLimited, Unavailable, Conflict,
	TooManyMembers, UsernameTaken, InvalidCredentials, InvalidToken, Internal,
}

// Error is a refusal that may be shown to the client: a code and a safe sentence, never user text or a secret.
type Error struct {
	Code    Code
	Message string
	// RetryAfter is how long to wait before the same request can succeed; zero says nothing.
	RetryAfter time.Duration
}

// Error returns the code and the sentence.
func (e *Error) Error() string { return string(e.Code) + ": " + e.Message }

// Errorf makes an Error. The arguments must be safe to show.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Retry makes an Error that asks the client to come back after d.
func Retry(code Code, d time.Duration, message string) *Error {
	return &Error{Code: code, Message: message, RetryAfter: d}
}

// AsError returns the Error within err. What is none becomes Internal with a sentence that says nothing of the cause:
// log the cause where it happens.
func AsError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Code: Internal, Message: "something went wrong on our side"}
}

// Is tells whether err carries the code.
func Is(err error, code Code) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == code
}
