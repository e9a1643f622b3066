package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/meshtest/leaks"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leaks.Patient(m)) }

// fake is a server as small as a test needs: accounts that always work, the list of chats it was given, and sockets that
// the test plays.
type fake struct {
	t       *testing.T
	http    *httptest.Server
	sockets chan *side
	expires int64

	mu        sync.Mutex
	chats     []Chat          // guarded by mu
	refreshes int             // guarded by mu
	dead      map[string]bool // guarded by mu; access tokens that are not taken
	best      string          // guarded by mu; the edge that is named, none if empty
	noEdge    bool            // guarded by mu; there is no WebSocket here
	asked     int             // guarded by mu; how often the best edge was asked for
}

// side is the server's side of a socket, past its hello.
type side struct {
	t     *testing.T
	ws    *websocket.Conn
	hello request
}

func newFake(t *testing.T) *fake {
	f := &fake{t: t, sockets: make(chan *side, 16), expires: 3600, dead: map[string]bool{}}
	mux := http.NewServeMux()
	signIn := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.refreshes++
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"user":{"id":"me","username":"me"},"access_token":"access-%d","refresh_token":"refresh-%d",`+
				`"expires_in":%d}`, f.refreshes, f.refreshes, f.expires)
		}
	}
	mux.HandleFunc("POST /v1/sessions", signIn(http.StatusCreated))
	mux.HandleFunc("POST /v1/sessions/refresh", signIn(http.StatusOK))
	mux.HandleFunc("GET /v1/users/me", func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.dead[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")] {
			w.Header().Set("Content-Type", "application/problem+json; charset=utf-8")
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"code":"invalid_token","title":"no","detail":"the token has ended","retry_after_ms":1500}`)
			return
		}
		fmt.Fprint(w, `{"id":"me","username":"me","display_name":"Me"}`)
	})
	mux.HandleFunc("GET /v1/chats", func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		json.NewEncoder(w).Encode(map[string]any{"chats": f.chats})
	})
	mux.HandleFunc("GET /v1/edges", func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.asked++
		if f.best == "" {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		json.NewEncoder(w).Encode(map[string]any{"edges": []any{}, "best": f.best})
	})
	mux.HandleFunc("GET /v1/ws", func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		none := f.noEdge
		f.mu.Unlock()
		if none {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		ws, err := (&websocket.Upgrader{Subprotocols: []string{subprotocol}}).Upgrade(w, r, nil)
		if err != nil {
			return
		}
		s := &side{t: t, ws: ws}
		if s.ws.ReadJSON(&s.hello) == nil {
			f.sockets <- s
		}
	})
	f.http = httptest.NewServer(mux)
	t.Cleanup(f.http.Close)
	return f
}

func (f *fake) login() *Client {
	f.t.Helper()
	c, err := Login(f.t.Context(), f.http.URL, "me", "password")
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(c.Close)
	return c
}

// connect returns a Conn and the server's side of its first socket, welcomed.
func (f *fake) connect(c *Client, cfg ConnConfig) (*Conn, *side) {
	f.t.Helper()
	type made struct {
		conn *Conn
		err  error
	}
	done := make(chan made, 1)
	go func() {
		conn, err := c.Connect(f.t.Context(), cfg)
		done <- made{conn, err}
	}()
	s := f.accept()
	s.write(`{"type":"welcome","user":"me","session":"s"}`)
	m := <-done
	if m.err != nil {
		f.t.Fatal(m.err)
	}
	f.t.Cleanup(func() { m.conn.Close() })
	return m.conn, s
}

// accept returns the next socket.
func (f *fake) accept() *side {
	f.t.Helper()
	select {
	case s := <-f.sockets:
		f.t.Cleanup(func() { s.ws.Close() })
		return s
	case <-time.After(time.Minute):
		f.t.Fatal("no connection within a minute")
		return nil
	}
}

func (s *side) write(frame string) {
	s.t.Helper()
	if err := s.ws.WriteMessage(websocket.TextMessage, []byte(frame)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *side) event(id chat.ID, seq chat.Seq) {
	s.t.Helper()
	s.write(fmt.Sprintf(`{"type":"message","chat":%q,"seq":%d,"n":%d,"sender":"you","client_id":"i%d","text":"t",`+
		`"sent_at":"2026-01-02T03:04:05.678Z"}`, id, seq, seq, seq))
}

// read returns the next request and checks its type.
func (s *side) read(want string) request {
	s.t.Helper()
	var r request
	s.ws.SetReadDeadline(time.Now().Add(time.Minute))
	if err := s.ws.ReadJSON(&r); err != nil {
		s.t.Fatalf("waiting for %s: %v", want, err)
	}
	if r.Type != want {
		s.t.Fatalf("got %+v; want %s", r, want)
	}
	return r
}

func (s *side) close(code int) {
	s.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, "why"), time.Now().Add(time.Second))
	s.ws.Close()
}

// nextEvents returns the seqs of the next events, passing over what is none.
func nextEvents(t *testing.T, c *Conn, n int) (seqs []chat.Seq) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for len(seqs) < n {
		u, err := c.Next(ctx)
		if err != nil {
			t.Fatalf("after %v: %v", seqs, err)
		}
		if u.Event != nil {
			seqs = append(seqs, u.Event.Seq)
		}
	}
	return seqs
}
