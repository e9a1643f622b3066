package mesh

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// registerProcess registers what is of the process and of no single service.
func (m *Mesh) registerProcess() {
	gauge := func(name, help string, fn func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "chatmesh", Name: name, Help: help}, fn)
	}
	m.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		gauge("ready", "1 where the process waits for nothing, as /readyz says.", func() float64 {
			if m.health.Err(context.Background()) == nil { // a look has a bound of its own
				return 1
			}
			return 0
		}),
		gauge("log_retention_seconds", "How long the log keeps an event.", func() float64 { return m.c.LogRetention.Seconds() }))
}
