package growth

import (
	"math"

	"github.com/chatmesh/chatmesh/bench/report"
)

// System and durability of the figures.
const (
	chatmesh = "chatmesh"
	unsynced = "chatmesh-unsynced"
	onDisk   = "disk"
)

// Figures are what points say of growth: the most over the least cost of a message, and along the number of chats the cost, the
// memory and the time to start again.
func Figures(points []Point) ([]report.Figure, []report.Series) {
	if len(points) == 0 {
		return nil, nil
	}
	cost := map[[2]string][]report.Point{} // by system and choice
	restart := report.Series{Name: "restart_by_chats", System: chatmesh, X: "chats", Unit: "s"}
	memory := report.Series{Name: "memory_per_chat", System: chatmesh, X: "chats", Unit: "B"}
	allocations := report.Series{Name: "allocations_per_message_by_chats", System: chatmesh, X: "chats", Unit: "allocations"}
	var last Point // of all alike, with the most chats
	for _, p := range points {
		x, key := float64(p.Chats), [2]string{p.System, p.Choice}
		cost[key] = append(cost[key], report.Point{X: x, Y: p.CPU})
		if p.System == chatmesh && p.Choice == "uniform" {
			restart.Points = append(restart.Points, report.Point{X: x, Y: p.Restart})
			memory.Points = append(memory.Points, report.Point{X: x, Y: p.HeapPerChat})
			allocations.Points = append(allocations.Points, report.Point{X: x, Y: p.Allocs})
			last = p
		}
	}
	var series []report.Series
	for _, s := range []string{chatmesh, unsynced} {
		series = append(series,
			report.Series{Name: "cost_per_message_by_chats", System: s, X: "chats, few of them busy", Unit: "µs", Points: cost[[2]string{s, "zipf"}]},
			report.Series{Name: "cost_per_message_by_chats_all_alike", System: s, X: "chats, all alike", Unit: "µs", Points: cost[[2]string{s, "uniform"}]})
	}
	series = append(series, restart, memory, allocations)
	alike, busyFew := ratio(cost[[2]string{chatmesh, "uniform"}]), ratio(cost[[2]string{chatmesh, "zipf"}])
	figures := []report.Figure{
		single("growth_chats_ratio", "×", max(alike, busyFew)),
		single("growth_chats_busy_few_ratio", "×", busyFew),
		single("restart_s", "s", last.Restart),
		single("disk_per_chat_bytes", "B", last.DiskPerChat),
		single("disk_per_message_bytes", "B", last.Disk),
	}
	return figures, series
}

func single(name, unit string, v float64) report.Figure {
	return report.Figure{Name: name, System: chatmesh, Value: v, Unit: unit, Durable: onDisk, Low: v, High: v, Rounds: 1}
}

// ratio is the most over the least.
func ratio(points []report.Point) float64 {
	least, most := math.Inf(1), 0.0
	for _, p := range points {
		least, most = min(least, p.Y), max(most, p.Y)
	}
	return most / least
}
