package peer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
)

// unpacked are packages of Debian that were taken apart into a folder: installed, their daemons would run, and the machine would not be
// what it was.
type unpacked struct {
	// dir stands for the root of the file system.
	dir string
}

// unpack fetches packages, with what they need and the machine lacks, and takes them apart, once. own matches the names of packages that
// are taken even where the machine has them, because they must lie together.
func unpack(ctx context.Context, set string, own *regexp.Regexp, names ...string) (unpacked, error) {
	u, err := place(set)
	if err != nil {
		return u, err
	}
	whole := filepath.Join(u.dir, ".complete")
	unlock, err := lock(u.dir + ".lock")
	if err != nil {
		return u, err
	}
	defer unlock()
	if _, err := os.Stat(whole); err == nil {
		return u, nil
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		return u, fmt.Errorf("peer: %s is taken from packages of Debian, and this machine has no apt-get: leave it out with --systems", set)
	}
	if err := errors.Join(os.RemoveAll(u.dir), os.MkdirAll(u.dir, 0o755)); err != nil {
		return u, fmt.Errorf("peer: %s: %w", set, err)
	}
	if err := u.fetch(ctx, own, names); err != nil {
		if os.Getuid() != 0 {
			return u, fmt.Errorf("%w; it may help to run as root: apt-get update", err)
		}
		// The lists of packages may be missing or too old.
		if _, err := run(exec.CommandContext(ctx, "apt-get", "update", "-qq")); err != nil {
			return u, err
		}
		if err := u.fetch(ctx, own, names); err != nil {
			return u, err
		}
	}
	archives, err := filepath.Glob(filepath.Join(u.dir, "*.deb"))
	if err != nil {
		return u, fmt.Errorf("peer: %s: %w", set, err)
	}
	for _, deb := range archives {
		if _, err := run(exec.CommandContext(ctx, "dpkg-deb", "-x", deb, u.dir)); err != nil {
			return u, err
		}
		if err := os.Remove(deb); err != nil {
			return u, fmt.Errorf("peer: %s: %w", set, err)
		}
	}
	return u, os.WriteFile(whole, nil, 0o644)
}

// place is where a set of packages lies on this machine.
func place(set string) (unpacked, error) {
	dir, err := cache()
	if err != nil {
		return unpacked{}, err
	}
	release := "debian"
	if b, err := os.ReadFile("/etc/os-release"); err == nil {
		for line := range strings.Lines(string(b)) {
			if name, ok := strings.CutPrefix(line, "VERSION_CODENAME="); ok {
				release = strings.Trim(strings.TrimSpace(name), `"`)
			}
		}
	}
	return unpacked{dir: filepath.Join(dir, set+"-"+release)}, nil
}

// fetch downloads the archives into the folder.
func (u unpacked) fetch(ctx context.Context, own *regexp.Regexp, names []string) error {
	// What would be installed, in lines such as "Inst mosquitto (2.0.11 …".
	missing, err := run(exec.CommandContext(ctx, "apt-get", append([]string{"install", "-s", "--no-install-recommends"}, names...)...))
	if err != nil {
		return err
	}
	all, err := run(exec.CommandContext(ctx, "apt-cache", append([]string{"depends", "--recurse", "--no-recommends", "--no-suggests",
		"--no-conflicts", "--no-breaks", "--no-replaces", "--no-enhances", "--no-pre-depends"}, names...)...))
	if err != nil {
		return err
	}
	var wanted []string
	for line := range strings.Lines(missing) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "Inst" && (own.MatchString(f[1]) || strings.HasPrefix(f[1], "lib")) {
			wanted = append(wanted, f[1])
		}
	}
	for line := range strings.Lines(all) {
		if name := strings.TrimSpace(line); own.MatchString(name) {
			wanted = append(wanted, name)
		}
	}
	slices.Sort(wanted)
	wanted = slices.Compact(wanted)
	cmd := exec.CommandContext(ctx, "apt-get", append([]string{"download", "-qq", "-o", "APT::Sandbox::User=root"}, wanted...)...)
	cmd.Dir = u.dir
	_, err = run(cmd)
	return err
}

// find is the only file that matches a pattern below the root, such as usr/lib/postgresql/*/bin.
func (u unpacked) find(pattern string) (string, error) {
	found, err := filepath.Glob(filepath.Join(u.dir, pattern))
	if err == nil && len(found) != 1 {
		err = fmt.Errorf("%d files are %s; want 1", len(found), pattern)
	}
	if err != nil {
		return "", fmt.Errorf("peer: packages in %s: %w", u.dir, err)
	}
	return found[0], nil
}

// command is a program of the packages, which finds its libraries there and is killed when ctx ends.
func (u unpacked) command(ctx context.Context, path string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path, args...)
	libs, _ := filepath.Glob(filepath.Join(u.dir, "usr/lib/*-linux-*")) // the pattern is right
	cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+strings.Join(libs, ":"))
	return cmd
}

// lock waits until this process is the only one that has the lock of a file.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err == nil {
		if err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err == nil {
			return func() { f.Close() }, nil
		}
		f.Close()
	}
	return nil, fmt.Errorf("peer: lock: %w", err)
}
