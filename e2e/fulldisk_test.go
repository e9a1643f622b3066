//go:build disks && linux

package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/e2e/program"
	"github.com/chatmesh/chatmesh/e2e/raw"
)

// smallDisk mounts a file system in memory of that many MiB.
func smallDisk(t *testing.T, mib int) string {
	t.Helper()
	at := filepath.Join(t.TempDir(), "mnt")
	err := os.Mkdir(at, 0o700)
	if err == nil {
		err = command("mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%dm", mib), "tmpfs", at)
	}
	if err != nil {
		t.Fatalf("this machine does not allow to mount a small disk (root is needed): %v", err)
	}
	t.Cleanup(func() { _ = command("umount", "-l", at) })
	return at
}

// occupy leaves that many MiB free on a disk, in a file that somebody else might have written.
func occupy(t *testing.T, at string, leave int64) string {
	t.Helper()
	ballast := filepath.Join(at, "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := bytes.Repeat([]byte("x"), 1<<18)
	for {
		var s syscall.Statfs_t
		if err := syscall.Statfs(at, &s); err != nil {
			t.Fatal(err)
		}
		over := int64(s.Bavail)*s.Bsize - leave<<20
		if over <= 0 {
			return ballast
		}
		if _, err := f.Write(block[:min(int64(len(block)), over)]); err != nil {
			return ballast // to the last byte
		}
	}
}

// trySend sends a message over HTTP, and tells the status and the code of a refusal.
func (p *person) trySend(chat, clientID, text string) (status int, code string) {
	p.t.Helper()
	a, err := raw.Call(p.t.Context(), p.srv.Client, p.access, http.MethodPost, "/v1/chats/"+chat+"/messages",
		raw.Object{"client_id": clientID, "text": text})
	if err != nil {
		p.t.Fatal(err)
	}
	if a.Status < 300 {
		return a.Status, ""
	}
	problem, err := a.Problem()
	if err != nil {
		p.t.Fatal(err)
	}
	return a.Status, problem.Code
}

// TestAFullDiskRefusesReadsGoOnAndRoomHeals fills the disk under a running program: with messages up to the bound of the log, by
// somebody else up to the room that is kept free, and by somebody else to the last byte.
func TestAFullDiskRefusesReadsGoOnAndRoomHeals(t *testing.T) {
	at := smallDisk(t, 176)
	srv := program.Start(t, program.Config{Data: filepath.Join(at, "data")})
	ann, ben := newPerson(t, srv, "ann"), newPerson(t, srv, "ben")
	chat := ann.direct(ben)
	acked := map[string]bool{}
	send := func(id, text string) bool {
		status, code := ann.trySend(chat, id, text)
		if status == http.StatusCreated {
			acked[id] = true
			return true
		}
		if status != http.StatusServiceUnavailable || code != "unavailable" {
			t.Fatalf("got %d %s; want unavailable", status, code)
		}
		return false
	}
	began := time.Now()
	check := func(when string) {
		t.Helper()
		t.Logf("%v: %s", time.Since(began).Round(time.Millisecond), when)
		seen := map[string]bool{}
		for _, m := range ben.history(chat) {
			if m.Type == "message" && seen[m.ClientID] {
				t.Fatalf("%s: %s stands twice", when, m.ClientID)
			}
			seen[m.ClientID] = true
		}
		for id := range acked {
			if !seen[id] {
				t.Fatalf("%s: %s was acked and is not in the history", when, id)
			}
		}
	}
	if !send("first", "hello") {
		t.Fatal("the first message is refused")
	}

	for _, leave := range []int64{40, 0} {
		name := fmt.Sprintf("%d MiB are left", leave)
		ballast := occupy(t, at, leave)
		eventually(t, raw.Patience, name+": it is said", func() bool {
			_, ready, err := srv.AdminGet("/readyz")
			return err == nil && strings.Contains(ready, "room for the log")
		})
		n := 0
		eventually(t, raw.Patience, name+": messages are refused", func() bool { n++; return !send(fmt.Sprint("filling-", leave, "-", n), "x") })
		check(name)
		time.Sleep(6 * time.Second) // the leases and nodes beat meanwhile
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		eventually(t, raw.Patience, name+", and room again", func() bool { return send(fmt.Sprint("after-", leave), "x") })
		check(name + ", and room again")
		eventually(t, raw.Patience, name+", and room again: it is ready", func() bool {
			status, _, err := srv.AdminGet("/readyz")
			return err == nil && status == http.StatusOK
		})
	}

	big := strings.Repeat("x", 99_000)
	n := 0
	for ; send(fmt.Sprint("big-", n), big); n++ {
		if n > 3000 {
			t.Fatal("the log never fills")
		}
	}
	t.Logf("full after %d messages of 99 kB", n)
	check("the log is full")
	exit, took, err := srv.Terminate()
	t.Logf("%v: ended with %d after %v", time.Since(began).Round(time.Millisecond), exit, took.Round(time.Millisecond))
	if err != nil || exit != 0 || took > program.StopsWithin {
		t.Errorf("got exit %d after %v, %v; want 0 soon", exit, took, err)
	}
}
