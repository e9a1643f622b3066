package peer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/chatmesh/chatmesh/bench/driver"
	"github.com/chatmesh/chatmesh/pkg/auth"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/store/pebble"
)

// Chatmesh is the program as it is by default: everything in one process, synced before it is acknowledged.
func Chatmesh() System {
	return System{Name: "chatmesh", Durable: Disk, About: "everything in one process, synced, the default", Start: startChatmesh()}
}

// ChatmeshUnsynced syncs the log now and then.
func ChatmeshUnsynced() System {
	return System{Name: "chatmesh-unsynced", Durable: PageCache, About: "everything in one process, --log-sync interval", Start: startChatmesh("--log-sync", "interval")}
}

// chatmeshProgram is the package of the program.
const chatmeshProgram = "./services/chatmesh"

// accounts is how many people a chatmesh has from its start: a registration hashes a password, which takes 40 ms as it should. They
// stand in the store as registration would have put them there, and have tokens of the program's own key.
const accounts = 21_000

// chatmeshServer is a running program.
type chatmeshServer struct {
	chatmeshClients
	process *process
	client  *http.Client

	mu     sync.Mutex
	people []Person // guarded by mu; nobody has got them yet
}

func startChatmesh(args ...string) func(context.Context, string) (Server, error) {
	b := &build{pkg: chatmeshProgram}
	return func(ctx context.Context, dir string) (Server, error) {
		program, err := b.get(ctx)
		if err != nil {
			return nil, err
		}
		return launchChatmesh(ctx, program, dir, accounts, args...)
	}
}

// launchChatmesh starts the program with so many people. args are settings beside those that are the same for all.
func launchChatmesh(ctx context.Context, program, dir string, people int, args ...string) (_ *chatmeshServer, err error) {
	data := filepath.Join(dir, "data")
	s := &chatmeshServer{client: &http.Client{Timeout: 30 * time.Second}}
	if s.people, err = settle(ctx, data, people); err != nil {
		return nil, err
	}
	args = append([]string{"--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data", data, "--rate-limits", "off", "--log-level", "warn"}, args...)
	if !slices.Contains(args, "--nats-listen") {
		args = append(args, "--nats-listen", "127.0.0.1:0")
	}
	if s.process, err = startProcess(exec.Command(program, args...), dir, "chatmesh"); err != nil {
		return nil, err
	}
	if err = s.ready(ctx); err == nil {
		s.loop, err = driver.NewLoop()
	}
	if err != nil {
		return nil, errors.Join(err, s.process.stop(syscall.SIGTERM))
	}
	return s, nil
}

var httpAddress = regexp.MustCompile(`is ready: .*?https?://([^\s,;()"/]+)\S* .*?https?://([^\s,;()"/]+)`)

// ready waits for the line with the addresses and until the program takes part.
func (s *chatmeshServer) ready(ctx context.Context) error {
	return s.process.until(ctx, "is not ready", func() error {
		m := httpAddress.FindStringSubmatch(s.process.said())
		if m == nil {
			return errors.New("it has not said where it listens")
		}
		s.address = m[1]
		res, err := s.client.Get("http://" + m[2] + "/readyz")
		if err != nil {
			return err
		}
		res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return errors.New(res.Status)
		}
		return nil
	})
}

// settle makes n accounts with a session each in a store that no program has opened yet, and tokens for them.
func settle(ctx context.Context, data string, n int) ([]Person, error) {
	db, err := pebble.Open(filepath.Join(data, "store"), pebble.Options{Log: slog.New(slog.DiscardHandler), NoSync: true})
	if err != nil {
		return nil, err
	}
	defer db.Close()
	key, err := auth.LoadOrCreateKey(filepath.Join(data, "auth.key"))
	if err != nil {
		return nil, err
	}
	signer, err := auth.NewSigner(key, 24*time.Hour)
	if err != nil {
		return nil, err
	}
	people := make([]Person, n)
	return people, Each(ctx, n, 512, func(i int) error {
		u := store.User{ID: chat.UserID(fmt.Sprintf("bench%06d0000000000", i)), Name: fmt.Sprintf("bench%06d", i), DisplayName: fmt.Sprintf("Person %d", i), CreatedAt: chat.Now()}
		session := store.Session{User: u.ID, ID: auth.NewSessionID(), CreatedAt: chat.Now(), ExpiresAt: chat.TimeOf(time.Now().Add(24 * time.Hour))}
		token, _, err := signer.Sign(u.ID, session.ID)
		people[i] = Person{Name: string(u.ID), Secret: token}
		return errors.Join(err, db.CreateUser(ctx, u), db.CreateSession(ctx, session))
	})
}

// PIDs is of Server.
func (s *chatmeshServer) PIDs() []int { return s.process.pids() }

// People is of Server.
func (s *chatmeshServer) People(_ context.Context, n int) ([]Person, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n > len(s.people) {
		return nil, fmt.Errorf("peer: %d people are wanted, %d are left", n, len(s.people))
	}
	got := s.people[:n:n]
	s.people = s.people[n:]
	return got, nil
}

// Direct is of Server.
func (s *chatmeshServer) Direct(ctx context.Context, a, b Person) (to, back string, err error) {
	id, err := s.chat(ctx, a, map[string]any{"kind": "direct", "members": []string{b.Name}})
	return id, id, err
}

// Group is of Server.
func (s *chatmeshServer) Group(ctx context.Context, members []Person) (string, error) {
	var names []string
	for _, m := range members[1:] {
		names = append(names, m.Name)
	}
	return s.chat(ctx, members[0], map[string]any{"kind": "group", "title": "Bench", "members": names})
}

func (s *chatmeshServer) chat(ctx context.Context, by Person, body any) (id string, err error) {
	var got struct {
		ID string `json:"id"`
	}
	err = s.call(ctx, by, http.MethodPost, "/v1/chats", body, &got)
	return got.ID, err
}

// call calls the HTTP API as somebody; in may be nil.
func (s *chatmeshServer) call(ctx context.Context, by Person, method, path string, in, out any) error {
	b, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+s.address+path, bytes.NewReader(b))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+by.Secret)
	req.Header.Set("Content-Type", "application/json")
	res, err := s.client.Do(req)
	if err != nil {
		return fmt.Errorf("peer: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode/100 != 2 {
		var problem bytes.Buffer
		problem.ReadFrom(res.Body)
		return fmt.Errorf("peer: %s %s: %s: %s", method, path, res.Status, problem.String())
	}
	if err := json.NewDecoder(res.Body).Decode(out); err != nil {
		return fmt.Errorf("peer: %s %s: %w", method, path, err)
	}
	return nil
}

// Dial is of Server.
func (s *chatmeshServer) Dial(ctx context.Context, p Person, sink driver.Sink) (driver.Conn, error) {
	return s.hello(ctx, p, `{"type":"hello"}`, sink)
}

// hello connects somebody and says hello.
func (c *chatmeshClients) hello(ctx context.Context, p Person, hello string, sink driver.Sink) (driver.Conn, error) {
	return c.dial(ctx, "/v1/ws", http.Header{"Sec-WebSocket-Protocol": {"chatmesh.v1"}, "Authorization": {"Bearer " + p.Secret}}, hello, sink)
}

// Return is of Returner.
func (s *chatmeshServer) Return(ctx context.Context, p Person, chats []string, sink driver.Sink) (driver.Conn, error) {
	cursors := map[string]int{}
	for _, c := range chats {
		cursors[c] = 1 // the event that made the chat
	}
	hello, err := json.Marshal(map[string]any{"type": "hello", "cursors": cursors})
	if err != nil {
		return nil, err
	}
	return s.hello(ctx, p, string(hello), sink)
}

// Stop is of Server.
func (s *chatmeshServer) Stop() error {
	return errors.Join(s.loop.Close(), s.process.stop(syscall.SIGTERM))
}
