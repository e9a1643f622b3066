package edge

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	connections, people                                  prometheus.Gauge
	delivered, written, slow, resyncs, repaired, replays prometheus.Counter
	errors                                               *prometheus.CounterVec
	requests                                             *prometheus.HistogramVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	opts := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "chatmesh", Subsystem: "edge", Name: name, Help: help}
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts(opts(name, help)))
	}
	m := &metrics{
		connections: prometheus.NewGauge(prometheus.GaugeOpts(opts("connections", "Open WebSockets."))),
		people:      prometheus.NewGauge(prometheus.GaugeOpts(opts("people", "People with a connection here."))),
		delivered:   counter("delivered_total", "Frames handed to devices."),
		written:     counter("written_total", "Frames written to sockets, answers included."),
		slow:        counter("slow_total", "Connections that were cut because they read too slowly."),
		resyncs:     counter("resyncs_total", "Times that a device was told to sync."),
		repaired:    counter("repaired_total", "Holes in what the broker delivered that were filled from the log."),
		replays:     counter("replays_total", "Times that the logs were read again after the broker may have lost something."),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts(opts("errors_total", "Refused requests, by code.")),
			[]string{"code"}),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "chatmesh", Subsystem: "edge", Name: "request_seconds",
			Help: "Time from a request's turn to its answer.", Buckets: prometheus.ExponentialBuckets(0.0002, 2, 16)}, []string{"type"}),
	}
	if r != nil {
		r.MustRegister(m.connections, m.people, m.delivered, m.written, m.slow, m.resyncs, m.repaired, m.replays, m.errors, m.requests)
	}
	return m
}
