package scylla

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
)

type metrics struct {
	usable   prometheus.Gauge
	failures *prometheus.CounterVec
	unknown  prometheus.Counter
	writes   prometheus.Histogram
}

func newMetrics() *metrics {
	return &metrics{
		usable: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "chatmesh_scylla_up", Help: "1 while the cluster can be reached and has the schema, otherwise 0.",
		}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "chatmesh_scylla_failures_total", Help: "Calls that failed for another reason than their content, by call.",
		}, []string{"call"}),
		unknown: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "chatmesh_scylla_unknown_total", Help: "Lightweight transactions whose outcome had to be read.",
		}),
		writes: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "chatmesh_scylla_write_seconds", Help: "Time of a write with all its batches.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 4, 8),
		}),
	}
}

// Collectors returns what is to be registered so that operators see the store.
func (s *Store) Collectors() []prometheus.Collector {
	return []prometheus.Collector{s.metrics.usable, s.metrics.failures, s.metrics.unknown, s.metrics.writes}
}

func (m *metrics) up(yes bool) {
	if yes {
		m.usable.Set(1)
	} else {
		m.usable.Set(0)
	}
}

// count counts a failure that is no answer.
func (m *metrics) count(op string, err error) {
	for _, answer := range []error{nil, store.ErrNotFound, store.ErrTaken, store.ErrConflict} {
		if errors.Is(err, answer) {
			return
		}
	}
	if chat.Is(err, chat.BadRequest) {
		return
	}
	m.failures.WithLabelValues(op).Inc()
}
