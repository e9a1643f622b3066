package chatlog

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	unpersisted                                                         *prometheus.GaugeVec
	appended, conflicts, duplicates, hits, misses, evicted, loads, full prometheus.Counter
	batch, commitSeconds                                                prometheus.Histogram
}

func newMetrics(r prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "chatmesh", Subsystem: "log", Name: name, Help: help})
	}
	m := &metrics{
		appended:   counter("appended_total", "Appends that stand in the log."),
		conflicts:  counter("conflicts_total", "Appends that the broker refused or did not answer, before they were tried again."),
		duplicates: counter("duplicates_total", "Messages that were sent again and stood already."),
		hits:       counter("cache_hits_total", "Chats found in the cache."),
		misses:     counter("cache_misses_total", "Chats read from the broker or the store."),
		evicted:    counter("cache_evicted_total", "Chats forgotten because the cache was full."),
		loads:      counter("sent_loads_total", "Times that a person's message ids of a chat were read, so that later ones need no look-up."),
		full:       counter("full_total", "Appends that were refused because the log has no room."),
		unpersisted: prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "chatmesh", Subsystem: "log", Name: "unpersisted_seconds",
			Help: "Age of the oldest event that the store does not have, by stream."}, []string{"stream"}),
		batch: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "chatmesh", Subsystem: "log", Name: "batch_messages",
			Help: "Messages that were published together.", Buckets: prometheus.ExponentialBuckets(1, 2, 11)}),
		commitSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "chatmesh", Subsystem: "log", Name: "commit_seconds",
			Help: "Time from the decision to the broker's answer.", Buckets: prometheus.ExponentialBuckets(0.0001, 2, 16)}),
	}
	if r != nil {
		r.MustRegister(m.appended, m.conflicts, m.duplicates, m.hits, m.misses, m.evicted, m.loads, m.full, m.unpersisted, m.batch, m.commitSeconds)
	}
	return m
}
