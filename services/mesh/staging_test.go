package mesh

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/chatmesh/chatmesh/pkg/staging"
	"github.com/chatmesh/chatmesh/pkg/subject"
)

// links are the folders of an embedded broker's streams of chats that lead elsewhere.
func links(t *testing.T, data string) (to []string) {
	t.Helper()
	for p := range 2 {
		dir, err := os.Readlink(filepath.Join(filepath.Join(data, "nats", "jetstream", "$G", "streams"), subject.ChatStream(p), "batches"))
		if err == nil {
			to = append(to, dir)
		}
	}
	return to
}

func TestBatchesAreStagedInMemoryOfThisProcessAndNothingIsLeftOfThem(t *testing.T) {
	if stat, err := os.Stat(staging.MemoryFiles); err != nil || !stat.IsDir() {
		t.Logf("this system has no %s: batches are staged on the disk, as other tests show", staging.MemoryFiles)
		return
	}
	c := settings(t, "n1", "")
	c.NATSURL = nil
	// What a process that was killed has left.
	left, err := os.MkdirTemp(staging.MemoryFiles, "chatmesh-staging-")
	if err != nil {
		t.Fatal(err)
	}
	stream := filepath.Join(filepath.Join(c.Data, "nats", "jetstream", "$G", "streams"), subject.ChatStream(0))
	if err := os.MkdirAll(stream, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(left, subject.ChatStream(0)), filepath.Join(stream, "batches")); err != nil {
		t.Fatal(err)
	}
	p := launch(t, c, All...)
	p.ready()
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Errorf("what was left is there yet: %v", err)
	}
	dirs := links(t, c.Data)
	if len(dirs) != 2 || slices.Contains(dirs, "") {
		t.Fatalf("streams that stage in memory: %v; want both", dirs)
	}
	newPair(p) // a chat begins with an atomic batch
	for _, dir := range dirs {
		if rest, err := os.ReadDir(dir); err != nil || len(rest) > 0 {
			t.Errorf("of a batch that has landed there is left: %v, %v", rest, err)
		}
		if stat, err := os.Stat(filepath.Dir(dir)); err != nil || stat.Mode().Perm() != 0o700 {
			t.Errorf("others may look into %s: %v, %v", filepath.Dir(dir), stat.Mode(), err)
		}
	}
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Dir(dirs[0])); !os.IsNotExist(err) {
		t.Errorf("the folder in memory outlives its process: %v", err)
	}
	if rest := links(t, c.Data); len(rest) > 0 {
		t.Errorf("links are left: %v", rest)
	}
}
