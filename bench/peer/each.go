package peer

import (
	"context"
	"sync"
)

// Each calls do with 0 to n-1, from some goroutines, until one fails.
func Each(ctx context.Context, n, goroutines int, do func(i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for w := range min(goroutines, n) {
		wg.Go(func() {
			for i := w; i < n && ctx.Err() == nil; i += goroutines {
				if err := do(i); err != nil {
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}
