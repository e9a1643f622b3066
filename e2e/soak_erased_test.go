package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/chatmesh/chatmesh/e2e/program"
)

// erasedWithin is how long after the last fault a text may still lie in the files of a broker whose deletion was acked, and how long the
// store may lack something: as long as the persister needs to carry on with all that waits.
const erasedWithin = 2 * time.Minute

// verified waits until chatmesh itself finds nothing wrong with its logs and its store.
func (s *soak) verified(ctx context.Context, m soakMesh) {
	s.t.Helper()
	var err error
	for deadline := time.Now().Add(erasedWithin); time.Now().Before(deadline); {
		if err = m.verify(); err == nil {
			return
		}
		s.pause(ctx, time.Second, 2*time.Second)
	}
	s.t.Errorf("in the end: %v", err)
}

// forgotten waits until none of the texts whose deletion was acked lies in the files of a broker.
func (s *soak) forgotten(ctx context.Context, m soakMesh) {
	t := s.t
	t.Helper()
	s.mu.Lock()
	var gone []string
	for at := range s.erased {
		gone = append(gone, s.texts[at]...)
	}
	s.mu.Unlock()
	began := time.Now()
	var left []string
	for deadline := began.Add(erasedWithin); ; s.pause(ctx, 500*time.Millisecond, time.Second) {
		files := 0
		left = nil
		for _, dir := range m.stores() {
			n, found, err := holding(dir, gone)
			if err != nil {
				t.Errorf("the files of the broker: %v", err)
				return
			}
			files, left = files+n, append(left, found...)
		}
		if files == 0 {
			t.Errorf("the broker has no files in %v", m.stores())
			return
		}
		if len(left) == 0 {
			t.Logf("none of %d texts, of %d messages whose deletion was acked, is in the %d files of the broker, %v after the end", len(gone), len(s.erased), files,
				time.Since(began).Round(time.Millisecond))
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("%d of %d texts whose deletion was acked are in files of the broker: %s", len(left), len(gone), strings.Join(left[:min(len(left), 10)], "; "))
			return
		}
	}
}

// raftLogs is the folder in which brokers that keep copies of a stream note what they agree upon, until they compact it: that goes by
// size and time, and chatmesh has no hand in it.
const raftLogs = "_js_"

// holding tells which of the texts are in the files of a folder, but for those of Raft, and how many files there are. A file that goes
// meanwhile is none.
func holding(dir string, texts []string) (files int, found []string, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && d.IsDir() && d.Name() == raftLogs {
			return filepath.SkipDir
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		files++
		for _, text := range texts {
			if bytes.Contains(b, []byte(text)) {
				found = append(found, fmt.Sprintf("%q in %s", text, path))
			}
		}
		return nil
	})
	return files, found, err
}

// verifyAt runs chatmesh verify against a broker.
func verifyAt(url string) error {
	exit, out, bad, err := program.Run(3*time.Minute, []string{"--nats-url", url, "verify", "--all"}, nil)
	if err == nil && exit != 0 {
		err = fmt.Errorf("verify --all: exit code %d: %s%s", exit, out, bad)
	}
	return err
}
