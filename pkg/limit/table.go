package limit

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// Who does something, as far as it is known: what is empty is not counted by. Person is an id, or the name that somebody tries to log
// in with.
type Who struct{ Person, Session, Address string }

func (w Who) of(s Scope) string {
	switch s {
	case Person:
		return w.Person
	case Session:
		return w.Session
	}
	return w.Address
}

// Action is something that is done N times at once.
type Action struct {
	Kind Kind
	N    int
}

// Table holds the buckets of a process: those who share it count together. It is a prometheus.Collector. A nil Table limits nothing.
type Table struct {
	rules    Rules
	limiters map[Kind]*[len(Scopes)]*Limiter // nil where the scope has no limit
	refusals map[Kind]string
	// crowded and greedy count what Connections and Watched refused.
	crowded, greedy atomic.Uint64
}

// NewTable returns a Table whose buckets are full. now is the clock; nil is time.Now.
func NewTable(r Rules, now func() time.Time) *Table {
	t := &Table{rules: r, limiters: make(map[Kind]*[len(Scopes)]*Limiter, len(table)), refusals: make(map[Kind]string, len(table))}
	for _, a := range table {
		t.refusals[a.kind] = a.refusal
		t.limiters[a.kind] = &[len(Scopes)]*Limiter{}
		for i, s := range Scopes {
			if rate := r.Rates[a.kind][s]; rate.Count > 0 {
				t.limiters[a.kind][i] = New(rate.config(r.Keys, now))
			}
		}
	}
	return t
}

// Allow tells whether somebody may do something now, and counts it if so. It fails with RateLimited and the time to wait.
func (t *Table) Allow(w Who, k Kind) error { return t.AllowAll(w, Action{k, 1}) }

// AllowAll is Allow for several actions at once, all of which are counted or none, unless others of the same who are counted at the
// same moment. A kind that is not in the table is not limited.
func (t *Table) AllowAll(w Who, actions ...Action) error {
	if t == nil {
		return nil
	}
	var longest time.Duration
	var refused Kind
	each := func(what func(l *Limiter, key string, n int) time.Duration) {
		for _, a := range actions {
			limiters := t.limiters[a.Kind]
			if limiters == nil {
				continue
			}
			for i, s := range Scopes {
				if l, key := limiters[i], w.of(s); l != nil && key != "" {
					if wait := what(l, key, a.N); wait > longest {
						longest, refused = wait, a.Kind
					}
				}
			}
		}
	}
	each((*Limiter).Wait)
	if longest == 0 {
		each(func(l *Limiter, key string, n int) time.Duration {
			_, wait := l.AllowN(key, n)
			return wait
		})
	}
	if longest > 0 {
		return chat.Retry(chat.RateLimited, longest, t.refusals[refused])
	}
	return nil
}

// Connections is how many WebSockets a person may have on one edge.
func (t *Table) Connections() int {
	if t == nil || t.rules.Connections == 0 {
		return math.MaxInt
	}
	return t.rules.Connections
}

// Crowded counts a WebSocket that was refused because of Connections.
func (t *Table) Crowded() {
	if t != nil {
		t.crowded.Add(1)
	}
}

// Watched is how many people all WebSockets of a person on one edge may watch together, somebody whom two watch counting twice.
func (t *Table) Watched() int {
	if t == nil || t.rules.Watched == 0 {
		return math.MaxInt
	}
	return t.rules.Watched
}

// Greedy counts a list that was refused because of Watched.
func (t *Table) Greedy() {
	if t != nil {
		t.greedy.Add(1)
	}
}

// What is told to Prometheus. No label holds who it was.
var (
	refusedDesc = prometheus.NewDesc("chatmesh_limit_refused_total",
		"What was refused because somebody did too much of it, by kind and by what was counted.", []string{"kind", "per"}, nil)
	keysDesc = prometheus.NewDesc("chatmesh_limit_keys",
		"Persons, sessions and addresses that are remembered, of all kinds together.", []string{"per"}, nil)
	forgottenDesc = prometheus.NewDesc("chatmesh_limit_forgotten_total",
		"Of these, those that had to be forgotten too early to make room.", []string{"per"}, nil)
)

// Describe is that of prometheus.Collector.
func (t *Table) Describe(to chan<- *prometheus.Desc) {
	to <- refusedDesc
	to <- keysDesc
	to <- forgottenDesc
}

// Collect is that of prometheus.Collector.
func (t *Table) Collect(to chan<- prometheus.Metric) {
	count := func(d *prometheus.Desc, n uint64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	for i, s := range Scopes {
		keys, forgotten := 0, uint64(0)
		for _, a := range table {
			if l := t.limiters[a.kind][i]; l != nil {
				stats := l.Stats()
				count(refusedDesc, stats.Denied, string(a.kind), string(s))
				keys, forgotten = keys+stats.Keys, forgotten+stats.Evicted
			}
		}
		to <- prometheus.MustNewConstMetric(keysDesc, prometheus.GaugeValue, float64(keys), string(s))
		count(forgottenDesc, forgotten, string(s))
	}
	count(refusedDesc, t.crowded.Load(), "connections", string(Person))
	count(refusedDesc, t.greedy.Load(), "watched", string(Person))
}
