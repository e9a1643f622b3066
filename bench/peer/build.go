package peer

import (
	"context"
	"sync"
)

// build is a program of the repository, built when it is first needed and then no more: linking would cost each start some seconds.
type build struct {
	pkg string

	mu   sync.Mutex
	path string // guarded by mu; empty is not built
}

// get returns where the program is.
func (b *build) get(ctx context.Context) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.path != "" {
		return b.path, nil
	}
	path, err := goBuild(ctx, b.pkg)
	b.path = path
	return path, err
}
