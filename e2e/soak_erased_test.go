package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
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

// forgotten waits until none of the texts whose deletion was acked lies in the files of a broker, but for what a copy may keep.
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
	stores := m.stores()
	for deadline := began.Add(erasedWithin); ; s.pause(ctx, 500*time.Millisecond, time.Second) {
		files := 0
		left := map[string][]soakStore{} // by text
		for _, store := range stores {
			n, found, err := holding(store.dir, gone)
			if err != nil {
				t.Errorf("the files of the broker: %v", err)
				return
			}
			files += n
			for _, text := range found {
				left[text] = append(left[text], store)
			}
		}
		if files == 0 {
			t.Errorf("the broker has no files in %v", stores)
			return
		}
		if len(left) == 0 {
			t.Logf("none of %d texts, of %d messages whose deletion was acked, is in the %d files of the broker, %v after the end", len(gone), len(s.erased), files,
				time.Since(began).Round(time.Millisecond))
			return
		}
		if time.Now().Before(deadline) {
			continue
		}
		kept := 0
		for text, in := range left {
			if mayKeep(stores, in) {
				kept++
			} else {
				t.Errorf("%q, whose deletion was acked, is in files of the brokers in %v", text, in)
			}
		}
		t.Logf("%d of %d texts whose deletion was acked are in a copy whose broker was away", kept, len(gone))
		return
	}
}

// mayKeep tells whether copies of a stream may keep a text that is deleted. A broker that was away may hear of the deletion by a snapshot of the
// stream, and nats-server does not overwrite what it takes out so (docs/adr/0019-erasing-a-text.md). That most copies are clean shows that the text was erased.
func mayKeep(stores, in []soakStore) bool {
	for _, store := range in {
		if !store.away {
			return false
		}
	}
	return 2*len(in) < len(stores)
}

// raftLogs is the folder in which brokers that keep copies of a stream note what they agree upon, until they compact it: that goes by
// size and time, and chatmesh has no hand in it.
const raftLogs = "_js_"

// holding tells which of the texts are in the files of a folder, but for those of Raft, and how many files there are. A file that goes
// meanwhile is none.
func holding(dir string, texts []string) (files int, found []string, err error) {
	in := map[string]bool{}
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
				in[text] = true
			}
		}
		return nil
	})
	return files, slices.Collect(maps.Keys(in)), err
}

// verifyAt runs chatmesh verify against a broker.
func verifyAt(url string) error {
	exit, out, bad, err := program.Run(3*time.Minute, []string{"--nats-url", url, "verify", "--all"}, nil)
	if err == nil && exit != 0 {
		err = fmt.Errorf("verify --all: exit code %d: %s%s", exit, out, bad)
	}
	return err
}
