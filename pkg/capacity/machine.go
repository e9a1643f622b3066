package capacity

// Machine is a kind of machine. Its figures are what is sold; how far each is used says Assumptions.
type Machine struct {
	Cores   Cores         `json:"cores"`
	Memory  Bytes         `json:"memory_bytes"`
	Disk    Bytes         `json:"disk_bytes"`
	Network BitsPerSecond `json:"network_bits_per_s"`
}

// Assumptions are what a plan takes for granted beside costs and load.
type Assumptions struct {
	// Utilization is how far cores, memory and networks are used at the busiest moment: so much that one of three zones may be lost and
	// the others carry its part. DiskUse is how full disks become: the rest is for compaction and for what is late.
	Utilization float64 `json:"utilization"`
	DiskUse     float64 `json:"disk_use"`
	// PartitionImbalance, EdgeImbalance and BrokerImbalance are the fullest over the mean: of a partition's appends, of an edge's deliveries, of
	// the appends of a broker that leads partitions. They come from package sim.
	PartitionImbalance float64 `json:"partition_imbalance"`
	EdgeImbalance      float64 `json:"edge_imbalance"`
	BrokerImbalance    float64 `json:"broker_imbalance"`
	// EdgeConnections is how many connections an edge is to have at most. What is gone with an edge has to come back.
	EdgeConnections float64 `json:"edge_connections"`
	// ClusterServers is how many servers one NATS cluster is to have at most: each has a route to each other.
	ClusterServers float64 `json:"cluster_servers"`
	// InterestShare is the part of a broker's memory that may be interest in people's subjects.
	InterestShare float64 `json:"interest_share"`
	// RowsPerMessage are the rows that the persister writes for a message: message, client id, the sender's cursor, the chat's head, and the
	// index of chats, of which only 50,000 are remembered as there. RowsPerCursor those for a cursor.
	RowsPerMessage float64 `json:"rows_per_message"`
	RowsPerCursor  float64 `json:"rows_per_cursor"`
	// KeyRenewal is after how many seconds an edge writes the key of somebody who stays online again, on the average: between half and three
	// quarters of the ten minutes that a key lives.
	KeyRenewal float64 `json:"key_renewal_s"`
	// FrameOverhead is what a frame takes on the network beside its body: WebSocket, TLS, TCP, IP. Several in one segment take less.
	FrameOverhead Bytes `json:"frame_overhead_bytes"`

	Gateway Machine `json:"gateway"`
	Edge    Machine `json:"edge"`
	Broker  Machine `json:"broker"`
	Worker  Machine `json:"worker"`
	Store   Machine `json:"store"`
}

// Factors that package sim shows and its test holds against it.
const (
	// RegionalPeak is the busiest moment of a region of three neighbouring time zones over the mean of its day, WorldPeak that of all regions.
	RegionalPeak = 2.3
	WorldPeak    = 1.6

	partitionImbalance = 1.35
	edgeImbalance      = 1.25
	brokerImbalance    = 1.3
)

// Default assumptions.
func Default() Assumptions {
	return Assumptions{
		Utilization: 0.5, DiskUse: 0.7,
		PartitionImbalance: partitionImbalance, EdgeImbalance: edgeImbalance, BrokerImbalance: brokerImbalance,
		EdgeConnections: 200_000, ClusterServers: 32, InterestShare: 0.2,
		RowsPerMessage: 5, RowsPerCursor: 1, KeyRenewal: 375, FrameOverhead: 70,
		Gateway: Machine{Cores: 16, Memory: 64 * GB, Disk: 100 * GB, Network: 25 * Gbit},
		Edge:    Machine{Cores: 16, Memory: 64 * GB, Disk: 100 * GB, Network: 25 * Gbit},
		Broker:  Machine{Cores: 32, Memory: 256 * GB, Disk: 15 * TB, Network: 50 * Gbit},
		Worker:  Machine{Cores: 16, Memory: 64 * GB, Disk: 100 * GB, Network: 25 * Gbit},
		Store:   Machine{Cores: 64, Memory: 512 * GB, Disk: 30 * TB, Network: 50 * Gbit},
	}
}
