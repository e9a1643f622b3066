//go:build disks && linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/chatmesh/chatmesh/e2e/program"
	"github.com/chatmesh/chatmesh/e2e/raw"
)

// Of ext4: the request that ends a file system at once, and its flag not to write the journal out first, as if the power had gone.
const (
	ext4Shutdown = 0x8004587d
	noLogFlush   = 2
)

// disk is an ext4 file system in a file.
type disk struct {
	t     *testing.T
	image string
	at    string
}

func command(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

// newDisk makes and mounts one. Where the machine does not allow that the test fails with the reason: it was asked for.
func newDisk(t *testing.T) *disk {
	t.Helper()
	d := &disk{t: t, image: filepath.Join(t.TempDir(), "disk"), at: filepath.Join(t.TempDir(), "mnt")}
	err := os.WriteFile(d.image, nil, 0o600)
	for _, do := range []func() error{
		func() error { return os.Truncate(d.image, 1<<30) },
		func() error { return os.Mkdir(d.at, 0o700) },
		func() error { return command("mkfs.ext4", "-q", "-F", d.image) },
		func() error { return command("mount", "-o", "loop", d.image, d.at) },
	} {
		if err == nil {
			err = do()
		}
	}
	if err != nil {
		t.Fatalf("this machine does not allow to lose power on purpose (root, ext4 and loop devices are needed): %v", err)
	}
	t.Cleanup(func() { _ = command("umount", d.at) })
	return d
}

// losePower ends the file system without writing anything more.
func (d *disk) losePower() {
	d.t.Helper()
	f, err := os.Open(d.at)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	flag := uint32(noLogFlush)
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), ext4Shutdown, uintptr(unsafe.Pointer(&flag))); errno != 0 {
		d.t.Fatalf("this machine does not allow to lose power on purpose: shutdown of ext4: %v", errno)
	}
}

// powerBack mounts the file system again, which replays its journal.
func (d *disk) powerBack() {
	d.t.Helper()
	eventually(d.t, raw.Patience, "the dead file system is let go of", func() bool { return command("umount", d.at) == nil })
	if err := command("mount", "-o", "loop", d.image, d.at); err != nil {
		d.t.Fatal(err)
	}
}

func TestAPowerCutLosesNothingThatWasAcked(t *testing.T) {
	d := newDisk(t)
	interruptOn(t, filepath.Join(d.at, "data"), func(srv *program.Program, _ []*raw.Socket) {
		d.losePower()
		srv.Kill()
		d.powerBack()
	})
}
