package mesh

import (
	"fmt"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// minRoom is what the disk under --data must have free for something to be appended, in bytes. An embedded broker that hits the end
// of its disk must be started again; the store keeps half of that for itself.
const minRoom = 64 << 20

// room tells whether the disk of the embedded broker has room; nil where the broker is apart.
func (m *Mesh) room() func() error {
	if m.broker == nil {
		return nil
	}
	dir := filepath.Join(m.c.Data, "nats")
	return func() error {
		m.staging.Load().Check()
		u, err := vfs.Default.GetDiskUsage(dir)
		if err != nil || u.AvailBytes >= minRoom { // not every file system can tell
			return nil
		}
		return fmt.Errorf("the disk under --data has %d MiB free, and writing needs %d", u.AvailBytes>>20, minRoom>>20)
	}
}
