package presence

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	toOnline, toAway, toOffline, rebuilds, stale prometheus.Counter
}

// told counts what others were told of somebody.
func (m *metrics) told(s standing) {
	switch s {
	case present:
		m.toOnline.Inc()
	case away:
		m.toAway.Inc()
	default:
		m.toOffline.Inc()
	}
}

func newMetrics(r prometheus.Registerer, s *Server) *metrics {
	opts := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "chatmesh", Subsystem: "presence", Name: name, Help: help}
	}
	gauge := func(name, help string, fn func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts(opts(name, help)), fn)
	}
	transitions := prometheus.NewCounterVec(prometheus.CounterOpts(opts("transitions_total", "Transitions told.")), []string{"to"})
	m := &metrics{
		toOnline:  transitions.WithLabelValues("online"),
		toAway:    transitions.WithLabelValues("away"),
		toOffline: transitions.WithLabelValues("offline"),
		rebuilds:  prometheus.NewCounter(prometheus.CounterOpts(opts("rebuilds_total", "Times that the bucket was read from its beginning."))),
		stale:     prometheus.NewCounter(prometheus.CounterOpts(opts("stale_keys_removed_total", "Keys of dead edges that were removed."))),
	}
	if r != nil {
		r.MustRegister(transitions, m.rebuilds, m.stale,
			gauge("people_online", "People who are online.", func() float64 { n, _ := s.table.counts(); return float64(n) }),
			gauge("edges", "Edges whose lease stands.", func() float64 { _, n := s.table.counts(); return float64(n) }),
			gauge("leader", "1 where this process tells the transitions.", func() float64 {
				if s.lead.leads() {
					return 1
				}
				return 0
			}))
	}
	return m
}
