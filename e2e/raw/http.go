// Package raw speaks the outside contract of chatmesh with nothing between the test and the wire: calls with bodies as
// given, frames as sent. It promises to hide nothing: no retry, no reordering, no renewal of tokens.
package raw

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"
)

// transport is shared by all calls, so that many people do not mean many idle connections.
var transport = &http.Transport{MaxIdleConnsPerHost: 32, IdleConnTimeout: 10 * time.Second}

var httpClient = &http.Client{Transport: transport, Timeout: 2 * Patience,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

// CloseIdle closes the idle connections of all calls.
func CloseIdle() { transport.CloseIdleConnections() }

// Body is a body that is sent as it is; any other value is encoded as JSON.
type Body string

// Answer is what the server answered to a call.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Problem is a refusal as RFC 9457 has it, with the contract's code.
type Problem struct {
	Type         string `json:"type"`
	Title        string `json:"title"`
	Status       int    `json:"status"`
	Detail       string `json:"detail"`
	Code         string `json:"code"`
	RetryAfterMS int64  `json:"retry_after_ms"`
}

// Call makes one HTTP call. path begins with a slash and is sent as it is; an empty token sends none.
func Call(ctx context.Context, base, token, method, path string, body any) (Answer, error) {
	var r io.Reader
	switch b := body.(type) {
	case nil:
	case Body:
		r = strings.NewReader(string(b))
	default:
		j, err := json.Marshal(b)
		if err != nil {
			return Answer{}, err
		}
		r = bytes.NewReader(j)
	}
	req, err := http.NewRequestWithContext(ctx, method, base, r)
	if err != nil {
		return Answer{}, err
	}
	target, query, _ := strings.Cut(path, "?")
	req.URL.Opaque = target // as it is: no cleaning, no escaping
	req.URL.RawQuery = query
	if r != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := httpClient.Do(req)
	if err != nil {
		return Answer{}, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return Answer{Status: res.StatusCode, Header: res.Header, Body: b}, err
}

// Into decodes the body into v.
func (a Answer) Into(v any) error {
	if err := json.Unmarshal(a.Body, v); err != nil {
		return fmt.Errorf("raw: %w in %.200q", err, a.Body)
	}
	return nil
}

// Problem reads a refusal. It fails when the answer is none by the contract.
func (a Answer) Problem() (Problem, error) {
	var p Problem
	if kind, _, _ := mime.ParseMediaType(a.Header.Get("Content-Type")); kind != "application/problem+json" {
		return p, fmt.Errorf("raw: content type %q; want application/problem+json (status %d, body %.200q)",
			a.Header.Get("Content-Type"), a.Status, a.Body)
	}
	if err := a.Into(&p); err != nil {
		return p, err
	}
	if p.Code == "" {
		return p, fmt.Errorf("raw: a problem without a code: %.200q", a.Body)
	}
	if p.Status != 0 && p.Status != a.Status {
		return p, fmt.Errorf("raw: a problem with status %d in an answer with %d", p.Status, a.Status)
	}
	return p, nil
}
