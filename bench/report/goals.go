package report

import (
	"math"
	"strings"
)

// Goal is what is to be reached, and how it follows from the figures of one run.
type Goal struct {
	// What is measured, and Text the goal as it is told.
	What, Text string
	// Unit of the value: "×" for a ratio.
	Unit string
	// Limit is what the value must be at least or, with Most, at most.
	Limit float64
	Most  bool
	// Peers is the figure of which the other systems' values are told.
	Peers string
	value func(lookup) (float64, bool)
	// along is what grows, and far how far it has to be measured; empty for figures that do not grow.
	along string
	far   float64
}

// Verdict says whether a goal was reached.
type Verdict struct {
	Goal
	Value             float64
	Measured, Reached bool
	// UpTo is how far it was measured, where that is less than the goal asks for; otherwise zero.
	UpTo float64
	// Run are the values of Peers of all systems, chatmesh's first.
	Run []Figure
}

// Judge holds a run against the goals, all of them, in their order.
func Judge(r Results) []Verdict {
	l := lookup{r}
	var out []Verdict
	for _, g := range Goals() {
		v := Verdict{Goal: g}
		v.Value, v.Measured = g.value(l)
		if math.IsNaN(v.Value) || math.IsInf(v.Value, 0) {
			v.Value, v.Measured = 0, false
		}
		v.Reached = v.Measured && (g.Most && v.Value <= g.Limit || !g.Most && v.Value >= g.Limit)
		if end := l.end(g.along); v.Measured && end < g.far {
			v.UpTo = end
		}
		v.Run = l.of(g.Peers)
		out = append(out, v)
	}
	return out
}

// Names of systems and figures that goals are about.
const (
	ours, unsynced      = "chatmesh", "chatmesh-unsynced"
	lean, plain         = "hub-lean", "hub-plain"
	single, ejabberd    = "jetstream-single", "ejabberd-pg"
	rate50, rate99      = "rate2000_p50_ms", "rate2000_p99_ms"
	most1, most16       = "pairs_max_w1_per_s", "pairs_max_w16_per_s"
	group, idle         = "group100_deliveries_per_s", "idle_kb_per_user"
	storm, storm3       = "connect_storm_s", "connect_storm_50k_s"
	pageStore, pageHTTP = "history_page_store_p99_ms", "history_page_p99_ms"
	pageMiddle          = "history_page_store_p50_ms"
	large10, small10    = "history_page10_large_p50_ms", "history_page10_small_p50_ms"
	persisted           = "persister_per_s"
	catchUp, live       = "persister_catchup_per_s", "persister_live_per_s"
	presenceCPU         = "presence_core_percent"
	presenceChange      = "presence_change_p99_ms"
)

// Goals are all there are.
func Goals() []Goal {
	goals := []Goal{
		{What: "messages/s, acked and synced", Text: "≥ 5 × JetStream one by one", Unit: "×", Limit: 5, Peers: most16, value: overBest(ours, single)},
		{What: "messages/s, acked and synced", Text: "≥ 10 × ejabberd with PostgreSQL", Unit: "×", Limit: 10, Peers: most16, value: overBest(ours, ejabberd)},
		{What: "messages/s, 16 in flight over 1", Text: "rising with the number in flight: > 1", Unit: "×", Limit: 1.01, Peers: most1,
			value: ratio(most16, ours, most1, ours)},
		{What: "p99 at 2,000 msg/s, synced, over the bare hub's", Text: "≤ 3 ms where the bare hub shows 0.4: ≤ 7.5 ×", Unit: "×", Limit: 7.5, Most: true,
			Peers: rate99, value: ratio(rate99, ours, rate99, plain)},
		{What: "p99 at 2,000 msg/s of ejabberd over that, synced", Text: "below ejabberd's by 20 ×", Unit: "×", Limit: 20, Peers: rate99,
			value: ratio(rate99, ejabberd, rate99, ours)},
		{What: "p99 at 2,000 msg/s, log not synced", Text: "≤ 3 × the bare hub", Unit: "×", Limit: 3, Most: true, Peers: rate99,
			value: ratio(rate99, unsynced, rate99, plain)},
		{What: "messages/s, log not synced", Text: "≥ 0.5 × the lean hub", Unit: "×", Limit: 0.5, Peers: most16, value: ratio(most16, unsynced, most16, lean)},
	}
	for _, peer := range []string{"mosquitto", "socketio", "centrifuge"} {
		goals = append(goals, Goal{What: "messages/s, log not synced", Text: "above " + peer, Unit: "×", Limit: 1.01, Peers: most16, value: overBest(unsynced, peer)})
	}
	return append(goals,
		Goal{What: "group of 100: deliveries/s, one sender at full speed", Text: "≥ 0.6 × a bare loop of prepared frames (the lean hub)", Unit: "×", Limit: 0.6,
			Peers: group, value: ratio(group, ours, group, lean)},
		Goal{What: "memory of an idle user, everything of ours counted", Text: "≤ 4 KB at first", Unit: "KB", Limit: 4, Most: true, Peers: idle, value: one(idle, ours)},
		Goal{What: "memory of an idle user, everything of ours counted", Text: "then ≤ 3 KB", Unit: "KB", Limit: 3, Most: true, Peers: idle, value: one(idle, ours)},
		Goal{What: "connect storm: 18,000 on one edge", Text: "≤ 15 s", Unit: "s", Limit: 15, Most: true, Peers: storm, value: one(storm, ours)},
		Goal{What: "connect storm: 50,000 on three edges", Text: "≤ 30 s", Unit: "s", Limit: 30, Most: true, Peers: storm3, value: one(storm3, ours)},
		Goal{What: "history page of 50 of 1,000,000, embedded store", Text: "p99 < 1 ms", Unit: "ms", Limit: 0.999, Most: true, Peers: pageStore, value: one(pageStore, ours)},
		Goal{What: "history page of 50 of 1,000,000, CQL", Text: "≤ 1.3 × the driver's bare query", Unit: "×", Limit: 1.3, Most: true, Peers: pageMiddle,
			value: ratio(pageMiddle, "chatmesh-cql", pageMiddle, "gocql-bare")},
		Goal{What: "the 10 newest of 1,000,000 over those of 10, embedded store", Text: "the same (within 1.5 ×)", Unit: "×", Limit: 1.5, Most: true, Peers: large10,
			value: ratio(large10, ours, small10, ours)},
		Goal{What: "the 10 newest of 1,000,000 over those of 10, CQL", Text: "the same (within 1.5 ×)", Unit: "×", Limit: 1.5, Most: true, Peers: large10,
			value: ratio(large10, "chatmesh-cql", small10, "chatmesh-cql")},
		Goal{What: "persister into the embedded store", Text: "≥ 0.7 × bare batches of the same rows", Unit: "×", Limit: 0.7, Peers: persisted,
			value: ratio(persisted, ours, persisted, "pebble-bare")},
		Goal{What: "persister into CQL", Text: "≥ 0.7 × the driver's bare batches of the same rows", Unit: "×", Limit: 0.7, Peers: persisted,
			value: ratio(persisted, "chatmesh-cql", persisted, "gocql-bare")},
		Goal{What: "lag back to zero after an outage", Text: "≥ 3 × the live rate", Unit: "×", Limit: 3, Peers: catchUp, value: ratio(catchUp, ours, live, ours)},
		Goal{What: "presence: 100,000 people with heartbeats", Text: "< 10 % of a core", Unit: "%", Limit: 9.99, Most: true, Peers: presenceCPU, value: one(presenceCPU, ours)},
		Goal{What: "presence: a change is seen", Text: "p99 ≤ 50 ms", Unit: "ms", Limit: 50, Most: true, Peers: presenceChange, value: one(presenceChange, ours)},
		Goal{What: "cost of a message, most over least, 1,000 to 1,000,000 chats", Text: "flat (within 1.5 ×)", Unit: "×", Limit: 1.5, Most: true, value: spread("chats"), along: "chats", far: 1_000_000},
		Goal{What: "cost of a message, most over least, 100 to 18,000 connections", Text: "flat (within 1.5 ×)", Unit: "×", Limit: 1.5, Most: true, value: spread("connections"), along: "connections", far: 18_000},
	)
}

// one is the value of a figure.
func one(name, system string) func(lookup) (float64, bool) {
	return func(l lookup) (float64, bool) { return l.value(name, system) }
}

// ratio is one figure over another.
func ratio(name, system, over, other string) func(lookup) (float64, bool) {
	return func(l lookup) (float64, bool) {
		a, ok := l.value(name, system)
		b, too := l.value(over, other)
		return a / b, ok && too
	}
}

// overBest is messages/s of a system with 16 in flight over what another does best, with 1 or 16.
func overBest(system, other string) func(lookup) (float64, bool) {
	return func(l lookup) (float64, bool) {
		a, ok := l.value(most16, system)
		b, one := l.value(most1, other)
		c, many := l.value(most16, other)
		return a / max(b, c), ok && (one || many)
	}
}

// costs are the series of what a message costs along something, which are those in µs.
func (l lookup) costs(along string) (out []Series) {
	for _, s := range l.r.Series {
		if along != "" && s.System == ours && strings.HasPrefix(s.X, along) && s.Unit == "µs" && len(s.Points) > 1 {
			out = append(out, s)
		}
	}
	return out
}

// end is how far all costs along something were measured.
func (l lookup) end(along string) float64 {
	end := math.Inf(1)
	for _, s := range l.costs(along) {
		far := 0.0
		for _, p := range s.Points {
			far = max(far, p.X)
		}
		end = min(end, far)
	}
	return end
}

// spread is the greatest over the least cost of a message along something, of the series in which that is most.
func spread(along string) func(lookup) (float64, bool) {
	return func(l lookup) (worst float64, found bool) {
		for _, s := range l.costs(along) {
			least, greatest := math.Inf(1), 0.0
			for _, p := range s.Points {
				least, greatest = min(least, p.Y), max(greatest, p.Y)
			}
			worst, found = max(worst, greatest/least), true
		}
		return worst, found
	}
}
