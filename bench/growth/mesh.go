package growth

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/chatmesh/chatmesh/pkg/config"
	"github.com/chatmesh/chatmesh/services/mesh"
)

// system is a whole mesh within this process, so that its CPU, memory and allocations are those of the process.
type system struct {
	dir           string
	broker, admin string // URLs
	partitions    int
	stop          func() error
}

// readyLine has the addresses that a mesh tells when it is ready.
var readyLine = regexp.MustCompile(`admin (http://\S+/), (nats://[^\s)]+)`)

// start starts the services that a message passes behind an edge, with the broker and the store under dir, and returns when
// they are ready. logSync is as the setting.
func start(ctx context.Context, dir, logSync string) (*system, error) {
	var cli struct{ config.Settings }
	if _, err := config.Parse([]string{"--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--nats-listen=127.0.0.1:0", "--rate-limits=off",
		"--data=" + dir, "--log-sync=" + logSync, "--node=growth", "--pprof"}, &cli); err != nil {
		return nil, err
	}
	m, err := mesh.New(&cli.Settings, "0.0.0-bench", slog.New(slog.DiscardHandler), mesh.API, mesh.FanOut, mesh.Persister)
	if err != nil {
		return nil, err
	}
	back, cancel := context.WithCancel(context.WithoutCancel(ctx))
	said, ended := make(lines, 1), make(chan struct{})
	var endErr error
	go func() { defer close(ended); endErr = m.Run(back, said) }()
	stop := sync.OnceValue(func() error { cancel(); <-ended; return endErr })
	select {
	case line := <-said:
		found := readyLine.FindStringSubmatch(line)
		if found == nil {
			return nil, errors.Join(fmt.Errorf("a mesh said %q", line), stop())
		}
		return &system{dir: dir, admin: found[1], broker: found[2], partitions: cli.Partitions, stop: stop}, nil
	case <-ended:
		cancel()
		return nil, errors.Join(errors.New("the mesh ended"), endErr)
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), stop())
	}
}

// lines takes what is written, as much as it holds.
type lines chan string

// Write takes a line, or drops it.
func (l lines) Write(b []byte) (int, error) {
	select {
	case l <- string(b):
	default:
	}
	return len(b), nil
}

// counts reads the mesh's metrics: the sum of each name's lines of a service; service is empty where it has none.
func (m *system) counts(ctx context.Context) (map[[2]string]float64, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, m.admin+"metrics", nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	out := map[[2]string]float64{}
	for lines := bufio.NewScanner(bytes.NewReader(body)); lines.Scan(); {
		line := lines.Text()
		if strings.HasPrefix(line, "#") {
			continue
		}
		name, value, ok := strings.Cut(line, " ")
		if at := strings.LastIndexByte(line, ' '); ok {
			name, value = line[:at], line[at+1:]
		}
		labels := ""
		if at := strings.IndexByte(name, '{'); at >= 0 {
			name, labels = name[:at], name[at:]
		}
		service := ""
		if _, rest, ok := strings.Cut(labels, `service="`); ok {
			service, _, _ = strings.Cut(rest, `"`)
		}
		if v, err := strconv.ParseFloat(value, 64); err == nil {
			out[[2]string{service, name}] += v
		}
	}
	return out, nil
}

// disk is how many bytes the logs and the store take.
func (m *system) disk() (sum int64) {
	_ = filepath.WalkDir(m.dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil // gone meanwhile
		}
		if i, err := d.Info(); err == nil {
			sum += i.Size()
		}
		return nil
	})
	return sum
}
