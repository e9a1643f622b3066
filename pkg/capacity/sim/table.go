package sim

import (
	"fmt"

	"github.com/chatmesh/chatmesh/pkg/capacity"
)

// Table is the result for people, next to what the plan counts on.
func (r Result) Table() capacity.Table {
	a := capacity.Default()
	times := func(x float64) string { return fmt.Sprintf("%.2f", x) }
	seconds := func(x float64) string { return fmt.Sprintf("%.0f s", x) }
	s := r.Storm
	return capacity.Table{
		Title:  fmt.Sprintf("One cell in small: %s people, each for %s, seed %d", capacity.Count(float64(r.Users)), capacity.Count(r.Scale), r.Seed),
		Header: []string{"what", "seen", "planned with"},
		Rows: [][]string{
			{"busiest minute over the mean, three neighbouring time zones", times(r.RegionalPeak), times(capacity.RegionalPeak)},
			{"busiest minute over the mean, the world", times(r.WorldPeak), times(capacity.WorldPeak)},
			{"appends of the fullest partition over the mean", times(r.Partitions), times(a.PartitionImbalance)},
			{"connections of the fullest edge over the mean", times(r.Connections), times(a.EdgeImbalance)},
			{"deliveries of the busiest edge over the mean", times(r.Edges), times(a.EdgeImbalance)},
			{"appends and reads of the busiest broker over the mean", times(r.Brokers), times(a.BrokerImbalance)},
			{"the busiest chat's part of all messages", fmt.Sprintf("%.2f %%", 100*r.Hottest), "–"},
			{"deliveries of a message", times(r.Deliveries), "–"},
			{fmt.Sprintf("wait for the worker of a partition that is %.0f %% busy: p99, longest", 100*a.Utilization),
				fmt.Sprintf("%.1f ms, %.1f ms", 1000*r.Wait99, 1000*r.WaitMost), "–"},
			{"after an outage: all edges at full speed would need", seconds(s.Ideal), "–"},
			{"half, 99 %, all connections are back after", fmt.Sprintf("%.0f, %.0f, %.0f s", s.Half, s.Most, s.All), "–"},
			{"everybody counts as online after", seconds(s.Present), seconds(capacity.Presets()["50m"].StormSeconds)},
			{"attempts for each connection", times(s.Tries), "–"},
			{"attempts in the busiest second over what edges welcome in one", times(s.Rush), "–"},
			{"longest queue before an edge", seconds(s.Waiting), "–"},
		},
	}
}
