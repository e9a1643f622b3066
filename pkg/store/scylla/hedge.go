package scylla

import (
	"sync"
	"time"

	"github.com/gocql/gocql"
)

// hedge asks a second host of a read that the first has not answered in time, where there is a second one: the driver takes a
// second request for which no host is left for the answer, and the read fails although the first one is still on its way.
type hedge struct {
	dc string // of the hosts that count; empty is any

	mu sync.Mutex // guards the following fields
	up map[string]struct{}
}

// slowAfter is when the second host is asked.
const slowAfter = 100 * time.Millisecond

func newHedge(dc string) *hedge { return &hedge{dc: dc, up: map[string]struct{}{}} }

// Attempts is how many more hosts are asked.
func (h *hedge) Attempts() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.up) < 2 {
		return 0
	}
	return 1
}

// Delay is when.
func (h *hedge) Delay() time.Duration { return slowAfter }

// forget begins anew, for another session.
func (h *hedge) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.up)
}

// set is told of a host.
func (h *hedge) set(host *gocql.HostInfo, up bool) {
	h.count(host.HostID(), up && host.IsUp() && (h.dc == "" || host.DataCenter() == h.dc))
}

func (h *hedge) count(host string, usable bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if usable {
		h.up[host] = struct{}{}
	} else {
		delete(h.up, host)
	}
}

// watched tells the hedge which hosts there are, and knows the session that it was made for.
type watched struct {
	gocql.HostSelectionPolicy
	hedge   *hedge
	session *gocql.Session // set before anything connects
}

// Init is told of the session.
func (w *watched) Init(s *gocql.Session) {
	w.session = s
	w.HostSelectionPolicy.Init(s)
}

// AddHost is told of a new host.
func (w *watched) AddHost(h *gocql.HostInfo) {
	w.hedge.set(h, true)
	w.HostSelectionPolicy.AddHost(h)
}

// RemoveHost is told of a host that is gone.
func (w *watched) RemoveHost(h *gocql.HostInfo) {
	w.hedge.set(h, false)
	w.HostSelectionPolicy.RemoveHost(h)
}

// HostUp is told of a host that came back.
func (w *watched) HostUp(h *gocql.HostInfo) {
	w.hedge.set(h, true)
	w.HostSelectionPolicy.HostUp(h)
}

// HostDown is told of a host that went away.
func (w *watched) HostDown(h *gocql.HostInfo) {
	w.hedge.set(h, false)
	w.HostSelectionPolicy.HostDown(h)
}
