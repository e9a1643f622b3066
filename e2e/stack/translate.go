package stack

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
)

var (
	hostPort = regexp.MustCompile(`[A-Za-z0-9][A-Za-z0-9.-]*:[0-9]+`)
	// checked is a server of the gateway, which is asked for its health on another port.
	checked = regexp.MustCompile(`(server \S+ )([a-z0-9-]+)(:\d+ check port )(\d+)`)
)

// Translate puts what a text of a service means on this machine in its place: names of services with a port, addresses that the service
// itself listens on, and paths in its container.
func (s *Stack) Translate(service, text string) (string, error) {
	var missing error
	text = checked.ReplaceAllStringFunc(text, func(line string) string {
		m := checked.FindStringSubmatch(line)
		address, ok := s.ports[m[2]+":"+m[4]]
		if !ok {
			missing = fmt.Errorf("stack: %s: nobody said where %s:%s is", service, m[2], m[4])
		}
		return m[1] + m[2] + m[3] + address[strings.LastIndex(address, ":")+1:]
	})
	text = hostPort.ReplaceAllStringFunc(text, func(found string) string {
		host, port, _ := strings.Cut(found, ":")
		switch _, known := s.Project.Services[host]; {
		case host == "0.0.0.0" || host == "127.0.0.1":
			host = service
		case !known:
			return found // a time, a version
		}
		address, ok := s.ports[host+":"+port]
		if !ok {
			missing = fmt.Errorf("stack: %s: nobody said where %s:%s is", service, host, port)
		}
		return address
	})
	if missing != nil {
		return "", missing
	}
	mounts, err := s.mounts(service)
	if err != nil {
		return "", err
	}
	for _, m := range mounts {
		text = regexp.MustCompile(regexp.QuoteMeta(m.target)+`(/|$|")`).ReplaceAllStringFunc(text, func(found string) string {
			return m.source + strings.TrimPrefix(found, m.target)
		})
	}
	return text, nil
}

// mount is a path in a container and what it is on this machine.
type mount struct{ target, source string }

// mounts of a service, the longest path first.
func (s *Stack) mounts(service string) ([]mount, error) {
	c := s.Project.Services[service]
	var out []mount
	for _, v := range c.Volumes {
		switch folder, ok := s.folders[v.Source]; {
		case v.Type == types.VolumeTypeBind:
			out = append(out, mount{v.Target, v.Source})
		case ok:
			out = append(out, mount{v.Target, folder})
		default:
			return nil, fmt.Errorf("stack: %s: nobody said which folder the volume %s is", service, v.Source)
		}
	}
	for _, secret := range c.Secrets {
		out = append(out, mount{SecretTarget(secret), s.Project.Secrets[secret.Source].File})
	}
	slices.SortFunc(out, func(a, b mount) int { return len(b.target) - len(a.target) })
	return out, nil
}

// SecretTarget is where a service finds a secret.
func SecretTarget(secret types.ServiceSecretConfig) string {
	switch {
	case secret.Target == "":
		return "/run/secrets/" + secret.Source
	case strings.HasPrefix(secret.Target, "/"):
		return secret.Target
	}
	return "/run/secrets/" + secret.Target
}

// TranslateFiles copies what a service mounts at target, a file or a folder, to a folder of this machine with every text translated,
// and mounts the copy in its place. It is for files that name services.
func (s *Stack) TranslateFiles(service, target, folder string) error {
	c := s.Project.Services[service]
	i := slices.IndexFunc(c.Volumes, func(v types.ServiceVolumeConfig) bool { return v.Target == target })
	if i < 0 {
		return fmt.Errorf("stack: %s mounts nothing at %s", service, target)
	}
	source, err := filepath.EvalSymlinks(c.Volumes[i].Source)
	if err != nil {
		return fmt.Errorf("stack: %w", err)
	}
	err = filepath.WalkDir(source, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := filepath.Join(folder, strings.TrimPrefix(path, source))
		if path == source && !d.IsDir() {
			to = filepath.Join(folder, filepath.Base(path))
		}
		if d.IsDir() {
			return os.MkdirAll(to, 0o755)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		text, err := s.Translate(service, string(b))
		if err != nil {
			return err
		}
		return os.WriteFile(to, []byte(text), 0o644)
	})
	if err != nil {
		return fmt.Errorf("stack: %w", err)
	}
	if info, err := os.Stat(source); err == nil && !info.IsDir() {
		folder = filepath.Join(folder, filepath.Base(source))
	}
	c.Volumes[i].Source = folder
	return nil
}
