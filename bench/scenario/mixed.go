package scenario

import (
	"context"
	"time"

	"github.com/chatmesh/chatmesh/bench/peer"
)

const (
	// smallGroup is how many people are in a group of the mixed day.
	smallGroup = 10
	// groupShare is one in how many messages of the mixed day goes to a group.
	groupShare = 5
	// readsAfter is after how many messages somebody looks at the screen.
	readsAfter = 4
	// comings is how many people come and go in a second of the mixed day.
	comings = 20
)

// mixed is a day in some seconds: people write to each other and, one message in five, to groups of ten, all at half the rate of the
// scenario rate; every fourth time what came is marked as read, where the protocol knows of that; others come and go meanwhile.
func mixed(ctx context.Context, r *Run) error {
	all, err := r.pairs(ctx, r.Scale.Pairs)
	if err != nil {
		return err
	}
	var who []peer.Person
	for _, p := range all {
		who = append(who, p.a, p.b)
	}
	names := make([]string, len(who)/smallGroup) // made before anybody connects: some systems let people in when they do
	err = peer.Each(ctx, len(names), 8, func(i int) (err error) {
		names[i], err = r.Server.Group(ctx, who[i*smallGroup:(i+1)*smallGroup])
		return err
	})
	if err != nil {
		return err
	}
	c := newCrowd(r)
	defer c.leave()
	direct, err := c.talk(ctx, all)
	if err != nil {
		return err
	}
	people := make([]*person, len(direct))
	for i, a := range direct {
		people[i] = a.from
		a.from.reads = readsAfter // nothing has been sent
	}
	groups := make([]*address, len(names))
	for i, name := range names {
		members := people[i*smallGroup : (i+1)*smallGroup]
		groups[i] = members[0].address(name, members[1:]...)
	}
	var turns []*address
	for i := 0; len(turns) < len(direct)*groupShare; i++ {
		if a := direct[i%len(direct)]; i%groupShare == 0 {
			turns = append(turns, groups[i/groupShare%len(groups)])
		} else {
			turns = append(turns, a)
		}
	}
	passing, err := r.Server.People(ctx, comings)
	if err != nil {
		return err
	}
	comeAndGo := c.comeAndGo(ctx, passing)
	stop := c.pace(turns, r.Scale.Rate/2)
	m, err := c.during(ctx, func() { stop(); comeAndGo() })
	if err != nil {
		return err
	}
	p50, p99, _ := c.percentiles()
	r.Record("mixed_p50_ms", millis(p50), "ms")
	r.Record("mixed_p99_ms", millis(p99), "ms")
	r.Record("mixed_cpu_us_per_delivery", m.serverMicros(), "µs")
	return nil
}

// comeAndGo lets one of the people after another connect and leave again, all of them once a second, until stop is called, which waits
// for it.
func (c *crowd) comeAndGo(ctx context.Context, people []peer.Person) (stop func()) {
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(time.Second / time.Duration(len(people)))
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-quit:
				return
			case <-tick.C:
			}
			p := &person{crowd: c, who: people[n%len(people)]}
			if err := p.dial(ctx, c.run.Server.Dial); err != nil {
				c.fail(err)
				return
			}
			p.leave()
		}
	}()
	return func() {
		close(quit)
		<-ended
	}
}
