package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/pki"
	"github.com/chatmesh/chatmesh/pkg/roles"
)

// operate runs a command as an operator of a cluster of production, and returns what it shows.
func operate(t *testing.T, p *meshtest.Production, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := chatmesh(t.Context(), append(args, "--nats-url="+p.URL, "--nats-nkey="+p.Keys, "--nats-tls-ca="+filepath.Join(p.Keys, pki.CA)),
		&out, io.Discard)
	return out.String(), err
}

func TestAClusterThatElectsItsLeaderIsAskedAgain(t *testing.T) {
	var errs bytes.Buffer
	asked := 0
	p, err := planned(t.Context(), &errs, func() (bus.Plan, error) {
		if asked++; asked < 3 {
			return nil, fmt.Errorf("%w: no answer", bus.ErrDown)
		}
		return bus.Plan{{What: "stream"}}, nil
	})
	if err != nil || len(p) != 1 || asked != 3 || strings.Count(errs.String(), "\n") != 2 {
		t.Errorf("got %v, %v after %d; it said %q", p, err, asked, &errs)
	}
	refused := errors.New("refused")
	if _, err := planned(t.Context(), &errs, func() (bus.Plan, error) { asked++; return nil, refused }); !errors.Is(err, refused) || asked != 4 {
		t.Errorf("got %v after %d; want another error at once", err, asked)
	}
}

func TestNatsInitShowsWhatDiffersAndDoesItOnlyWhenTold(t *testing.T) {
	p := meshtest.NewProductionCluster(t, nil)
	b := p.Bus(t, roles.Ops)
	streams := func() (n int) {
		names := b.JetStream().StreamNames(t.Context())
		for range names.Name() {
			n++
		}
		if err := names.Err(); err != nil {
			t.Fatal(err)
		}
		return n
	}
	wanted, err := b.Plan(t.Context(), bus.Layout{Partitions: 2, Replicas: 3, Retention: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	todo, made := wanted.Todo(), 0
	for _, c := range wanted {
		if !strings.HasPrefix(c.What, "consumer") {
			made++
		}
	}
	for _, step := range []struct {
		what string
		args []string
		// shown are parts of what it shows, fails of its error; "" for none.
		shown   []string
		fails   string
		streams int
	}{
		{"copies are not said", []string{"--yes"}, nil, "say how many copies", 0},
		{"a dry run", []string{"--replicas=3", "--dry-run"}, []string{
			"create stream CHAT_0 (subjects chat.0.>, retention Limits, storage File, replicas 3, max_age 720h0m0s, discard DiscardNew",
			"create consumer persister of CURSOR_1", "create bucket presence", fmt.Sprint(todo, " to do")}, "", 0},
		{"nothing said", []string{"--replicas=3"}, []string{"create stream CHAT_1"}, fmt.Sprintf("nothing was changed: --yes does what is shown, %d in all", todo), 0},
		{"yes", []string{"--replicas=3", "--yes"}, []string{fmt.Sprint(todo, " done")}, "", made},
		{"again", []string{"--replicas=3", "--yes"}, []string{"nothing to do"}, "", made},
		{"again, dry", []string{"--replicas=3", "--dry-run"}, []string{"nothing to do"}, "", made},
		{"another retention", []string{"--replicas=3", "--log-retention=1440h", "--dry-run"}, []string{
			"update stream CHAT_0\n    max_age: 720h0m0s → 1440h0m0s\n", "update stream CURSOR_1\n", "4 to do"}, "", made},
		{"done", []string{"--replicas=3", "--log-retention=1440h", "--log-bytes=1000000000", "--yes"}, []string{
			"    max_bytes: unlimited → 500000000\n", "4 done"}, "", made},
		{"and back, with nothing stored", []string{"--replicas=3", "--yes"}, []string{"    max_age: 1440h0m0s → 720h0m0s\n", "4 done"}, "", made},
		{"bytes stay", []string{"--replicas=3"}, []string{"nothing to do"}, "", made},
		{"fewer copies", []string{"--replicas=1", "--yes"}, []string{"refuse stream CHAT_0: replicas cannot be changed from 3 to 1"},
			"nothing was changed: bus: the broker's streams do not fit: stream CHAT_0: replicas cannot be changed from 3 to 1", made},
		{"fewer partitions", []string{"--replicas=3", "--partitions=1", "--yes"}, nil, "made for 2 partitions, the setting says 1 (--partitions)", made},
		{"both", []string{"--replicas=3", "--yes", "--dry-run"}, nil, "can't be used together", made},
	} {
		args := append([]string{"nats", "init"}, step.args...)
		if !strings.Contains(strings.Join(args, " "), "--partitions") {
			args = append(args, "--partitions=2")
		}
		got, err := operate(t, p, args...)
		for _, want := range step.shown {
			if !strings.Contains(got, want) {
				t.Errorf("%s: got\n%s\nwant %q in it", step.what, got, want)
			}
		}
		if (err != nil) != (step.fails != "") || err != nil && (!strings.Contains(err.Error(), step.fails) || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%s: got %v; want one line with %q", step.what, err, step.fails)
		}
		if n := streams(); n != step.streams {
			t.Fatalf("%s: got %d streams; want %d", step.what, n, step.streams)
		}
	}
	if v := p.Violations(); len(v) > 0 {
		t.Errorf("an operator misses a right:\n%s", strings.Join(v, "\n"))
	}
}

func TestNatsTeamMakesAConsumerForEachPartition(t *testing.T) {
	p := meshtest.NewProductionCluster(t, nil)
	for _, step := range []struct {
		what         string
		args         []string
		shown, fails string
	}{
		{"without streams", []string{"audit", "--replay=all", "--yes"}, "", "run chatmesh nats init before"},
		{"the streams", nil, " done\n", ""},
		{"without a beginning", []string{"audit", "--yes"}, "", "it is not said where it is to begin: see --replay"},
		{"a wrong beginning", []string{"audit", "--replay=monday", "--yes"}, "", `--replay: "monday" is not all, new, a sequence`},
		{"a wrong name", []string{"team.audit", "--replay=all"}, "", "is not the name of a team"},
		{"a dry run", []string{"audit", "--replay=2026-11-01T00:00:00Z", "--dry-run"},
			"create consumer team-audit of CHAT_1 (filter chat.1.*.log, deliver by_start_time, start_time 2026-11-01T00:00:00Z", ""},
		{"made", []string{"audit", "--replay=all", "--yes"}, "2 done", ""},
		{"again", []string{"audit", "--replay=all", "--yes"}, "nothing to do", ""},
		{"looked at", []string{"audit"}, "nothing to do", ""},
		{"from elsewhere", []string{"audit", "--replay=17", "--yes"}, "refuse consumer team-audit of CHAT_0: deliver cannot be changed",
			"nothing was changed"},
		{"the streams again", nil, "nothing to do", ""},
	} {
		args := append([]string{"nats", "team"}, step.args...)
		if step.args == nil {
			args = []string{"nats", "init", "--partitions=2", "--replicas=3", "--yes"}
		}
		got, err := operate(t, p, args...)
		if !strings.Contains(got, step.shown) {
			t.Errorf("%s: got\n%s\nwant %q in it", step.what, got, step.shown)
		}
		if (err != nil) != (step.fails != "") || err != nil && !strings.Contains(err.Error(), step.fails) {
			t.Errorf("%s: got %v; want %q", step.what, err, step.fails)
		}
	}
	if v := p.Violations(); len(v) > 0 {
		t.Errorf("an operator misses a right:\n%s", strings.Join(v, "\n"))
	}
}

func TestNatsInitOnTheEmbeddedBrokerIsRefused(t *testing.T) {
	for _, args := range [][]string{{"nats", "init"}, {"nats", "team", "audit"}} {
		if err := chatmesh(t.Context(), args, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), "--nats-url") {
			t.Errorf("%v: got %v; want it refused", args, err)
		}
	}
}

func TestNatsKeysAndRolesWriteWhatTheBrokersRead(t *testing.T) {
	dir := t.TempDir()
	run := func(args ...string) error { return chatmesh(t.Context(), args, io.Discard, io.Discard) }
	if err := run("nats", "keys", dir, "--server=a=a.example+10.0.0.1", "--team=audit,billing", "--bot=bot"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a.pem", "a-route.pem", "edge.nk", "team-billing.nk", "system.nk"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	if err := run("nats", "roles", dir, "--up-to=20", "--team=audit,billing", "--bot=bot"); err != nil {
		t.Fatal(err)
	}
	want := roles.Mesh{Partitions: 20, Readers: []string{"audit", "billing"}, Bots: []string{"bot"}}
	if got, err := os.ReadFile(filepath.Join(dir, "roles.conf")); err != nil || !bytes.Equal(got, want.Conf()) ||
		!bytes.Contains(got, []byte("--team=billing")) {
		t.Errorf("got %v; want the roles for 20 partitions", err)
	}
	for _, bad := range []string{"a", "=x", "a=", "../a=x"} {
		if err := run("nats", "keys", dir, "--server="+bad); err == nil {
			t.Errorf("--server=%s was taken", bad)
		}
	}
}
