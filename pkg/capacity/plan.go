package capacity

import (
	"errors"
	"fmt"
	"math"
)

// Plan is what a load needs.
type Plan struct {
	Load        Load        `json:"load"`
	Assumptions Assumptions `json:"assumptions"`
	// Rates are those of all cells together, each at its own busiest moment.
	Rates Rates `json:"rates"`
	// Cells are NATS clusters with their own edges and store, each for the people of a region. CellUsers is how many a full one has. Several
	// cells have the same size, that of a full one. Packages do not know cells yet: with more than one the plan says what would be needed.
	Cells     float64 `json:"cells"`
	CellUsers float64 `json:"cell_users"`
	// CellBound names the limit that ends a cell.
	CellBound string `json:"cell_bound"`
	// Partitions of a cell's log.
	Partitions float64 `json:"partitions"`
	// Tiers are kinds of process, in the order of a message's way.
	Tiers  []Tier `json:"tiers"`
	Log    Volume `json:"log"`
	Store  Volume `json:"store"`
	Flows  Flows  `json:"flows"`
	Memory Memory `json:"memory"`
	// Limits are what ends one cell, the nearest first.
	Limits []Limit `json:"limits"`
	// Reach says by how far each cost is carried beyond what was measured.
	Reach []Reach `json:"reach"`
}

// Tier is all machines of a kind.
type Tier struct {
	Name     string  `json:"name"`
	Machines float64 `json:"machines"`
	// Bound is what decides how many.
	Bound string `json:"bound"`
	// Cores, Memory, Disk, In and Out are what is used at the busiest moment, of all machines together.
	Cores  Cores         `json:"cores"`
	Memory Bytes         `json:"memory_bytes"`
	Disk   Bytes         `json:"disk_bytes"`
	In     BitsPerSecond `json:"in_bits_per_s"`
	Out    BitsPerSecond `json:"out_bits_per_s"`
	// Descriptors of each machine.
	Descriptors float64 `json:"descriptors_per_machine"`
}

// Volume is what is kept.
type Volume struct {
	// Event is what a message takes in one copy; Raw what a day makes in one copy before compression.
	Event Bytes `json:"event_bytes"`
	Raw   Bytes `json:"raw_per_day_bytes"`
	// Disk is what all copies take when the time is over, as it lies on disks.
	Disk Bytes `json:"disk_bytes"`
	// Writes are rows or appends a second, each copy counted.
	Writes PerSecond `json:"writes_per_s"`
}

// Flows are on networks, of all cells.
type Flows struct {
	FromClients BitsPerSecond `json:"from_clients_bits_per_s"`
	ToClients   BitsPerSecond `json:"to_clients_bits_per_s"`
	// Raft is between brokers for the copies, Routed for people's subjects.
	Raft   BitsPerSecond `json:"raft_bits_per_s"`
	Routed BitsPerSecond `json:"routed_bits_per_s"`
	// Syncs is the most that disks are asked to sync: one for each append and copy. Of many that wait a broker makes one.
	Syncs PerSecond `json:"syncs_at_most_per_s"`
}

// Memory is what brokers hold, of a full cell and all copies, where it decides.
type Memory struct {
	Cursors  Bytes `json:"cursor_subjects_bytes"`
	Chats    Bytes `json:"chat_subjects_bytes"`
	People   Bytes `json:"people_subjects_bytes"`
	IDs      Bytes `json:"message_ids_bytes"`
	Interest Bytes `json:"interest_per_server_bytes"`
	// Start is how many seconds a broker needs at most to know its subjects again.
	Start float64 `json:"start_s"`
}

// ErrLoad says that no cell is small enough for a load: what one person does is more than a cluster takes.
var ErrLoad = errors.New("capacity: load")

// New makes the plan of a load. It fails where the load or the costs are not whole, or a person asks for more than a cluster has.
func New(l Load, c Costs, a Assumptions) (Plan, error) {
	if err := errors.Join(l.Validate(), c.check()); err != nil {
		return Plan{}, err
	}
	p := Plan{Load: l, Assumptions: a, Rates: l.Rates()}
	p.CellUsers, p.CellBound = fullCell(l, c, a)
	if p.CellUsers < 1 {
		return Plan{}, fmt.Errorf("%w: one person is more than a cell takes: %s", ErrLoad, p.CellBound)
	}
	p.CellUsers = min(p.CellUsers, 1e12) // nothing ends it
	p.Cells = math.Ceil(l.DailyUsers / p.CellUsers)
	one := l
	if p.Cells > 1 {
		one.DailyUsers = p.CellUsers
	}
	cell := planCell(one, c, a)
	p.Partitions = cell.partitions
	for _, t := range cell.tiers() {
		t.Machines *= p.Cells
		t.Cores *= Cores(p.Cells)
		t.Memory *= Bytes(p.Cells)
		t.Disk *= Bytes(p.Cells)
		t.In *= BitsPerSecond(p.Cells)
		t.Out *= BitsPerSecond(p.Cells)
		p.Tiers = append(p.Tiers, t)
	}
	p.Memory = cell.memory
	whole := planCell(l, c, a) // volumes and flows are in proportion to people, however they are divided
	p.Log, p.Store, p.Flows = whole.log, whole.store, whole.flows
	p.Limits = limits(l, c, a)
	p.Reach = reach(cell, c, a)
	return p, nil
}

// cell is a plan of one NATS cluster with all around it.
type cell struct {
	load       Load
	r          Rates
	partitions float64

	gateways, edges, brokers, fanouts, persisters, presences, apis, stores Tier

	log, store Volume
	flows      Flows
	memory     Memory
	// interestChurn is how many interests come and go a second at the busiest moment, keyWrites how many keys of presence.
	interestChurn, keyWrites PerSecond
	// spread is the work that brokers share, everywhere what each of them does for all.
	spread, everywhere Cores
}

func (p *cell) tiers() []Tier {
	return []Tier{p.gateways, p.edges, p.brokers, p.fanouts, p.persisters, p.presences, p.apis, p.stores}
}

// duplicateWindow is how long a broker knows a message id, in seconds (pkg/bus).
const duplicateWindow = 120

// groupsPerPartition are the replicated streams and consumers of a partition: two streams, each with a consumer of fan-out and of the
// persister. groupsBeside are those of the buckets, the dead letters and the meta group.
const (
	groupsPerPartition = 6
	groupsBeside       = 9
	// filesPerGroup are those that a broker has open for each.
	filesPerGroup = 4
)

// leastPartitions of a log: with fewer, some brokers would lead many more of them than others.
const leastPartitions = 64

func planCell(l Load, c Costs, a Assumptions) *cell {
	p := &cell{load: l, r: l.Rates()}
	p.volumes(c, a)
	p.partitions = max(leastPartitions, math.Ceil(float64(max(p.r.Messages, p.r.Cursors))*a.PartitionImbalance/(c.PartitionAppends.Value*a.Utilization)))
	p.interestChurn = 2 * p.r.Comings
	p.keyWrites = 2*p.r.Comings + PerSecond(p.r.Online/a.KeyRenewal)
	p.network(c, a)
	p.front(c, a)
	p.broker(c, a)
	p.workers(c, a)
	p.keep(c, a)
	return p
}

// need is one reason for machines.
type need struct {
	what     string
	machines float64
}

// most is how many machines the greatest need asks for, at least so many as there are zones.
func most(least float64, needs ...need) (float64, string) {
	n, bound := least, "one in each zone"
	for _, x := range needs {
		if m := math.Ceil(x.machines - 1e-9); m > n {
			n, bound = m, x.what
		}
	}
	return n, bound
}

// zones is how many there are of what must not fail with one.
const zones = 3

// size decides how many machines of a kind there are, from what is used and what else asks for machines.
func size(t Tier, m Machine, a Assumptions, least float64, further ...need) Tier {
	needs := append([]need{
		{"CPU", float64(t.Cores / m.Cores / Cores(a.Utilization))},
		{"memory", float64(t.Memory / m.Memory / Bytes(a.Utilization))},
		{"disk", float64(t.Disk / m.Disk / Bytes(a.DiskUse))},
		{"network", float64(max(t.In, t.Out) / m.Network / BitsPerSecond(a.Utilization))},
	}, further...)
	t.Machines, t.Bound = most(least, needs...)
	return t
}

// body is the JSON of a message.
func body(l Load, c Costs) Bytes { return l.MessageBytes + Bytes(c.BodyOverhead.Value) }

// cursorBytes is the JSON of a cursor, and a little more than that of a signal.
const cursorBytes = 130 * Bytes(1)

func (p *cell) volumes(c Costs, a Assumptions) {
	l := p.load
	event := body(l, c) + Bytes(c.LogOverhead.Value)
	perDay := Bytes(p.r.MessagesPerDay)
	// Of a cursor only the last is kept, so that a day's moves leave no more than one for each person and chat.
	cursors := Bytes(2*l.DailyUsers*l.ChatsPerUser) * (cursorBytes + Bytes(c.LogOverhead.Value))
	p.log = Volume{Event: event, Raw: perDay * event,
		Disk:   (perDay*event*Bytes(l.LogDays) + cursors) * Bytes(l.LogCopies),
		Writes: p.r.Appends * PerSecond(l.LogCopies)}

	row := body(l, c) + Bytes(c.RowOverhead.Value)
	chats := Bytes(l.DailyUsers*l.ChatsEver) * Bytes(c.ChatRows.Value)
	p.store = Volume{Event: row, Raw: perDay * row,
		Disk:   (perDay*row*Bytes(l.StoreDays) + chats) / Bytes(l.Compression) * Bytes(l.StoreCopies),
		Writes: (p.r.Messages*PerSecond(a.RowsPerMessage) + p.r.Cursors*PerSecond(a.RowsPerCursor)) * PerSecond(l.StoreCopies)}

	copies := Bytes(l.LogCopies) * Bytes(c.SubjectMemory.Value)
	chatsActive := l.DailyUsers * l.ChatsPerUser / (2*(1-l.GroupShare) + l.GroupMembers*l.GroupShare)
	p.memory = Memory{
		Cursors:  Bytes(2*l.DailyUsers*l.ChatsPerUser) * copies,
		Chats:    Bytes(2*chatsActive) * copies,
		People:   (Bytes(p.r.Online) + Bytes(l.DailyUsers)) * copies, // presence, last seen
		IDs:      Bytes(p.r.Messages) * duplicateWindow * Bytes(l.LogCopies) * Bytes(c.MessageIDMemory.Value),
		Interest: Bytes(p.r.Online) * Bytes(c.InterestMemory.Value),
	}
}

func (p *cell) network(c Costs, a Assumptions) {
	l, r := p.load, p.r
	message, small := body(l, c), cursorBytes
	beside := r.Delivered - r.Messages*PerSecond((1+r.Recipients*l.OnlineShare)*l.DevicesPerUser)                                     // cursors and signals
	p.flows.ToClients = ((message + a.FrameOverhead).At(r.Delivered-beside) + (small + a.FrameOverhead).At(beside+r.Messages)).Bits() // acks
	p.flows.FromClients = ((l.MessageBytes + 120 + a.FrameOverhead).At(r.Messages) +
		(small + a.FrameOverhead).At(r.Cursors+r.Messages*PerSecond(l.SignalsPerMessage))).Bits()
	followers := PerSecond(max(l.LogCopies-1, 0))
	p.flows.Raft = (p.log.Event.At(r.Messages*followers) + (cursorBytes + Bytes(c.LogOverhead.Value)).At(r.Cursors*followers)).Bits()
	p.flows.Routed = (message + 100).At(r.Routed).Bits()
	p.flows.Syncs = r.Appends * PerSecond(l.LogCopies)
}

func (p *cell) front(c Costs, a Assumptions) {
	r := p.r
	// In a storm nobody can write who is not back: the greater of both is planned for.
	storm := func(calm Cores, each Cost) Cores { return max(calm, Micros(each.Value).At(r.Storm)) }
	p.gateways = size(Tier{Name: "gateway",
		Cores:  storm(Micros(2*c.EdgeDelivery.Value).At(r.Delivered), c.GatewayHandshake),
		Memory: Bytes(r.Connections) * Bytes(c.GatewayMemory.Value+2*c.KernelMemory.Value),
		In:     p.flows.FromClients + p.flows.ToClients, Out: p.flows.FromClients + p.flows.ToClients,
	}, a.Gateway, a, zones)
	p.gateways.Descriptors = math.Ceil(2 * r.Connections / p.gateways.Machines)

	p.edges = size(Tier{Name: "edge",
		Cores: storm(c.calibration()*Micros(c.EdgeDelivery.Value).At(r.Delivered*PerSecond(a.EdgeImbalance))+
			Micros(c.EdgeConnect.Value).At(r.Comings*PerSecond(p.load.DevicesPerUser)), c.EdgeConnect),
		Memory: Bytes(r.Connections) * Bytes(c.EdgeMemory.Value+c.KernelMemory.Value),
		In:     p.flows.FromClients + p.flows.Routed, Out: p.flows.ToClients,
	}, a.Edge, a, zones, need{"connections", r.Connections / a.EdgeConnections})
	p.edges.Descriptors = math.Ceil(r.Connections / p.edges.Machines)
}

func (p *cell) broker(c Costs, a Assumptions) {
	l, r := p.load, p.r
	copies := l.LogCopies
	spread := Micros(c.BrokerAppend.Value*copies).At(r.Appends+p.keyWrites+r.Comings) + // and last seen
		Micros(c.BrokerConsume.Value).At(2*r.Appends) +
		Micros(c.BrokerRoute.Value).At(r.Routed) +
		Micros(0.3*c.BrokerDeliver.Value).At(r.Published-r.Routed) // nobody listens
	spread *= Cores(a.BrokerImbalance) * c.calibration()
	everywhere := Micros(c.InterestChange.Value).At(p.interestChurn)
	held := p.memory.Cursors + p.memory.Chats + p.memory.People + p.memory.IDs
	in := p.flows.Raft + p.flows.Routed*2 + p.log.Event.At(r.Messages).Bits() + cursorBytes.At(r.Cursors).Bits()
	t := Tier{Name: "broker", Cores: spread, Memory: held, Disk: p.log.Disk,
		In: in, Out: p.flows.Raft + p.flows.Routed*2 + 2*(p.log.Event.At(r.Messages)+cursorBytes.At(r.Cursors)).Bits()}
	m := a.Broker
	// What every server holds and does for all is not there for its share.
	free := max(1e-9, float64(m.Memory)*a.Utilization-float64(p.memory.Interest))
	idle := max(1e-9, float64(m.Cores)*a.Utilization-float64(everywhere))
	t = size(t, m, a, max(zones, copies),
		need{"memory", float64(held) / free},
		need{"CPU", float64(spread) / idle},
		need{"replicated streams and consumers", (p.partitions*groupsPerPartition + groupsBeside) * copies / c.HAAssets.Value})
	p.spread, p.everywhere = t.Cores, everywhere
	t.Cores += everywhere * Cores(t.Machines)
	t.Memory += p.memory.Interest * Bytes(t.Machines)
	edges := p.edges.Machines + p.edges.Machines/4 // and the workers
	t.Descriptors = math.Ceil(edges/t.Machines + 4*t.Machines + filesPerGroup*(p.partitions*groupsPerPartition+groupsBeside)*copies/t.Machines)
	p.brokers = t
	subjects := float64(p.memory.Cursors+p.memory.Chats+p.memory.People) / c.SubjectMemory.Value
	p.memory.Start = subjects / t.Machines * c.SubjectStart.Value / 1e6
}

func (p *cell) workers(c Costs, a Assumptions) {
	l, r := p.load, p.r
	event := p.log.Event.At(r.Messages) + cursorBytes.At(r.Cursors)
	p.fanouts = size(Tier{Name: "fanout", Cores: c.calibration() * (Micros(c.WorkerConsume.Value).At(r.Appends) + Micros(c.WorkerPublish.Value).At(r.Published)),
		Memory: Bytes(zones) * GB, In: event.Bits(), Out: (body(l, c) + 100).At(r.Published).Bits()}, a.Worker, a, zones)
	rows := p.store.Writes / PerSecond(l.StoreCopies)
	p.persisters = size(Tier{Name: "persister", Cores: c.calibration() * (Micros(c.WorkerConsume.Value).At(r.Appends) + Micros(c.PersistRow.Value).At(rows)),
		Memory: Bytes(zones) * GB, In: event.Bits(), Out: 2 * event.Bits()}, a.Worker, a, zones)
	// Each presence process has everybody; one of them tells changes, so that more of them do not help.
	each := Bytes(r.Online) * Bytes(c.PresenceMemory.Value)
	changes := Micros(c.PresenceChange.Value).At(max(p.keyWrites, r.StormPeople))
	p.presences = Tier{Name: "presence", Machines: zones, Bound: "one in each zone", Cores: changes * zones, Memory: each * zones,
		In: (Bytes(200).At(p.keyWrites) * zones).Bits(), Out: Bytes(200).At(p.keyWrites).Bits()}
	page := 50 * body(l, c)
	p.apis = size(Tier{Name: "api", Cores: Micros(c.APIPage.Value).At(r.Pages), Memory: Bytes(zones) * GB,
		In: page.At(r.Pages).Bits(), Out: page.At(r.Pages).Bits()}, a.Worker, a, zones)
}

// compactionWork is how many times the work of writing rows the compaction behind it takes.
const compactionWork = 1.0

func (p *cell) keep(c Costs, a Assumptions) {
	row := p.store.Event
	in := row.At(p.r.Messages * PerSecond(p.load.StoreCopies)).Bits()
	p.stores = size(Tier{Name: "store", Disk: p.store.Disk,
		Cores:  Micros(c.StoreRow.Value*(1+compactionWork)).At(p.store.Writes) + Micros(c.StorePage.Value).At(p.r.Pages*2), // two of three copies are asked
		Memory: Bytes(float64(p.store.Disk) / 100),                                                                         // what ScyllaDB advises at the least
		In:     in, Out: in + (50 * body(p.load, c)).At(p.r.Pages).Bits()}, a.Store, a, max(zones, p.load.StoreCopies))
}
