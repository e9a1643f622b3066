package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/store/pebble"
	"github.com/chatmesh/chatmesh/pkg/subject"
)

// buffer is what a command has written.
type buffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// program is an all-in-one in this process.
type program struct {
	t         *testing.T
	data      string
	http, nat string
	stop      func()
}

var readyLine = regexp.MustCompile(`open (http://[^/]+)/ .*nats://([^)]+)\)`)

// begin runs everything on a data folder.
func begin(t *testing.T, data string) *program {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var out buffer
	done := make(chan error, 1)
	go func() {
		done <- chatmesh(ctx, []string{"--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--nats-listen=127.0.0.1:0", "--data=" + data,
			"--node=n1", "--partitions=2", "--log-level=error", "--rate-limits=off"}, &out, io.Discard)
	}()
	p := &program{t: t, data: data}
	p.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the program ended with %v", err)
		}
	})
	t.Cleanup(p.stop)
	meshtest.Eventually(t, meshtest.Patience, "the program is ready", func() bool { return strings.Contains(out.String(), "\n") })
	m := readyLine.FindStringSubmatch(out.String())
	if m == nil {
		t.Fatalf("got %q", out.String())
	}
	p.http, p.nat = m[1], m[2]
	return p
}

// post calls the HTTP API and reads the answer into out.
func (p *program) post(path, token, body string, out any) {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, p.http+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusCreated {
		err = fmt.Errorf("%s: %s", res.Status, b)
	}
	if err == nil {
		err = json.Unmarshal(b, out)
	}
	if err != nil {
		p.t.Fatalf("POST %s: %v", path, err)
	}
}

// live makes a person with chats of some messages each.
func (p *program) live(chats, messages int) []chat.ID {
	p.t.Helper()
	var ann struct {
		Token string `json:"access_token"`
	}
	p.post("/v1/users", "", `{"username":"ann","password":"correct horse"}`, &ann)
	var ids []chat.ID
	for range chats {
		var c struct{ ID chat.ID }
		p.post("/v1/chats", ann.Token, `{"kind":"group","title":"secret title","members":[]}`, &c)
		for n := range messages {
			p.post("/v1/chats/"+string(c.ID)+"/messages", ann.Token, fmt.Sprintf(`{"client_id":"m%d","text":"secret text"}`, n), &struct{}{})
		}
		ids = append(ids, c.ID)
	}
	return ids
}

// node is the name of the program's node.
func (p *program) node() string { return "n1" }

// bus connects to the program.
func (p *program) bus() *bus.Bus {
	p.t.Helper()
	b, err := bus.Connect(bus.Config{URL: "nats://" + p.nat, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(b.Close)
	return b
}

// result is what became of a command.
type result struct {
	out, errs string
	err       error
}

// command runs a command line.
func command(t *testing.T, args ...string) result {
	t.Helper()
	var out, errs buffer
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := chatmesh(ctx, args, &out, &errs)
	r := result{out.String(), errs.String(), err}
	if all := r.out + r.errs + fmt.Sprint(err); strings.Contains(all, "secret") {
		t.Errorf("%v shows what a person wrote: %s", args, all)
	}
	return r
}

// want fails the test unless the command succeeded, or failed if it had to, and wrote what is expected.
func (r result) want(t *testing.T, ok bool, out ...string) {
	t.Helper()
	if (r.err == nil) != ok {
		t.Fatalf("got error %v, %s%s; want success %t", r.err, r.out, r.errs, ok)
	}
	for _, pattern := range out {
		if !regexp.MustCompile("(?m)^" + pattern + "$").MatchString(r.out) {
			t.Errorf("got %s; want a line %s", r.out, pattern)
		}
	}
}

func TestVerifyAsksForOneChatOrAll(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"verify"}, "verify takes either --chat ID or --all"},
		{[]string{"verify", "--all", "--chat=c1"}, "verify takes either --chat ID or --all"},
		{[]string{"verify", "--chat=a.b"}, "--chat: chat is not an id"},
		{[]string{"deadletters", "retry"}, "deadletters retry takes either a SEQ or --all"},
		{[]string{"deadletters", "retry", "7", "--all"}, "deadletters retry takes either a SEQ or --all"},
		{[]string{"deadletters", "show"}, "expected \"<seq>\""},
	} {
		if r := command(t, c.args...); r.err == nil || !strings.Contains(r.err.Error(), c.want) || r.out != "" {
			t.Errorf("%v: got %v, %s; want %q", c.args, r.err, r.out, c.want)
		}
	}
}

func TestWhereNothingIsVerifySaysWhereItHasLooked(t *testing.T) {
	data := filepath.Join(t.TempDir(), "none")
	r := command(t, "verify", "--all", "--nats-listen=127.0.0.1:0", "--data="+data)
	if r.err == nil || !strings.Contains(r.err.Error(), "--nats-listen") || !strings.Contains(r.err.Error(), data) {
		t.Errorf("got %v; want both places", r.err)
	}
	if m, err := filepath.Glob(data + "*"); err != nil || len(m) > 0 {
		t.Errorf("it made %v, %v", m, err)
	}
	r = command(t, "verify", "--all", "--nats-url=nats://name:password@127.0.0.1:1")
	if r.err == nil || !strings.Contains(r.err.Error(), "127.0.0.1:1") || strings.Contains(r.err.Error()+r.errs, "password") {
		t.Errorf("got %v, %s; want the place and no password", r.err, r.errs)
	}
}

func TestVerifyLooksAtTheRunningProgramAndAtItsFolder(t *testing.T) {
	p := begin(t, filepath.Join(t.TempDir(), "data"))
	ids := p.live(3, 7)
	where := []string{"--nats-listen=" + p.nat, "--data=" + p.data}
	all := `chats 3, events 24, messages 21, problems 0`
	r := command(t, append(where, "verify", "--all")...)
	r.want(t, true, all)
	if !strings.Contains(r.errs, "that runs at "+p.nat) || !strings.Contains(r.errs, "3 of 3 chats verified") {
		t.Errorf("got %s; want what is asked, and how far it is", r.errs)
	}
	command(t, "--nats-url=nats://"+p.nat, "verify", "--all").want(t, true, all)
	command(t, append(where, "verify", "--chat="+string(ids[1]))...).want(t, true, `chats 1, events 8, messages 7, problems 0`)
	if r := command(t, append(where, "verify", "--chat=nope")...); r.err == nil || !strings.Contains(r.err.Error(), "no such chat") {
		t.Errorf("got %v; want that there is no such chat", r.err)
	}
	if r := command(t, "--nats-listen=127.0.0.1:0", "--data="+p.data, "verify", "--all"); r.err == nil || !strings.Contains(r.err.Error(), "held by another process") {
		t.Errorf("on a folder that is in use: got %v", r.err)
	}

	p.stop()
	where = append(where, "--partitions=2")
	r = command(t, append(where, "verify", "--all")...)
	r.want(t, true, all)
	if !strings.Contains(r.errs, "asking the data folder") {
		t.Errorf("got %s; want what is asked", r.errs)
	}
	if r := command(t, append(where, "--partitions=3", "verify", "--all")...); r.err == nil || !strings.Contains(r.err.Error(), "partitions") {
		t.Errorf("with other partitions: got %v", r.err)
	}
	// Somebody meddles with the store.
	db, err := pebble.Open(filepath.Join(p.data, "store"), pebble.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	at := chat.Now()
	e := chat.Event{Type: chat.Message, Chat: ids[0], Seq: 10, N: 8, Sender: "ann", ClientID: "c", Text: "secret", SentAt: &at}
	err = db.Write(t.Context(), store.Batch{Events: []store.Entry{{Event: e, Body: []byte(`{"text":"secret"}`), Stream: 1}}})
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	command(t, append(where, "verify", "--all")...).want(t, false, string(ids[0])+` 9 missing neither in the log nor in the store`,
		string(ids[0])+` 10 altered cannot be read`, string(ids[0])+` 10 missing not in the log`,
		`chats 3, events 25, messages 21, problems 3`)
}

func TestDeadLettersAreListedShownAndRetried(t *testing.T) {
	p := begin(t, filepath.Join(t.TempDir(), "data"))
	b := p.bus()
	where := []string{"--nats-listen=" + p.nat, "--data=" + p.data, "--partitions=2", "deadletters"}
	do := func(args ...string) result { return command(t, append(where, args...)...) }
	do("list").want(t, true, "dead letters 0")
	do("retry", "--all").want(t, true, "done 0, stay 0")
	part := subject.Partition("c9", 2)
	if _, err := b.Publish(t.Context(), &nats.Msg{Subject: subject.Log(part, "c9"), Data: []byte("what somebody wrote")}); err != nil {
		t.Fatal(err)
	}
	meshtest.Eventually(t, meshtest.Patience, "two dead letters", func() bool {
		n, err := b.CountDeadLetters(t.Context(), subject.Persister)
		m, err2 := b.CountDeadLetters(t.Context(), subject.FanOut)
		return err == nil && err2 == nil && n == 1 && m == 1
	})
	r := do("list")
	r.want(t, true, `SEQ +TIME +WORKER +ORIGIN +SIZE +REASON`, fmt.Sprintf(`\d +20\S+Z +persister +chat\.%d\.c9\.log \d+ +19 +wire: .+`, part),
		fmt.Sprintf(`\d +20\S+Z +fanout +chat\.%d\.c9\.log \d+ +19 +\S.*`, part), "dead letters 2")
	if strings.Contains(r.out, "somebody") {
		t.Errorf("list shows the body: %s", r.out)
	}
	do("show", "1").want(t, true, `Chat-Origin: chat\.\d\.c9\.log \d+`, `Chat-Reason: .+`, "", "what somebody wrote")
	if r := do("show", "17"); r.err == nil || !strings.Contains(r.err.Error(), "no dead letter 17") {
		t.Errorf("show what is not there: got %v", r.err)
	}
	do("retry", "2").want(t, false, `2 stays: .+`, "done 0, stay 1")
	do("retry", "--all").want(t, false, `1 stays: .+`, `2 stays: .+`, "done 0, stay 2")
	if r := do("retry", "17"); r.err == nil || !strings.Contains(r.err.Error(), "no dead letter 17") {
		t.Errorf("retry what is not there: got %v", r.err)
	}
	// What nobody put aside is no worker's.
	if _, err := b.Publish(t.Context(), &nats.Msg{Subject: "dead.letter", Data: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	do("retry", "3").want(t, false, `3 stays: it is of no worker`)
	do("list").want(t, true, `3 +\S+ +- +- 0 +1 +-`, "dead letters 3")
	p.stop()
	do("list").want(t, true, "dead letters 3") // from the folder
	do("retry", "1").want(t, false, `1 stays: .+`)
}
