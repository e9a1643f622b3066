package cluster

import "strings"

// Environment are the variables of nats/server.conf for another broker, at the addresses of one that is gone, with a name, a folder and
// certificates of its own.
func (b *Broker) Environment(name string) []string {
	out := make([]string, len(b.env))
	for i, v := range b.env {
		out[i] = v
		switch k, _, _ := strings.Cut(v, "="); k {
		case "NATS_NAME":
			out[i] = k + "=" + name
		case "NATS_STORE", "NATS_TLS_CERT", "NATS_TLS_KEY", "NATS_ROUTE_CERT", "NATS_ROUTE_KEY":
			at := strings.LastIndex(v, "/") + 1
			out[i] = v[:at] + strings.Replace(v[at:], b.Name, name, 1)
		}
	}
	return out
}
