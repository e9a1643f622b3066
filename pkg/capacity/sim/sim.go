package sim

import (
	"encoding/base32"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/chatmesh/chatmesh/pkg/capacity"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/edges"
	"github.com/chatmesh/chatmesh/pkg/subject"
)

// Config is a cell in small.
type Config struct {
	// Users are the daily users that are played; Scale is of how many each is one, so that Users times Scale is the cell.
	Users int
	Scale float64
	// Online is the part of them who are connected, with Devices devices each on the average.
	Online, Devices float64
	// Chats of a person on the average. GroupShare is the part of the messages that goes to groups.
	Chats, GroupShare float64
	// HotGroups are groups of 100 to which HotShare of all messages go.
	HotGroups int
	HotShare  float64
	// Messages are played at the busiest time.
	Messages int
	// Partitions, Edges, Brokers (with Copies of each partition) and the APIs that name edges, as in the whole cell.
	Partitions, Edges, Brokers, Copies, APIs int
	// Utilization is what part of its power a partition's worker uses on the average.
	Utilization float64
	Storm       Storm
	Seed        uint64
}

// Default is a cell of nine million people, of whom as many are played as users says. How many an edge welcomes in a second, and how
// many keys are written, follows from the costs.
func Default(users int, costs capacity.Costs) Config {
	scale := 9e6 / float64(users)
	admit := float64(capacity.Default().Edge.Cores) * 1e6 / costs.EdgeConnect.Value
	return Config{Users: users, Scale: scale, Online: 0.3, Devices: 1.3, Chats: 15, GroupShare: 0.3, HotGroups: 20, HotShare: 0.03,
		Messages: 4 * users, Partitions: 64, Edges: 18, Brokers: 3, Copies: 3, APIs: 3, Utilization: 0.5,
		Storm: Storm{Outage: 120, Admit: admit, Patience: 15, Keys: costs.KeyWrites.Value}, Seed: 1}
}

// Result is what was seen. Ratios are of the fullest to the mean.
type Result struct {
	Users int     `json:"users"`
	Scale float64 `json:"scale"`
	Seed  uint64  `json:"seed"`

	RegionalPeak float64 `json:"regional_peak"`
	WorldPeak    float64 `json:"world_peak"`

	// Partitions is the ratio of appends, Connections and Edges those of connections and deliveries of edges, Brokers that of appends of all
	// copies and what leaders hand out.
	Partitions  float64 `json:"partitions"`
	Connections float64 `json:"connections"`
	Edges       float64 `json:"edges"`
	Brokers     float64 `json:"brokers"`
	// Hottest is the busiest chat's part of all messages. Deliveries are those of a message.
	Hottest    float64 `json:"hottest"`
	Deliveries float64 `json:"deliveries"`
	// Wait99 and WaitMost are how many seconds an event waits for the worker of its partition.
	Wait99   float64 `json:"wait_p99_s"`
	WaitMost float64 `json:"wait_most_s"`

	Storm Return `json:"storm"`
}

// ErrConfig says that there is nothing to play.
var ErrConfig = errors.New("sim: config")

// Run plays. It takes a second for each 200,000 users or so.
func Run(c Config) (Result, error) {
	if c.Users < 1000 || c.Messages < 1 || c.Partitions < 1 || c.Edges < 1 || c.APIs < 1 || c.Copies < 1 || c.Brokers < c.Copies ||
		c.Scale < 1 || c.Online <= 0 || c.Devices < 1 || c.Chats <= 0 || c.Utilization <= 0 || c.Utilization >= 1 {
		return Result{}, ErrConfig
	}
	w := &world{c: c, r: rand.New(rand.NewPCG(c.Seed, 0x636861746d657368))}
	out := Result{Users: c.Users, Scale: c.Scale, Seed: c.Seed, RegionalPeak: Peak(Region), WorldPeak: Peak(World)}
	w.connect()
	w.makeChats()
	w.talk()
	out.Connections = ratio(w.connections)
	out.Partitions, out.Edges, out.Brokers = ratio(w.appends), ratio(w.delivered), ratio(w.brokers())
	out.Hottest = float64(slices.Max(w.said)) / float64(c.Messages)
	sum := 0
	for _, n := range w.delivered {
		sum += n
	}
	out.Deliveries = float64(sum) / float64(c.Messages)
	out.Wait99, out.WaitMost = w.waits()
	out.Storm = w.storm()
	return out, nil
}

// ratio is the greatest over the mean.
func ratio(n []int) float64 {
	sum := 0
	for _, x := range n {
		sum += x
	}
	return float64(slices.Max(n)) * float64(len(n)) / float64(sum)
}

type world struct {
	c Config
	r *rand.Rand

	// devices are the edges of each person's devices; none is who is offline.
	devices     [][]int32
	connections []int // by edge
	online      []int32

	chats []group
	zipf  *rand.Zipf
	said  []int // messages by chat

	appends   []int // by partition
	delivered []int // by edge
	sequence  []int32
}

// group is a chat: a direct one has two members, who follow from its number.
type group struct {
	partition int32
	size      int16
}

// connect puts people on edges, as apis name them: each knows how full edges were at their last beat, and whom it has sent since.
func (w *world) connect() {
	c := w.c
	w.devices = make([][]int32, c.Users)
	w.connections = make([]int, c.Edges)
	told := make([]int, c.Edges) // by the last beat
	sent := make([][]int, c.APIs)
	for i := range sent {
		sent[i] = make([]int, c.Edges)
	}
	const beat = 500 // connections between two beats
	n := 0
	for u := range w.devices {
		if w.r.Float64() >= c.Online {
			continue
		}
		w.online = append(w.online, int32(u))
		for d := 0; d == 0 || w.r.Float64() < 1-1/c.Devices; d++ {
			api := sent[w.r.IntN(c.APIs)]
			e := edges.Choose(c.Edges, func(i int) float64 { return float64(told[i] + api[i] + 1) }, w.r.IntN)
			api[e]++
			w.connections[e]++
			w.devices[u] = append(w.devices[u], int32(e))
			if n++; n%beat == 0 {
				copy(told, w.connections)
				for _, s := range sent {
					clear(s)
				}
			}
		}
	}
}

// makeChats makes hot groups first, then groups, then direct chats, each with an id of its own.
func (w *world) makeChats() {
	c := w.c
	n := int(float64(c.Users) * c.Chats / 3)
	w.chats = make([]group, c.HotGroups+n)
	for i := range w.chats {
		g := &w.chats[i]
		switch {
		case i < c.HotGroups:
			g.size = 100
		case w.r.Float64() < c.GroupShare:
			g.size = w.groupSize()
		default:
			g.size = 2
		}
		g.partition = int32(subject.Partition(w.id(g.size > 2), c.Partitions))
	}
	w.said = make([]int, len(w.chats))
	// A flat beginning and a long tail; the beginning grows with the whole, so that a chat has its part whatever the scale.
	w.zipf = rand.NewZipf(w.r, 1.05, float64(n)/1000, uint64(n-1))
}

// id is an id as the server makes them.
func (w *world) id(group bool) chat.ID {
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:8], w.r.Uint64())
	binary.LittleEndian.PutUint64(b[8:], w.r.Uint64())
	s := strings.ToLower(base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))
	if group {
		return chat.ID("g" + s)
	}
	return chat.ID("d" + s)
}

// groupSize is 3 to 100, about 12 on the average, most below.
func (w *world) groupSize() int16 {
	return int16(min(100, 3+w.r.ExpFloat64()*9))
}

// talk plays the messages.
func (w *world) talk() {
	c := w.c
	w.appends = make([]int, c.Partitions)
	w.delivered = make([]int, c.Edges)
	w.sequence = make([]int32, 0, c.Messages)
	for range c.Messages {
		i := 0
		if w.r.Float64() < c.HotShare && c.HotGroups > 0 {
			i = w.r.IntN(c.HotGroups)
		} else {
			i = c.HotGroups + int(w.zipf.Uint64())
		}
		g := w.chats[i]
		w.said[i]++
		w.appends[g.partition]++
		w.sequence = append(w.sequence, g.partition)
		// The members of a chat follow from its number, so that they need no memory; one of those who are online writes.
		m := rand.NewPCG(c.Seed, uint64(i))
		w.tell(w.online[int(m.Uint64()%uint64(len(w.online)))])
		for range g.size - 1 {
			w.tell(int32(m.Uint64() % uint64(c.Users)))
		}
	}
}

func (w *world) tell(user int32) {
	for _, e := range w.devices[user] {
		w.delivered[e]++
	}
}

// brokers is what each broker does: for each copy of an append one, and for its leader two more, which two workers take. Copies lie on
// the brokers in turn, as the broker places them; who leads is chance.
func (w *world) brokers() []int {
	c := w.c
	out := make([]int, c.Brokers)
	next := 0
	for _, n := range w.appends {
		leader := w.r.IntN(c.Copies)
		for k := range c.Copies {
			b := (next + k) % c.Brokers
			out[b] += n
			if k == leader {
				out[b] += 2 * n
			}
		}
		next += c.Copies
	}
	return out
}

// waits plays the queue before each partition's worker, which has so much power that the mean load takes Utilization of it.
// Messages come at random within the time that is played.
func (w *world) waits() (p99, most float64) {
	c := w.c
	perSecond := float64(c.Users) * 40 / 86400 * Peak(Region)
	service := c.Utilization * float64(c.Partitions) / perSecond // seconds of work for a message
	free := make([]float64, c.Partitions)
	all := make([]float64, 0, len(w.sequence))
	now := 0.0
	for _, p := range w.sequence {
		now += w.r.ExpFloat64() / perSecond
		wait := max(0, free[p]-now)
		free[p] = now + wait + service
		all = append(all, wait)
	}
	slices.Sort(all)
	// In the whole cell a message takes its Scale-th part of the time.
	return all[len(all)*99/100] / c.Scale, all[len(all)-1] / c.Scale
}
