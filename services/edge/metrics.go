package edge

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/chatmesh/chatmesh/pkg/wire"
)

// Why connections were sent away.
const (
	movedByDrain   = "drain"
	movedToShare   = "share"
	movedToBalance = "balance"
)

type metrics struct {
	connections, people, catchUps, catchUpsWaiting       prometheus.Gauge
	caughtUp, marks, marksJoined                         prometheus.Counter
	capacity, draining                                   prometheus.Gauge
	delivered, written, slow, resyncs, repaired, replays prometheus.Counter
	foreign                                              prometheus.Counter
	feeds                                                prometheus.Gauge
	polls                                                prometheus.Counter
	errors, moved, refused                               *prometheus.CounterVec
	requests                                             *prometheus.HistogramVec
	// sends is requests of TypeSend.
	sends prometheus.Observer
}

func newMetrics(r prometheus.Registerer) *metrics {
	opts := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "chatmesh", Subsystem: "edge", Name: name, Help: help}
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts(opts(name, help)))
	}
	m := &metrics{
		marks:           counter("marks_total", "Requests to move a cursor of reading or delivery that were accepted."),
		marksJoined:     counter("marks_joined_total", "Of these, those that needed no write of their own."),
		connections:     prometheus.NewGauge(prometheus.GaugeOpts(opts("connections", "Open WebSockets."))),
		capacity:        prometheus.NewGauge(prometheus.GaugeOpts(opts("capacity", "WebSockets that are let in at most."))),
		draining:        prometheus.NewGauge(prometheus.GaugeOpts(opts("draining", "1 while nobody is let in because the edge drains."))),
		people:          prometheus.NewGauge(prometheus.GaugeOpts(opts("people", "People with a connection here."))),
		feeds:           prometheus.NewGauge(prometheus.GaugeOpts(opts("feeds", "Of the connections, those that are streams of events or pollers."))),
		polls:           counter("polls_total", "Polls that were answered."),
		catchUps:        prometheus.NewGauge(prometheus.GaugeOpts(opts("catchups", "Connections that catch up at the moment."))),
		catchUpsWaiting: prometheus.NewGauge(prometheus.GaugeOpts(opts("catchups_waiting", "Connections that wait for their turn to catch up."))),
		caughtUp:        counter("caught_up_total", "Events sent because a cursor missed them."),
		delivered:       counter("delivered_total", "Frames handed to devices."),
		written:         counter("written_total", "Frames written to sockets, answers included."),
		slow:            counter("slow_total", "Connections that were cut because they read too slowly."),
		resyncs:         counter("resyncs_total", "Times that a device was told to sync."),
		repaired:        counter("repaired_total", "Holes in what the broker delivered that were filled from the log."),
		replays:         counter("replays_total", "Times that the logs were read again after the broker may have lost something."),
		foreign:         counter("foreign_total", "Messages on subjects of people that a stream delivered there, dropped."),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts(opts("errors_total", "Refused requests, by code.")),
			[]string{"code"}),
		moved: prometheus.NewCounterVec(prometheus.CounterOpts(opts("moved_total", "Connections that were sent to other edges, by reason.")),
			[]string{"why"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts(opts("refused_total", "WebSockets that were refused, by reason.")),
			[]string{"why"}),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "chatmesh", Subsystem: "edge", Name: "request_seconds",
			Help: "Time from a request's turn to its answer.", Buckets: prometheus.ExponentialBuckets(0.0002, 2, 16)}, []string{"type"}),
	}
	m.sends = m.requests.WithLabelValues(wire.TypeSend)
	if r != nil {
		r.MustRegister(m.feeds, m.polls, m.connections, m.people, m.capacity, m.draining, m.moved, m.refused, m.catchUps, m.catchUpsWaiting, m.caughtUp, m.marks, m.marksJoined, m.delivered, m.written, m.slow, m.resyncs, m.repaired, m.replays, m.foreign, m.errors, m.requests)
	}
	return m
}
