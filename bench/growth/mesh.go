package growth

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"io/fs"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/chatmesh/chatmesh/bench/inside"
	"github.com/chatmesh/chatmesh/services/mesh"
)

// system is a whole mesh within this process.
type system struct {
	*inside.Mesh
	dir string
}

// start starts the services that a message passes behind an edge, with the broker and the store under dir, and returns when
// they are ready. logSync is as the setting.
func start(ctx context.Context, dir, logSync string) (*system, error) {
	m, err := inside.Start(ctx, dir, []string{"--log-sync=" + logSync, "--node=growth", "--pprof"}, mesh.API, mesh.FanOut, mesh.Persister)
	if err != nil {
		return nil, err
	}
	return &system{m, dir}, nil
}

// counts reads the mesh's metrics: the sum of each name's lines of a service; service is empty where it has none.
func (m *system) counts(ctx context.Context) (map[[2]string]float64, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, m.Admin+"/metrics", nil)
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
