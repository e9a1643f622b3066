package client

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/gorilla/websocket"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

var (
	// ErrClosed says that Close was called.
	ErrClosed = errors.New("client: closed")
	// ErrOffline says that there is no connection at this moment; the Conn is looking for one.
	ErrOffline = errors.New("client: offline")

	// errLinkOver ends a request whose socket is gone: whether the server handled it is unknown.
	errLinkOver = errors.New("client: the socket closed before the answer")
)

// The close codes that the contract gives a meaning of its own.
const (
	// CloseDraining says that the edge is going away.
	CloseDraining = 3000
	// CloseTooSlow says that the edge gave up on a reader that did not keep pace.
	CloseTooSlow = 3001
	// CloseBadToken says that the access token was not accepted.
	CloseBadToken = 3500
	// CloseSessionEnded says that the session was ended, here or on another device.
	CloseSessionEnded = 3501
	// CloseNotProtocol says that what was sent is not the protocol.
	CloseNotProtocol = 3502
)

// CloseError says with which code the server closed the connection for good.
type CloseError struct {
	Code   int
	Reason string
}

// Error returns the code and the reason.
func (e *CloseError) Error() string {
	return fmt.Sprintf("client: the server closed the connection: %d %s", e.Code, e.Reason)
}

// reconnects tells whether a connection that closed with code is to be made again. The ranges 3000–3499 and 3500–3999 are
// the contract's; of the registered codes, those that blame our frames would only come again.
func reconnects(code int) bool {
	switch {
	case code >= 3000 && code < 3500:
		return true
	case code >= 3500 && code < 4000:
		return false
	}
	switch code {
	case websocket.CloseProtocolError, websocket.CloseUnsupportedData, websocket.CloseInvalidFramePayloadData,
		websocket.ClosePolicyViolation, websocket.CloseMessageTooBig, websocket.CloseMandatoryExtension:
		return false
	}
	return true
}

// final returns the error that ends a Conn for good, or nil when err is a reason to connect again.
func final(err error) error {
	var ce *websocket.CloseError
	if errors.As(err, &ce) {
		if reconnects(ce.Code) {
			return nil
		}
		return &CloseError{Code: ce.Code, Reason: ce.Text}
	}
	for _, code := range []chat.Code{chat.Unauthorized, chat.InvalidToken, chat.Forbidden, chat.NotFound, chat.BadRequest} {
		if chat.Is(err, code) {
			return err
		}
	}
	return nil
}

// transient tells whether the server may accept the same request a little later.
func transient(err error) bool {
	return chat.Is(err, chat.Unavailable) || chat.Is(err, chat.RateLimited) || chat.Is(err, chat.Internal)
}

// codeOf is the code of an HTTP answer that did not name one, as from a proxy in between.
func codeOf(status int) chat.Code {
	switch status {
	case http.StatusUnauthorized:
		return chat.Unauthorized
	case http.StatusForbidden:
		return chat.Forbidden
	case http.StatusNotFound:
		return chat.NotFound
	case http.StatusConflict:
		return chat.Conflict
	case http.StatusRequestEntityTooLarge:
		return chat.TooLarge
	case http.StatusTooManyRequests:
		return chat.RateLimited
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return chat.Unavailable
	}
	if status >= 500 {
		return chat.Internal
	}
	return chat.BadRequest
}
