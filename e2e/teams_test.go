package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chatmesh/chatmesh/e2e/program"
	"github.com/chatmesh/chatmesh/e2e/raw"
)

// checkout is the root of the repository, as seen from this folder.
const checkout = ".."

// durables makes a team's consumer in each partition, as an operator does, with a short ack wait so that what a killed example held
// comes again soon. It returns how many there are.
func durables(t *testing.T, nc *nats.Conn, name string, c jetstream.ConsumerConfig) int {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; ; n++ {
		stream := fmt.Sprintf("CHAT_%d", n)
		c.Durable, c.FilterSubject, c.AckPolicy, c.AckWait, c.MaxDeliver = name, fmt.Sprintf("chat.%d.*.log", n), jetstream.AckExplicitPolicy, time.Second, -1
		switch _, err := js.CreateOrUpdateConsumer(t.Context(), stream, c); {
		case err == nil:
		case n > 0 && strings.Contains(err.Error(), "stream not found"):
			return n
		default:
			t.Fatalf("%s of %s: %v", name, stream, err)
		}
	}
}

// example is a running example.
type example struct {
	cmd    *exec.Cmd
	mu     sync.Mutex
	output bytes.Buffer // guarded by mu
}

func (e *example) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.output.Write(p)
}

func (e *example) said() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.output.String()
}

// run starts an example, which is killed when the test ends, and waits until it says that it works.
func run(t *testing.T, ready string, name string, args ...string) *example {
	t.Helper()
	e := &example{cmd: exec.Command(name, args...)}
	e.cmd.Stdout, e.cmd.Stderr = e, e
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := e.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		e.end(syscall.SIGKILL)
		for _, bad := range []string{"Traceback", "panic", "DATA RACE"} {
			if strings.Contains(e.said(), bad) {
				t.Errorf("%s in what %s said", bad, filepath.Base(name))
			}
		}
		if t.Failed() {
			t.Logf("%s said:\n%s", filepath.Base(name), e.said())
		}
	})
	eventually(t, raw.Patience, "the example says "+ready, func() bool { return strings.Contains(e.said(), ready) })
	return e
}

// end signals the example and waits for its end. It returns the exit code; of one that has ended before as well.
func (e *example) end(s syscall.Signal) int {
	if e.cmd.ProcessState == nil {
		e.cmd.Process.Signal(s)
		e.cmd.Wait() // its error is the exit code
	}
	return e.cmd.ProcessState.ExitCode()
}

// audit builds the example once for a test.
func audit(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "audit")
	cmd := exec.Command("go", "build", "-race", "-o", path, "./examples/audit")
	cmd.Dir = checkout
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return path
}

// bot returns Python with what the bot needs, and the bot.
func bot(t *testing.T) (python, script string) {
	t.Helper()
	cmd := exec.Command(filepath.Join(checkout, "scripts", "venv"), "bot", filepath.Join(checkout, "examples", "bot", "requirements.txt"))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("python environment: %v", err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "bin", "python"), filepath.Join(checkout, "examples", "bot", "bot.py")
}

// auditLine is what the audit feed writes of an event.
type auditLine struct {
	Stream    string `json:"stream"`
	StreamSeq uint64 `json:"stream_seq"`
	Type      string `json:"type"`
	Chat      string `json:"chat"`
	Seq       uint64 `json:"seq"`
	Text      string `json:"text"`
}

func auditLines(t *testing.T, file string) (lines []auditLine, whole string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for _, text := range strings.SplitAfter(string(b), "\n") {
		var l auditLine
		if !strings.HasSuffix(text, "\n") {
			continue // being written
		}
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatalf("line %q: %v", text, err)
		}
		lines = append(lines, l)
	}
	return lines, string(b)
}

func TestTheAuditFeedHasEachEventOnceHoweverOftenItIsKilled(t *testing.T) {
	t.Parallel()
	srv := program.Start(t, program.Config{})
	nc := broker(t, srv, "ops")
	alice, bob := newPerson(t, srv, "alice"), newPerson(t, srv, "bob")
	last := map[string]uint64{} // the last seq of each chat
	var chats []string
	for i := range 4 {
		chats = append(chats, alice.group(fmt.Sprint("chat ", i), bob))
	}
	secret := "audit-canary-" + newClientID()
	say := func(n int) {
		for i := range n {
			chat := chats[i%len(chats)]
			last[chat] = alice.post(chat, fmt.Sprint(secret, " ", i))
		}
	}
	say(60) // what was before the team had a consumer comes as well
	durables(t, nc, "team-audit", jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy})
	file, binary := filepath.Join(t.TempDir(), "feed.jsonl"), audit(t)
	start := func() *example {
		return run(t, "audit: feed of 2 partitions", binary, "-nats-url", srv.NATS, "-out", file)
	}
	for range 4 {
		feed := start()
		before, _ := auditLines(t, file)
		say(40)
		eventually(t, raw.Patience, "the feed goes on", func() bool {
			now, _ := auditLines(t, file)
			return len(now) > len(before)
		})
		feed.end(syscall.SIGKILL)
		say(20)
	}
	feed := start()
	want := uint64(0)
	for _, chat := range chats {
		want += last[chat]
	}
	eventually(t, 2*raw.Patience, "the feed has everything", func() bool {
		lines, _ := auditLines(t, file)
		return uint64(len(lines)) >= want
	})
	if exit := feed.end(syscall.SIGTERM); exit != 0 {
		t.Errorf("the feed ended with %d: %s", exit, feed.said())
	}
	lines, whole := auditLines(t, file)
	seen := map[string]int{}
	for _, l := range lines {
		seen[fmt.Sprint(l.Chat, " ", l.Seq)]++
	}
	for _, chat := range chats {
		for seq := uint64(1); seq <= last[chat]; seq++ {
			if n := seen[fmt.Sprint(chat, " ", seq)]; n != 1 {
				t.Errorf("event %d of %s: got %d lines; want 1", seq, chat, n)
			}
		}
	}
	if uint64(len(lines)) != want {
		t.Errorf("got %d lines; want %d", len(lines), want)
	}
	if strings.Contains(whole, secret) || strings.Contains(feed.said(), secret) {
		t.Error("a text is in the feed")
	}
}

func TestATeamBeginsWhereItWantsAndSeesTextsOnlyIfItAsks(t *testing.T) {
	t.Parallel()
	srv := program.Start(t, program.Config{})
	nc := broker(t, srv, "ops")
	alice := newPerson(t, srv, "alice")
	chat := alice.group("late")
	old, young := "old-"+newClientID(), "young-"+newClientID()
	first := alice.post(chat, old)
	second := alice.post(chat, young)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	var from time.Time // when the broker stored the second one
	for p := 0; from.IsZero(); p++ {
		stream, err := js.Stream(t.Context(), fmt.Sprint("CHAT_", p))
		if err != nil {
			t.Fatalf("the chat is in no partition: %v", err)
		}
		if m, err := stream.GetLastMsgForSubject(t.Context(), fmt.Sprintf("chat.%d.%s.log", p, chat)); err == nil {
			from = m.Time
		}
	}
	durables(t, nc, "team-late", jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &from})
	file := filepath.Join(t.TempDir(), "feed.jsonl")
	feed := run(t, "audit: feed of", audit(t), "-nats-url", srv.NATS, "-consumer", "team-late", "-out", file, "-text")
	eventually(t, raw.Patience, "the feed has the young event", func() bool {
		lines, _ := auditLines(t, file)
		return len(lines) > 0
	})
	feed.end(syscall.SIGTERM)
	lines, _ := auditLines(t, file)
	if len(lines) != 1 || lines[0].Seq != second || lines[0].Text != young || first+1 != second {
		t.Errorf("got %+v; want event %d with its text only", lines, second)
	}
	bad := exec.Command(audit(t), "-nats-url", srv.NATS, "-consumer", "team-none")
	if out, err := bad.CombinedOutput(); err == nil || !strings.Contains(string(out), "consumer team-none of CHAT_0") {
		t.Errorf("without a consumer: got %v, %s; want it to say what is missing", err, out)
	}
}

func TestTheBotAnswersEachMessageOnceHoweverOftenItComes(t *testing.T) {
	t.Parallel()
	srv := program.Start(t, program.Config{})
	nc := broker(t, srv, "ops")
	alice, echo := newPerson(t, srv, "alice"), newPerson(t, srv, "echo")
	chat, other := alice.group("with the bot", echo), alice.group("without the bot")
	python, script := bot(t)
	all := jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy}
	n := durables(t, nc, "team-bot", all)
	start := func() *example {
		return run(t, fmt.Sprintf("bot: answers in %d partitions", n), python, script, "--nats-url", srv.NATS, "--user", echo.id)
	}
	answers := func() map[string]int {
		out := map[string]int{}
		for _, e := range alice.history(chat) {
			if e.Sender == echo.id {
				out[e.Text]++
			}
		}
		return out
	}
	const messages = 30
	want := map[string]bool{}
	running := start()
	for i := range messages {
		text := fmt.Sprint("hello ", i, " <&> ", newClientID())
		want[text] = true
		alice.post(chat, "!echo "+text)
		alice.post(chat, "not for the bot")
		if i%10 == 5 { // in the middle of its work
			running.end(syscall.SIGKILL)
			running = start()
		}
	}
	alice.post(other, "!echo nobody hears that")
	complete := func() bool { return len(answers()) == messages }
	eventually(t, 2*raw.Patience, "everything is answered", complete)
	if exit := running.end(syscall.SIGTERM); exit != 0 {
		t.Errorf("the bot ended with %d: %s", exit, running.said())
	}
	// New consumers bring all of it again.
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	for p := range n {
		if err := js.DeleteConsumer(t.Context(), fmt.Sprint("CHAT_", p), "team-bot"); err != nil {
			t.Fatal(err)
		}
	}
	durables(t, nc, "team-bot", all)
	running = start()
	alice.post(chat, "!echo the last")
	want["the last"] = true
	eventually(t, 2*raw.Patience, "what came again is worked off", func() bool {
		for p := range n {
			c, err := js.Consumer(t.Context(), fmt.Sprint("CHAT_", p), "team-bot")
			if err != nil {
				t.Fatal(err)
			}
			if i := c.CachedInfo(); i.NumPending > 0 || i.NumAckPending > 0 {
				return false
			}
		}
		return answers()["the last"] > 0
	})
	got := answers()
	for text := range want {
		if got[text] != 1 {
			t.Errorf("%q: got %d answers; want 1", text, got[text])
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %d different answers; want %d", len(got), len(want))
	}
	if h := alice.history(other); len(h) != 2 {
		t.Errorf("got %d events where the bot is no member; want 2", len(h))
	}
	if out := running.said(); strings.Contains(out, "hello") {
		t.Errorf("the bot says %s", out)
	}
}
