package scenario

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/chatmesh/chatmesh/bench/driver"
	"github.com/chatmesh/chatmesh/bench/peer"
)

// talk connects pairs of people and returns the two addresses of each.
func (c *crowd) talk(ctx context.Context, all []pair) (addresses []*address, err error) {
	for _, p := range all {
		both, err := c.connect(ctx, []peer.Person{p.a, p.b})
		if err != nil {
			return nil, err
		}
		addresses = append(addresses, both[0].address(p.to, both[1]), both[1].address(p.back, both[0]))
	}
	return addresses, nil
}

// talking returns n pairs of people who are connected, and their addresses. The crowd is to leave in the end, unless this fails.
func (r *Run) talking(ctx context.Context, n int) (*crowd, []*address, error) {
	all, err := r.pairs(ctx, n)
	if err != nil {
		return nil, nil, err
	}
	c := newCrowd(r)
	addresses, err := c.talk(ctx, all)
	if err != nil {
		c.leave()
		return nil, nil, err
	}
	return c, addresses, nil
}

// pairs measures how many messages a second pairs exchange at most, with one and with sixteen in flight: a sender sends the next when
// one of those was both acknowledged and delivered.
func pairs(ctx context.Context, r *Run) error {
	for _, window := range []int64{1, 16} {
		if err := fullSpeed(ctx, r, window); err != nil {
			return fmt.Errorf("%d in flight: %w", window, err)
		}
	}
	return nil
}

func fullSpeed(ctx context.Context, r *Run, window int64) error {
	c, addresses, err := r.talking(ctx, r.Scale.Pairs)
	if err != nil {
		return err
	}
	defer c.leave()
	m, err := c.rush(ctx, addresses, window)
	if err != nil {
		return err
	}
	r.Record(fmt.Sprintf("pairs_max_w%d_per_s", window), m.perSecond(), "1/s")
	r.Record(fmt.Sprintf("cpu_us_per_delivery_w%d", window), m.serverMicros(), "µs")
	r.Record(fmt.Sprintf("client_cpu_us_per_delivery_w%d", window), m.clientMicros(), "µs")
	return nil
}

// measured is what happened between two moments.
type measured struct {
	deliveries     int64
	took           time.Duration
	server, client time.Duration // of CPU
}

func (m measured) perSecond() float64    { return float64(m.deliveries) / m.took.Seconds() }
func (m measured) serverMicros() float64 { return micros(m.server) / float64(max(m.deliveries, 1)) }
func (m measured) clientMicros() float64 { return micros(m.client) / float64(max(m.deliveries, 1)) }

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// rush keeps so many messages in flight to each address, and measures.
func (c *crowd) rush(ctx context.Context, addresses []*address, window int64) (measured, error) {
	done := make(chan struct{})
	for _, a := range addresses {
		a.progress = func() { // called by one goroutine: the people of a server are of one loop
			select {
			case <-done:
			default:
				for a.open() < window {
					if err := a.send(-1); err != nil {
						c.fail(err)
						return
					}
				}
			}
		}
	}
	for _, a := range addresses {
		for a.open() < window { // what comes of them may send more
			if err := a.send(-1); err != nil {
				return measured{}, err
			}
		}
		if err := a.from.flush(); err != nil {
			return measured{}, err
		}
	}
	return c.during(ctx, func() { close(done) })
}

// during measures while messages are sent until stop is called, and returns when all of them have come.
func (c *crowd) during(ctx context.Context, stop func()) (measured, error) {
	m, err := c.measure(ctx)
	stop()
	if err != nil {
		return m, err
	}
	return m, c.settle(ctx)
}

// measure lets the crowd do for a while what it does, and measures then.
func (c *crowd) measure(ctx context.Context) (m measured, err error) {
	if err := pause(ctx, c.run.Scale.Warm, c); err != nil {
		return m, err
	}
	pids := c.run.Server.PIDs()
	c.record()
	m = measured{-c.count.Load(), -driver.Clock(), -cpu(pids), -ownCPU()}
	if err := pause(ctx, c.run.Scale.Measure, c); err != nil {
		return m, err
	}
	m.deliveries += c.count.Load()
	m.took += driver.Clock()
	m.server += cpu(pids)
	m.client += ownCPU()
	return m, nil
}

// rate measures how long deliveries take when all pairs together send at a fixed rate, whatever the system does: from the moment at
// which a message was due, so that one that waits for others to be sent has waited.
func rate(ctx context.Context, r *Run) error {
	c, addresses, err := r.talking(ctx, r.Scale.Pairs)
	if err != nil {
		return err
	}
	defer c.leave()
	m, err := c.during(ctx, c.pace(addresses, r.Scale.Rate))
	if err != nil {
		return err
	}
	p50, p99, late := c.percentiles()
	r.Record("client_late_p99_ms", millis(late), "ms") // a part of the delays
	r.Record(fmt.Sprintf("rate%d_p50_ms", r.Scale.Rate), millis(p50), "ms")
	r.Record(fmt.Sprintf("rate%d_p99_ms", r.Scale.Rate), millis(p99), "ms")
	r.Record(fmt.Sprintf("rate%d_cpu_us_per_delivery", r.Scale.Rate), m.serverMicros(), "µs")
	return nil
}

// pace sends to the addresses in turn, so many messages a second in all, until stop is called, which waits for it.
func (c *crowd) pace(addresses []*address, perSecond int) (stop func()) {
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		pacer := driver.NewPacer()
		defer pacer.Close()
		began := driver.Clock()
		for n := 0; ; n++ {
			due := began + time.Duration(n)*time.Second/time.Duration(perSecond)
			pacer.Until(due)
			select {
			case <-quit:
				return
			default:
			}
			a := addresses[n%len(addresses)]
			err := a.send(due)
			if err == nil {
				err = a.from.flush()
			}
			if err != nil {
				c.fail(err)
				return
			}
		}
	}()
	return func() {
		close(quit)
		<-ended
	}
}

// percentiles returns how long half and 99 of 100 of the recorded deliveries took at most, and by how much 99 of 100 were sent too late
// at most, which is a part of that.
func (c *crowd) percentiles() (p50, p99, late time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	slices.Sort(c.latencies)
	slices.Sort(c.lateness)
	at := func(of []time.Duration, p float64) time.Duration {
		if len(of) == 0 {
			return 0
		}
		return of[min(int(p*float64(len(of))), len(of)-1)]
	}
	return at(c.latencies, 0.5), at(c.latencies, 0.99), at(c.lateness, 0.99)
}
