// Package examples owns programs that a backend team could write itself: they know NATS and the outside contract, and nothing of
// this repository. Their stories stand in e2e; here they run with a team's key on a cluster with accounts.
package examples

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/pki"
	"github.com/chatmesh/chatmesh/pkg/roles"
)

// process is a program under test; it is killed when the test ends.
type process struct {
	cmd *exec.Cmd
	mu  sync.Mutex
	out bytes.Buffer // guarded by mu
}

func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.Write(b)
}

func (p *process) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

func start(t *testing.T, within time.Duration, ready, name string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(name, args...)}
	p.cmd.Stdout, p.cmd.Stderr = p, p
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.end(syscall.SIGKILL)
		if t.Failed() {
			t.Logf("%s said:\n%s", filepath.Base(name), p.said())
		}
	})
	meshtest.Eventually(t, within, filepath.Base(name)+" says "+ready, func() bool { return strings.Contains(p.said(), ready) })
	return p
}

func (p *process) end(s os.Signal) int {
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Signal(s)
		_ = p.cmd.Wait() // its error is the exit code
	}
	return p.cmd.ProcessState.ExitCode()
}

func build(t *testing.T, folder string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), filepath.Base(folder))
	if out, err := exec.Command("go", "build", "-o", path, folder).CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", folder, err, out)
	}
	return path
}

// call makes an HTTP call that must succeed.
func call(t *testing.T, token, method, url string, body, into any) {
	t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode >= 300 {
		t.Fatalf("%s %s: %d %s, %v", method, url, res.StatusCode, answer, err)
	}
	if err := json.Unmarshal(answer, into); err != nil {
		t.Fatal(err)
	}
}

func TestATeamNeedsNoMoreThanItsKeyOnABrokerWithAccounts(t *testing.T) {
	cluster := meshtest.NewProductionCluster(t, nil)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	ca := filepath.Join(cluster.Keys, pki.CA)
	chatmesh := build(t, "../services/chatmesh")
	broker := []string{"--nats-url", cluster.URL, "--nats-tls-ca", ca, "--nats-nkey", cluster.Keys}
	// As an operator: the layout, and the consumers of both teams.
	for _, words := range [][]string{
		{"nats", "init", "--replicas", "3", "--partitions", "2", "--yes"},
		{"nats", "team", meshtest.Reader, "--replay", "all", "--yes"},
		{"nats", "team", meshtest.Bot, "--replay", "all", "--yes"},
	} {
		if out, err := exec.Command(chatmesh, append(words, broker...)...).CombinedOutput(); err != nil {
			t.Fatalf("chatmesh %v: %v\n%s", words, err, out)
		}
	}
	mesh := start(t, 2*time.Minute, "is ready", chatmesh, append(broker, "--replicas", "3", "--partitions", "2", "--data", t.TempDir(),
		"--rate-limits", "off", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")...)
	api := regexp.MustCompile(`open (http://[^/]+)`).FindStringSubmatch(mesh.said())[1] + "/v1/"

	type grant struct {
		User struct {
			ID string `json:"id"`
		} `json:"user"`
		Token string `json:"access_token"`
	}
	var ada, echo grant
	call(t, "", "POST", api+"users", map[string]string{"username": "ada", "password": "correct horse"}, &ada)
	call(t, "", "POST", api+"users", map[string]string{"username": "echo", "password": "correct horse"}, &echo)
	var chat struct {
		ID string `json:"id"`
	}
	call(t, ada.Token, "POST", api+"chats", map[string]any{"kind": "direct", "members": []string{echo.User.ID}}, &chat)

	venv := exec.Command("../scripts/venv", "bot", "bot/requirements.txt")
	python, err := venv.Output()
	if err != nil {
		t.Fatalf("python environment: %v", err)
	}
	key := func(team string) string { return filepath.Join(cluster.Keys, roles.Team(team)+".nk") }
	bot := start(t, time.Minute, "answers in 2 partitions", filepath.Join(strings.TrimSpace(string(python)), "bin", "python"), "bot/bot.py",
		"--nats-url", cluster.URL, "--nats-tls-ca", ca, "--nats-nkey", key(meshtest.Bot), "--user", echo.User.ID)
	feed := filepath.Join(t.TempDir(), "feed.jsonl")
	audit := start(t, time.Minute, "feed of 2 partitions", build(t, "./audit"), "-nats-url", cluster.URL, "-nats-tls-ca", ca,
		"-nats-nkey", key(meshtest.Reader), "-out", feed)

	var sent struct{}
	call(t, ada.Token, "POST", api+"chats/"+chat.ID+"/messages", map[string]string{"client_id": "m1", "text": "!echo good morning"}, &sent)
	meshtest.Eventually(t, time.Minute, "the bot's answer is in the chat, and all three events are in the feed", func() bool {
		var page struct {
			Messages []struct {
				Sender, Text string
			} `json:"messages"`
		}
		call(t, ada.Token, "GET", api+"chats/"+chat.ID+"/messages", nil, &page)
		lines, err := os.ReadFile(feed)
		return err == nil && len(page.Messages) == 3 && page.Messages[2].Text == "good morning" && page.Messages[2].Sender == echo.User.ID &&
			bytes.Count(lines, []byte("\n")) == 3 && !bytes.Contains(lines, []byte("good morning"))
	})
	for _, p := range []*process{bot, audit} {
		if exit := p.end(syscall.SIGTERM); exit != 0 {
			t.Errorf("%s ended with %d", p.cmd.Path, exit)
		}
	}
	if v := cluster.Violations(); len(v) > 0 {
		t.Errorf("somebody did what it may not: %q", v)
	}
}
