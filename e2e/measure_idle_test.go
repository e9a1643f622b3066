//go:build measure

package e2e

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chatmesh/chatmesh/e2e/program"
	"github.com/chatmesh/chatmesh/pkg/auth"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/subject"
)

var (
	idle    = flag.Int("idle", 1000, "how many idle connections TestMeasureIdleConnections makes")
	sharing = flag.Int("people", 0, "how many people share the idle connections; 0 is one each")
	storm   = flag.Int("storm", 2000, "how many connections TestMeasureConnectStorm makes")
	dialing = flag.Int("dialing", 128, "how many of them are made at once")
	heap    = flag.String("heap", "", "where TestMeasureIdleConnections leaves a heap profile; empty is none")
	cpu     = flag.String("cpu", "", "where TestMeasureConnectStorm leaves a CPU profile; empty is none")
)

// minter makes tokens for people who have no account: to an edge that makes no difference, and no password is hashed.
func minter(t *testing.T, srv *program.Program) func(user string) string {
	t.Helper()
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := auth.NewSigner(key, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(srv.NATS)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue(t.Context(), subject.Keys)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Put(t.Context(), signer.KeyID(), []byte(base64.StdEncoding.EncodeToString(public))); err != nil {
		t.Fatal(err)
	}
	return func(user string) string {
		token, _, err := signer.Sign(chat.UserID(user), "s"+user)
		if err != nil {
			t.Error(err)
		}
		return token
	}
}

// hosted is a connection that only waits.
func hosted(base, token string) (*websocket.Conn, error) {
	d := websocket.Dialer{Subprotocols: []string{"chatmesh.v1"}, HandshakeTimeout: time.Minute, ReadBufferSize: 512, WriteBufferPool: &writeBuffers}
	ws, _, err := d.Dial("ws"+strings.TrimPrefix(base, "http")+"/v1/ws", nil)
	if err != nil {
		return nil, err
	}
	if err := ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, `{"type":"hello","token":%q}`, token)); err != nil {
		return nil, err
	}
	var f struct{ Type string }
	_, data, err := ws.ReadMessage()
	if err == nil {
		err = json.Unmarshal(data, &f)
	}
	if err == nil && f.Type != "welcome" {
		err = fmt.Errorf("got %s; want welcome", data)
	}
	return ws, err
}

var writeBuffers sync.Pool

// userID is like those that the server makes: 26 letters and digits.
func userID(i int) string { return fmt.Sprintf("01J%023d", i) }

// connectAll makes n connections, so many at once, and returns how many of them are open yet.
func connectAll(t *testing.T, srv *program.Program, n, people, parallel int) (open func() int) {
	t.Helper()
	mint := minter(t, srv)
	tokens := make([]string, n)
	inParallel(n, func(i int) { tokens[i] = mint(userID(i % people)) })
	var alive atomic.Int64
	var reading sync.WaitGroup
	all := make([]*websocket.Conn, n)
	began := time.Now()
	var next atomic.Int64
	inParallel(parallel, func(int) {
		for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
			ws, err := hosted(srv.Client, tokens[i])
			if err != nil {
				t.Errorf("connection %d: %v", i, err)
				return
			}
			all[i] = ws
			alive.Add(1)
			reading.Go(func() {
				defer alive.Add(-1)
				for {
					if _, _, err := ws.ReadMessage(); err != nil {
						return
					}
				}
			})
		}
	})
	t.Logf("%d connections welcomed after %v", alive.Load(), time.Since(began).Round(time.Millisecond))
	t.Cleanup(func() {
		for _, ws := range all {
			if ws != nil {
				ws.Close()
			}
		}
		reading.Wait()
	})
	return func() int { return int(alive.Load()) }
}

// profile leaves a profile of the program in a file.
func profile(t *testing.T, srv *program.Program, what, file string) {
	t.Helper()
	res, err := http.Get(srv.Admin + "/debug/pprof/" + what)
	if err != nil {
		t.Error(err)
		return
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err == nil {
		err = os.WriteFile(file, data, 0o600)
	}
	if err != nil {
		t.Error(err)
	}
}

func TestMeasureIdleConnections(t *testing.T) {
	args := []string{"--max-connections", fmt.Sprint(*idle + 100)}
	if *heap != "" {
		args = append(args, "--pprof")
	}
	srv := program.Start(t, program.Config{NoRace: true, Data: t.TempDir(), Args: args, Env: []string{"GODEBUG=memprofilerate=1"}[:min(1, len(*heap))]})
	settled := func() int { // the least of some seconds
		least := pss(t, srv.PID())
		for end := time.Now().Add(12 * time.Second); time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
			least = min(least, pss(t, srv.PID()))
		}
		return least
	}
	if *heap != "" {
		profile(t, srv, "heap?gc=1", *heap+".before")
	}
	before := settled()
	people := *sharing
	if people == 0 {
		people = *idle
	}
	open := connectAll(t, srv, *idle, people, 8)
	after := settled()
	if *heap != "" {
		profile(t, srv, "heap?gc=1", *heap)
		profile(t, srv, "goroutine?debug=1", *heap+".goroutines")
	}
	if open() != *idle {
		t.Fatalf("%d of %d connections are open", open(), *idle)
	}
	t.Logf("PSS: %d KiB before, %d KiB with %d idle connections of %d people: %.2f KiB each", before, after, *idle, people,
		float64(after-before)/float64(*idle))
	time.Sleep(*linger)
	t.Logf("and %v later: %.2f KiB each", *linger, float64(settled()-before)/float64(*idle))
}

var linger = flag.Duration("later", 0, "after which further time TestMeasureIdleConnections looks again")

func TestMeasureConnectStorm(t *testing.T) {
	args := []string{"--max-connections", fmt.Sprint(*storm + 100)}
	if *cpu != "" {
		args = append(args, "--pprof")
	}
	srv := program.Start(t, program.Config{NoRace: true, Data: t.TempDir(), Args: args})
	var profiling sync.WaitGroup
	if *cpu != "" {
		profiling.Go(func() { profile(t, srv, "profile?seconds=8", *cpu) })
	}
	connectAll(t, srv, *storm, *storm, *dialing)
	profiling.Wait()
}
