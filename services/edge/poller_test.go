package edge

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/docs"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/doctest"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
)

// calls is docs/openapi.yaml.
var calls = sync.OnceValue(func() *doctest.HTTP { return doctest.ParseHTTP(parsing{}, docs.OpenAPI()) })

// poller is a client that polls, at whichever edge it is told to, and keeps what it was told.
type poller struct {
	t      testing.TB
	http   *http.Client
	token  string
	cursor string
	frames []map[string]any
}

func (r *rig) poller(user chat.UserID) *poller {
	r.t.Helper()
	p := &poller{t: r.t, http: &http.Client{Transport: &http.Transport{}}, token: r.token(user, "s-"+string(user))}
	r.t.Cleanup(p.http.CloseIdleConnections)
	return p
}

// base is where an edge answers.
func (r *rig) base() string { return strings.TrimSuffix("http"+strings.TrimPrefix(r.url, "ws"), "/ws") }

// get asks an edge and returns status and body. Whatever it is must stand in docs/openapi.yaml.
func (p *poller) get(r *rig, path string) (int, []byte) {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, r.base()+path, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	if p.token != "" {
		req.Header.Set("Authorization", "Bearer "+p.token)
	}
	res, err := p.http.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := calls().CheckAnswer(req, res.StatusCode, res.Header, body); err != nil {
		p.t.Errorf("%s: %.300s: %v", path, body, err)
	}
	return res.StatusCode, body
}

// poll polls once, with the cursor that it has, and returns what came.
func (p *poller) poll(r *rig, wait string) []map[string]any {
	p.t.Helper()
	status, body := p.get(r, "/poll?wait="+wait+"&cursor="+url.QueryEscape(p.cursor))
	if status != http.StatusOK {
		p.t.Fatalf("got %d %s; want an answer", status, body)
	}
	var a struct {
		Cursor string            `json:"cursor"`
		Events []json.RawMessage `json:"events"`
	}
	if err := json.Unmarshal(body, &a); err != nil || a.Cursor == "" || a.Events == nil {
		p.t.Fatalf("got %s, %v; want a cursor and events", body, err)
	}
	p.cursor = a.Cursor
	var got []map[string]any
	for _, e := range a.Events {
		got = append(got, checked(p.t, e))
	}
	p.frames = append(p.frames, got...)
	return got
}

// checked is a frame, which must stand in docs/asyncapi.yaml.
func checked(t testing.TB, data []byte) map[string]any {
	t.Helper()
	if _, err := live().Frame("tellClients", data); err != nil {
		t.Errorf("%.300s is not what asyncapi.yaml says: %v", data, err)
	}
	var f map[string]any
	if err := json.Unmarshal(data, &f); err != nil {
		t.Fatal(err)
	}
	return f
}

// seqsIn returns the seqs of a chat's events among frames.
func seqsIn(frames []map[string]any, id chat.ID) []chat.Seq {
	var out []chat.Seq
	for _, f := range frames {
		if f["chat"] == string(id) && (f["type"] == "message" || f["type"] == "chat") {
			out = append(out, chat.Seq(f["seq"].(float64)))
		}
	}
	return out
}

// typesOf returns the types of frames, and of resyncs the chats.
func typesOf(frames []map[string]any) string {
	var out []string
	for _, f := range frames {
		k := fmt.Sprint(f["type"])
		if k == "resync" && f["chat"] != nil {
			k += ":" + fmt.Sprint(f["chat"])
		}
		out = append(out, k)
	}
	return strings.Join(out, " ")
}

// from to to, both included.
func span(from, to chat.Seq) []chat.Seq {
	var out []chat.Seq
	for s := from; s <= to; s++ {
		out = append(out, s)
	}
	return out
}

// stream is a client that reads server-sent events.
type stream struct {
	t      testing.TB
	cancel context.CancelFunc
	res    *http.Response
	lines  *bufio.Reader
	// last is the last id, frames what came.
	last   string
	frames []map[string]any
}

// listen opens a stream with the last id that the client has.
func (p *poller) listen(r *rig, last string) *stream {
	p.t.Helper()
	ctx, cancel := context.WithCancel(p.t.Context())
	p.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.base()+"/events", nil)
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+p.token)
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	res, err := p.http.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = res.Body.Close() })
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/event-stream" {
		body, _ := io.ReadAll(res.Body)
		p.t.Fatalf("got %d %s %s; want a stream", res.StatusCode, res.Header.Get("Content-Type"), body)
	}
	return &stream{t: p.t, cancel: cancel, res: res, lines: bufio.NewReader(res.Body), last: last}
}

// next reads the next frame; false is the end.
func (s *stream) next() (map[string]any, bool) {
	s.t.Helper()
	var data []byte
	for {
		line, err := s.lines.ReadBytes('\n')
		if err != nil {
			return nil, false
		}
		line = bytes.TrimSuffix(line, []byte("\n"))
		switch name, value, _ := bytes.Cut(line, []byte(": ")); {
		case len(line) == 0 && data != nil:
			f := checked(s.t, data)
			s.frames = append(s.frames, f)
			return f, true
		case len(line) == 0, line[0] == ':':
		case string(name) == "id":
			s.last = string(value)
		case string(name) == "data":
			data = value
		}
	}
}

// until reads until a chat's event at seq has come.
func (s *stream) until(id chat.ID, seq chat.Seq) {
	s.t.Helper()
	watch := time.AfterFunc(meshtest.Patience, s.cancel)
	defer watch.Stop()
	for {
		f, ok := s.next()
		if !ok {
			s.t.Fatalf("the stream ended before %s %d; it had %s", id, seq, typesOf(s.frames))
		}
		if f["chat"] == string(id) && f["seq"] == float64(seq) {
			return
		}
	}
}
