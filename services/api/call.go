package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"unicode/utf8"

	"github.com/chatmesh/chatmesh/pkg/auth"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// call is an HTTP request on its way through a handler.
type call struct {
	ctx context.Context
	r   *http.Request
	w   http.ResponseWriter
	// who it comes from; nobody on open routes.
	who auth.Identity
	// address it comes from, as limits count it.
	address string
}

// chat returns the chat of the path. What is no id is no chat.
func (c *call) chat() (chat.ID, error) {
	id, err := chat.ParseID(c.r.PathValue("chat"))
	if err != nil {
		return "", errNoChat
	}
	return id, nil
}

// member returns chat and person of the path.
func (c *call) member() (chat.ID, chat.UserID, error) {
	id, err := c.chat()
	if err != nil {
		return "", "", err
	}
	user, err := chat.ParseUserID(c.r.PathValue("user"))
	if err != nil {
		return "", "", errNoUser
	}
	return id, user, nil
}

// body reads the body of the call into a struct. It fails with TooLarge or BadRequest.
func (c *call) body(into any) error {
	data, err := c.read()
	if err != nil {
		return err
	}
	return decodeObject(data, into)
}

// optionalBody is body for a call that needs none: an empty one changes nothing.
func (c *call) optionalBody(into any) error {
	data, err := c.read()
	if err != nil || len(bytes.TrimSpace(data)) == 0 {
		return err
	}
	return decodeObject(data, into)
}

func (c *call) read() ([]byte, error) {
	data, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, wire.MaxFrame))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, chat.Errorf(chat.TooLarge, "a body has at most %d bytes", wire.MaxFrame)
	case err != nil:
		return nil, chat.Errorf(chat.BadRequest, "the body did not arrive")
	}
	return data, nil
}

// decodeObject reads a JSON object into a struct, whose fields may be missing; other fields are ignored. It fails with
// BadRequest.
func decodeObject(data []byte, into any) error {
	if !utf8.Valid(data) {
		return chat.Errorf(chat.BadRequest, "the body is not UTF-8")
	}
	if trimmed := bytes.TrimLeft(data, " \t\r\n"); len(trimmed) == 0 || trimmed[0] != '{' {
		return chat.Errorf(chat.BadRequest, "the body is not a JSON object")
	}
	err := json.Unmarshal(data, into)
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &wrong) && wrong.Field != "":
		return chat.Errorf(chat.BadRequest, "%s has the wrong type", wrong.Field) // a name of ours
	case err != nil:
		return chat.Errorf(chat.BadRequest, "the body is not JSON as it should be")
	}
	return nil
}

// query returns the parameters of the call. It fails with BadRequest.
func (c *call) query() (url.Values, error) {
	q, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil {
		return nil, chat.Errorf(chat.BadRequest, "the query cannot be read")
	}
	return q, nil
}

// number returns a parameter that is an integer from 0 on, and whether it is there. It fails with BadRequest.
func number(q url.Values, name string) (n uint64, there bool, err error) {
	if !q.Has(name) {
		return 0, false, nil
	}
	// What does not fit a signed integer is beyond every seq there will be, and would not survive adding one.
	n, err = strconv.ParseUint(q.Get(name), 10, 64)
	if errors.Is(err, strconv.ErrRange) || err == nil && n > math.MaxInt64 {
		n, err = math.MaxInt64, nil
	}
	if err != nil {
		return 0, true, chat.Errorf(chat.BadRequest, "%s is not an integer from 0 on", name)
	}
	return n, true, nil
}

// limitOf returns the parameter limit: byDefault where it is missing, at most most. It fails with BadRequest.
func limitOf(q url.Values, byDefault, most int) (int, error) {
	n, there, err := number(q, "limit")
	switch {
	case err != nil:
		return 0, err
	case !there:
		return byDefault, nil
	case n == 0:
		return 0, chat.Errorf(chat.BadRequest, "limit is at least 1")
	}
	return int(min(n, uint64(most))), nil
}

// maxAsked is how many people one call may ask for.
const maxAsked = 100

// users returns the people whom a parameter names. It fails with BadRequest.
func users(q url.Values, name string) ([]chat.UserID, error) {
	all := q[name]
	if len(all) > maxAsked {
		return nil, chat.Errorf(chat.BadRequest, "at most %d people are asked for at once", maxAsked)
	}
	return parseUsers(all)
}

// parseUsers parses ids and drops doubles, keeping the order. It fails with BadRequest.
func parseUsers(all []string) ([]chat.UserID, error) {
	out := make([]chat.UserID, 0, len(all))
	seen := make(map[chat.UserID]bool, len(all))
	for _, s := range all {
		u, err := chat.ParseUserID(s)
		if err != nil {
			return nil, err
		}
		if !seen[u] {
			seen[u] = true
			out = append(out, u)
		}
	}
	return out, nil
}
