package capacity

// Reach says by how far a plan carries a cost beyond what was measured.
type Reach struct {
	Cost  string  `json:"cost"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	Kind  string  `json:"kind"`
	// Source as Cost has it.
	Source string `json:"source"`
	// At is up to where it was measured, Planned where the plan uses it, both in AtUnit. Factor is Planned over At. All are zero where
	// nothing was measured along something that grows.
	At      float64 `json:"at,omitempty"`
	Planned float64 `json:"planned,omitempty"`
	AtUnit  string  `json:"at_unit,omitempty"`
	Factor  float64 `json:"factor,omitempty"`
}

func reach(p *cell, c Costs, a Assumptions) []Reach {
	l, r := p.load, p.r
	perEdge := r.Connections / p.edges.Machines
	perBroker := func(n PerSecond) float64 { return float64(n) / p.brokers.Machines }
	per := func(n float64, t Tier) float64 { return n / t.Machines }
	planned := map[string]float64{
		"edge_memory":       perEdge,
		"kernel_memory":     perEdge,
		"edge_delivery":     per(float64(r.Delivered)*a.EdgeImbalance, p.edges),
		"edge_connect":      per(float64(r.Storm), p.edges),
		"broker_append":     perBroker(r.Appends * PerSecond(l.LogCopies)),
		"broker_consume":    perBroker(2 * r.Appends),
		"worker_consume":    per(float64(r.Appends), p.fanouts),
		"broker_deliver":    r.Online,
		"broker_route":      r.Online,
		"worker_publish":    per(float64(r.Published), p.fanouts),
		"partition_appends": float64(max(r.Messages, r.Cursors)) * a.PartitionImbalance / p.partitions,
		"key_writes":        float64(max(p.keyWrites, r.StormPeople)),
		"subject_memory":    2 * l.DailyUsers * l.ChatsPerUser / p.partitions,
		"subject_start":     2 * l.DailyUsers * l.ChatsPerUser / p.partitions,
		"interest_memory":   r.Online,
		"interest_change":   r.Online,
		"store_row":         per(float64(p.store.Writes), p.stores),
		"presence_memory":   r.Online,
	}
	var out []Reach
	for _, n := range c.named() {
		x := Reach{Cost: n.Name, Value: n.Value, Unit: n.Unit, Kind: n.Kind, Source: n.Source}
		if n.At > 0 {
			x.At, x.AtUnit, x.Planned = n.At, n.AtUnit, planned[n.Name]
			x.Factor = x.Planned / x.At
		}
		out = append(out, x)
	}
	return out
}
