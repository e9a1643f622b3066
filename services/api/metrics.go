package api

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// metrics count calls by route and endpoint. No label holds an id.
type metrics struct {
	requests, errors, micro *prometheus.CounterVec
	seconds, microSeconds   *prometheus.HistogramVec
}

// newMetrics registers with r, unless it is nil.
func newMetrics(r prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "chatmesh", Subsystem: "api", Name: name, Help: help},
			labels)
	}
	seconds := func(name, help, label string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "chatmesh", Subsystem: "api", Name: name,
			Help: help, Buckets: prometheus.ExponentialBuckets(0.0005, 2, 15)}, []string{label})
	}
	m := &metrics{
		requests:     counter("http_requests_total", "HTTP calls by route and class of status.", "route", "status"),
		errors:       counter("http_errors_total", "HTTP calls that were refused, by code.", "code"),
		micro:        counter("micro_requests_total", "Requests to the micro service by endpoint and code.", "endpoint", "code"),
		seconds:      seconds("http_request_seconds", "Time of HTTP calls by route.", "route"),
		microSeconds: seconds("micro_request_seconds", "Time of requests to the micro service by endpoint.", "endpoint"),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.requests, m.errors, m.micro, m.seconds, m.microSeconds} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// observeHTTP counts a call; code is empty where it was not refused.
func (m *metrics) observeHTTP(route string, status int, code chat.Code, took time.Duration) {
	m.requests.WithLabelValues(route, strconv.Itoa(status/100)+"xx").Inc()
	m.seconds.WithLabelValues(route).Observe(took.Seconds())
	if code != "" {
		m.errors.WithLabelValues(string(code)).Inc()
	}
}

// observeMicro counts a request to an endpoint; code is empty where it was not refused.
func (m *metrics) observeMicro(endpoint string, code chat.Code, took time.Duration) {
	if code == "" {
		code = "ok"
	}
	m.micro.WithLabelValues(endpoint, string(code)).Inc()
	m.microSeconds.WithLabelValues(endpoint).Observe(took.Seconds())
}
