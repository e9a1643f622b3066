package pebble

import (
	"context"

	lsm "github.com/cockroachdb/pebble/v2"
	"github.com/prometheus/client_golang/prometheus"
)

// metrics are counted here; the gauges are asked of the engine when somebody collects.
type metrics struct {
	commits  prometheus.Histogram
	stalls   prometheus.Counter
	failures prometheus.Counter
}

func newMetrics() *metrics {
	return &metrics{
		commits: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "chatmesh_pebble_commit_seconds", Help: "Time of a write from its locks to its sync.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 4, 9),
		}),
		stalls: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "chatmesh_pebble_stalls_total", Help: "Times that writes had to wait for the engine's background work.",
		}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "chatmesh_pebble_failures_total", Help: "Background work that failed, and damaged data that was found.",
		}),
	}
}

// gauge is one number out of the engine's own metrics.
type gauge struct {
	desc  *prometheus.Desc
	value func(*lsm.Metrics) float64
}

func newGauge(name, help string, value func(*lsm.Metrics) float64) gauge {
	return gauge{prometheus.NewDesc("chatmesh_pebble_"+name, help, nil, nil), value}
}

// engineGauges collects the gauges with one look at the engine.
type engineGauges struct {
	store  *Store
	gauges []gauge
}

// Collectors returns what is to be registered so that operators see the store. After Close the engine's gauges are gone.
func (s *Store) Collectors() []prometheus.Collector {
	return []prometheus.Collector{s.metrics.commits, s.metrics.stalls, s.metrics.failures, engineGauges{s, []gauge{
		newGauge("disk_bytes", "Room that the data folder takes.",
			func(m *lsm.Metrics) float64 { return float64(m.DiskSpaceUsage()) }),
		newGauge("cache_bytes", "Size of the cache of blocks.",
			func(m *lsm.Metrics) float64 { return float64(m.BlockCache.Size) }),
		newGauge("memtable_bytes", "Writes that are in memory and in the log, but not in tables yet.",
			func(m *lsm.Metrics) float64 { return float64(m.MemTable.Size) }),
		newGauge("compaction_debt_bytes", "Estimate of what compactions are behind.",
			func(m *lsm.Metrics) float64 { return float64(m.Compact.EstimatedDebt) }),
		newGauge("read_amplification", "Tables that a read may have to look into.",
			func(m *lsm.Metrics) float64 { return float64(m.ReadAmp()) }),
	}}}
}

// Describe sends the descriptions of the gauges.
func (g engineGauges) Describe(ch chan<- *prometheus.Desc) {
	for _, v := range g.gauges {
		ch <- v.desc
	}
}

// Collect sends the gauges, or nothing when the store is closed.
func (g engineGauges) Collect(ch chan<- prometheus.Metric) {
	if g.store.enter(context.Background()) != nil {
		return
	}
	defer g.store.leave()
	m := g.store.db.Metrics()
	for _, v := range g.gauges {
		ch <- prometheus.MustNewConstMetric(v.desc, prometheus.GaugeValue, v.value(m))
	}
}
