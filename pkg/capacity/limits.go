package capacity

import (
	"cmp"
	"math"
	"slices"
)

// Limit is something that ends one cell.
type Limit struct {
	Name string `json:"name"`
	// Users is with how many daily users it is reached, all else as in the load.
	Users float64 `json:"users"`
	// Has is what there is, in words; Source where that is known from.
	Has    string `json:"has"`
	Source string `json:"source"`
	// Then is what is done next; Built says whether the program can do it as it is.
	Then  string `json:"then"`
	Built bool   `json:"built"`
	// Hard limits end a cell in the plan. Others are passed by what stands in Then, without a further cell.
	Hard bool `json:"hard"`
}

// hotChats is how many chats the index of all chats takes until a partition of it has 100 MB (scylla/0002_chats.cql).
const hotChats = 640e6

// mostPartitions and mostEdges are settings and bounds of the program.
const (
	mostPartitions = 1024
	mostEdges      = 10_000
)

// limits lists what ends one cell under a load, the nearest first.
func limits(l Load, c Costs, a Assumptions) []Limit {
	const unit = 1e6
	one := l
	one.DailyUsers = unit
	p := planCell(one, c, a)
	at := func(there, perUnit float64) float64 {
		if perUnit <= 0 {
			return math.Inf(1)
		}
		return math.Floor(there / perUnit * unit)
	}
	servers, m := a.ClusterServers, a.Broker
	churn := float64(max(p.interestChurn, p.r.StormPeople))
	held := p.memory.Cursors + p.memory.Chats + p.memory.People + p.memory.IDs
	left := float64(m.Memory) * (a.Utilization - a.InterestShare) * servers
	chats := unit * l.ChatsEver / (2*(1-l.GroupShare) + l.GroupMembers*l.GroupShare)
	out := []Limit{
		{Name: "keys of presence, one bucket", Users: at(c.KeyWrites.Value*a.Utilization, float64(p.keyWrites)), Hard: true,
			Has: PerSecond(c.KeyWrites.Value).String() + " in one stream, half of it planned", Source: c.KeyWrites.Source,
			Then: "keys that live longer than ten minutes, since most writes renew keys of people who stay; then several buckets by a hash of the person"},
		{Name: "keys of presence when all come back", Users: at(c.KeyWrites.Value, float64(p.r.StormPeople)), Hard: true,
			Has: PerSecond(c.KeyWrites.Value).String() + " in one stream", Source: c.KeyWrites.Source,
			Then: "the same; until then a storm takes longer, since an edge has 256 keys on their way and lets people in meanwhile"},
		{Name: "presence, one process tells", Users: at(1e6/c.PresenceChange.Value*a.Utilization, float64(max(p.keyWrites, p.r.StormPeople))), Hard: true,
			Has: "one core, half of it planned", Source: c.PresenceChange.Source,
			Then: "a teller for each bucket, once there are several"},
		{Name: "interest in people's subjects, memory", Users: at(float64(m.Memory)*a.InterestShare, float64(p.memory.Interest)), Hard: true,
			Has: Bytes(float64(m.Memory)*a.InterestShare).String() + " on every server, because each knows all interests of its cluster", Source: c.InterestMemory.Source,
			Then: "a further cell: more servers do not help, and gateways and leaf nodes pass interests on as well"},
		{Name: "interest that comes and goes", Users: at(1e6/c.InterestChange.Value*a.Utilization, churn), Hard: true,
			Has: "one core of every server, half of it planned: an account's interests take one lock and one route", Source: c.InterestChange.Source,
			Then: "a further cell; or edges that stay subscribed for some minutes after somebody has gone"},
		{Name: "subjects and message ids, memory", Users: at(left, float64(held)), Hard: true,
			Has: Bytes(left).String() + " on " + Count(servers) + " servers", Source: c.SubjectMemory.Source,
			Then: "a shorter retention for cursors, which the store has within seconds: they are most of it"},
		{Name: "disk of the log", Users: at(float64(m.Disk)*a.DiskUse*servers, float64(p.log.Disk)), Hard: true,
			Has: (m.Disk * Bytes(a.DiskUse*servers)).String() + " on " + Count(servers) + " servers", Source: "assumption",
			Then: "a shorter --log-retention, down to the longest outage of the store that is planned for; larger disks"},
		{Name: "CPU of the brokers", Users: at(float64(m.Cores)*a.Utilization*servers, float64(p.spread)+float64(p.everywhere)*servers), Hard: true,
			Has: Count(float64(m.Cores)*servers) + " cores on " + Count(servers) + " servers, half of it planned", Source: c.BrokerAppend.Source,
			Then: "a further cell"},
		{Name: "partitions", Users: at(mostPartitions*c.PartitionAppends.Value*a.Utilization/a.PartitionImbalance, float64(max(p.r.Messages, p.r.Cursors))), Hard: true,
			Has: Count(mostPartitions) + " partitions of " + PerSecond(c.PartitionAppends.Value).String() + ", half of it planned", Source: c.PartitionAppends.Source,
			Then: "a further cell; the number of partitions is fixed for the life of a mesh"},
		{Name: "replicated streams and consumers, the meta leader", Users: at((c.HAAssets.Value*servers/l.LogCopies-groupsBeside)/groupsPerPartition*c.PartitionAppends.Value*a.Utilization/a.PartitionImbalance, float64(max(p.r.Messages, p.r.Cursors))), Hard: true,
			Has: Count(c.HAAssets.Value) + " a server, " + Count(servers) + " servers, six of each partition", Source: c.HAAssets.Source,
			Then: "a further cell, which has a meta leader of its own; consumers with one copy in memory would halve the number"},
		{Name: "edges that an api knows", Users: at(mostEdges*a.EdgeConnections, p.r.Connections), Hard: true,
			Has: Count(mostEdges) + " edges of " + Count(a.EdgeConnections) + " connections", Source: "pkg/edges",
			Then: "a further cell"},
		{Name: "index of all chats, in the store", Users: at(hotChats, chats), Hard: false,
			Has: Count(hotChats) + " chats until one of 256 partitions has 100 MB", Source: "scylla/0002_chats.cql",
			Then: "more buckets in a further table; only operators who walk through all chats read it"},
	}
	// What nobody uses is no limit.
	out = slices.DeleteFunc(out, func(x Limit) bool { return math.IsInf(x.Users, 1) })
	slices.SortStableFunc(out, func(a, b Limit) int { return cmp.Compare(a.Users, b.Users) })
	return out
}

// fullCell is how many daily users a cell takes, and what ends it.
func fullCell(l Load, c Costs, a Assumptions) (float64, string) {
	for _, x := range limits(l, c, a) {
		if x.Hard {
			return x.Users, x.Name
		}
	}
	return math.Inf(1), ""
}
