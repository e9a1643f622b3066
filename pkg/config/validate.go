package config

import (
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds of what can be set.
const (
	// MaxPartitions is how many partitions a log has at most.
	MaxPartitions = 1024
	// MaxNode is the length of the longest name of a node, in bytes.
	MaxNode = 64
	// MostConnections is what --max-connections can be set to.
	MostConnections = 10_000_000
	// MaxShutdownGrace is what the outside contract gives the program to stop.
	MaxShutdownGrace = 10 * time.Second
)

// Validate tells whether the program can run with s. The error, of the first setting that is wrong, says which it is,
// what would be right, and where the value came from if that was not the command line. Parse calls it.
func (s *Settings) Validate() error {
	for _, check := range []func() error{s.checkAddresses, s.checkEdge, s.checkExternal, s.checkNode, s.checkWords, s.checkDurations, s.checkTraces} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// wrong makes the error of a setting.
func (s *Settings) wrong(name, format string, args ...any) error {
	from := ""
	switch o := s.origins[name]; {
	case o.line > 0:
		from = fmt.Sprintf(" (from %s:%d)", strings.TrimPrefix(o.source, "file "), o.line)
	case strings.HasPrefix(o.source, "env "):
		from = fmt.Sprintf(" (from %s)", strings.TrimPrefix(o.source, "env "))
	}
	return fmt.Errorf("--%s: %s%s", name, fmt.Sprintf(format, args...), from)
}

func (s *Settings) checkAddresses() error {
	listeners := []struct{ name, address string }{
		{"listen", s.Listen}, {"admin-listen", s.AdminListen}, {"nats-listen", s.NATSListen},
	}
	for i, l := range listeners {
		port, ok := portOf(l.address)
		if !ok {
			return s.wrong(l.name, "%q is not host:port, such as 127.0.0.1:8080", l.address)
		}
		if port == 0 || l.name == "nats-listen" && len(s.NATSURL) > 0 {
			continue
		}
		for _, other := range listeners[:i] {
			if other.address == l.address {
				return s.wrong(l.name, "%s is the address of --%s already", l.address, other.name)
			}
		}
	}
	if s.Data == "" {
		return s.wrong("data", "is empty; it is a directory, such as ./data")
	}
	return nil
}

// checkEdge looks at what an edge tells of itself.
func (s *Settings) checkEdge() error {
	if _, ok := socketURL(s.Advertise); s.Advertise != "" && !ok {
		return s.wrong("advertise", "%q is not a URL such as wss://edge-1.example.com, without query and password", withoutUserinfo(s.Advertise))
	}
	if s.MaxConnections < 1 || s.MaxConnections > MostConnections {
		return s.wrong("max-connections", "%d is not from 1 to %d", s.MaxConnections, MostConnections)
	}
	return nil
}

// checkExternal looks at what is not embedded, and who may come in.
func (s *Settings) checkExternal() error {
	for _, text := range s.NATSURL {
		if !isNATS(text) {
			return s.wrong("nats-url", "%q is not a URL such as nats://host:4222 or tls://host:4222", withoutUserinfo(text))
		}
	}
	for _, f := range []struct{ name, value string }{{"nats-creds", s.NATSCreds}, {"nats-tls-ca", s.NATSTLSCA}, {"nats-nkey", s.NATSNKey},
		{"nats-tls-cert", s.NATSTLSCert}, {"nats-tls-key", s.NATSTLSKey}, {"nats-inbox", s.NATSInbox}} {
		if f.value != "" && len(s.NATSURL) == 0 {
			return s.wrong(f.name, "is for an external NATS: set --nats-url as well")
		}
	}
	switch {
	case s.NATSNKey != "" && s.NATSCreds != "":
		return s.wrong("nats-nkey", "and --nats-creds are two ways to log in: set one of them")
	case s.NATSTLSCert != "" && s.NATSTLSKey == "":
		return s.wrong("nats-tls-key", "is empty; it is the key of --nats-tls-cert")
	case s.NATSTLSKey != "" && s.NATSTLSCert == "":
		return s.wrong("nats-tls-cert", "is empty; it is the certificate of --nats-tls-key")
	case s.NATSInbox != "" && !isPrefix(s.NATSInbox):
		return s.wrong("nats-inbox", "%q is not tokens of A-Z a-z 0-9 _ - with dots between, such as _INBOX_edge", s.NATSInbox)
	}
	if err := s.checkScylla(); err != nil {
		return err
	}
	if _, err := s.Proxies(); err != nil {
		return err
	}
	if _, err := s.Rules(); err != nil {
		return err
	}
	for _, text := range s.Origins {
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Scheme+"://"+u.Host != text {
			return s.wrong("origins", "%q is not an origin such as https://chat.example.com, without a path", withoutUserinfo(text))
		}
	}
	return nil
}

// letters are those of a name that stands in subjects.
const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"

// isPrefix tells whether text can stand before the tokens of a subject.
func isPrefix(text string) bool {
	for token := range strings.SplitSeq(text, ".") {
		if token == "" || strings.Trim(token, letters) != "" {
			return false
		}
	}
	return true
}

var keyspace = regexp.MustCompile(`^[a-z][a-z0-9_]{0,47}$`)

func (s *Settings) checkScylla() error {
	for _, text := range s.Scylla {
		if port, ok := portOf(text); !ok || port == 0 || strings.HasPrefix(text, ":") {
			return s.wrong("scylla", "%q is not host:port, such as 10.0.0.1:9042", text)
		}
	}
	for _, f := range []struct{ name, value string }{{"scylla-user", s.ScyllaUser}, {"scylla-password-file", s.ScyllaPasswordFile},
		{"scylla-tls-ca", s.ScyllaTLSCA}, {"scylla-dc", s.ScyllaDC}} {
		if f.value != "" && len(s.Scylla) == 0 {
			return s.wrong(f.name, "is for an external ScyllaDB: set --scylla as well")
		}
	}
	switch {
	case !keyspace.MatchString(s.ScyllaKeyspace):
		return s.wrong("scylla-keyspace", "%q is not 1 to 48 of a-z 0-9 _, beginning with a letter", s.ScyllaKeyspace)
	case s.ScyllaUser != "" && s.ScyllaPasswordFile == "":
		return s.wrong("scylla-password-file", "is empty; it is the password of --scylla-user")
	case s.ScyllaPasswordFile != "" && s.ScyllaUser == "":
		return s.wrong("scylla-user", "is empty; it is whose password is in --scylla-password-file")
	case s.ScyllaReplication < 1 || s.ScyllaReplication > 9:
		return s.wrong("scylla-replication", "%d is not from 1 to 9", s.ScyllaReplication)
	}
	return nil
}

// checkNode looks at the node and what the log is made of.
func (s *Settings) checkNode() error {
	if s.Node == "" || len(s.Node) > MaxNode || strings.Trim(s.Node, letters) != "" {
		return s.wrong("node", "%q is not 1 to %d of A-Z a-z 0-9 _ -", s.Node, MaxNode)
	}
	if s.Partitions < 1 || s.Partitions > MaxPartitions {
		return s.wrong("partitions", "%d is not from 1 to %d", s.Partitions, MaxPartitions)
	}
	if !slices.Contains([]int{1, 3, 5}, s.Replicas) {
		return s.wrong("replicas", "%d is not one of 1, 3, 5", s.Replicas)
	}
	if s.Replicas > 1 && len(s.NATSURL) == 0 {
		return s.wrong("replicas", "%d take an external NATS: set --nats-url as well", s.Replicas)
	}
	return nil
}

func (s *Settings) checkWords() error {
	for _, w := range []struct {
		name, word string
		allowed    []string
	}{
		{"rate-limits", string(s.RateLimits), []string{string(On), string(Off)}},
		{"rebalance", string(s.Rebalance), []string{string(On), string(Off)}},
		{"log-sync", string(s.LogSync), []string{string(SyncAlways), string(SyncInterval)}},
		{"log-format", s.LogFormat, []string{"text", "json"}},
		{"log-level", s.LogLevel, []string{"debug", "info", "warn", "error"}},
	} {
		if !slices.Contains(w.allowed, w.word) {
			return s.wrong(w.name, "%q is not one of %s", w.word, strings.Join(w.allowed, ", "))
		}
	}
	return nil
}

func (s *Settings) checkDurations() error {
	const day = 24 * time.Hour
	for _, d := range []struct {
		name             string
		got, least, most time.Duration
	}{
		{"log-retention", s.LogRetention, time.Minute, 10 * 365 * day},
		{"presence-ttl", s.PresenceTTL, time.Second, 10 * time.Minute}, // the broker counts in seconds
		{"presence-grace", s.PresenceGrace, 0, time.Minute},
		{"away-after", s.AwayAfter, time.Second, day},
		{"access-token-ttl", s.AccessTokenTTL, time.Second, day},
		{"session-ttl", s.SessionTTL, time.Second, 10 * 365 * day},
		{"shutdown-grace", s.ShutdownGrace, 0, MaxShutdownGrace},
	} {
		if d.got < d.least || d.got > d.most {
			return s.wrong(d.name, "%s is not from %s to %s", short(d.got), short(d.least), short(d.most))
		}
	}
	if s.SessionTTL < s.AccessTokenTTL {
		return s.wrong("session-ttl", "%s is less than --access-token-ttl, %s", short(s.SessionTTL), short(s.AccessTokenTTL))
	}
	return nil
}

// checkTraces looks at where traces go.
func (s *Settings) checkTraces() error {
	if s.TraceSample < 0 || s.TraceSample > 1 || s.TraceSample != s.TraceSample {
		return s.wrong("trace-sample", "%g is not from 0 to 1", s.TraceSample)
	}
	if s.OTLPEndpoint == "" {
		return nil
	}
	u, err := url.Parse(s.OTLPEndpoint)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "":
		return s.wrong("otlp-endpoint", "%q is not a URL such as http://127.0.0.1:4318", withoutUserinfo(s.OTLPEndpoint))
	case u.User != nil:
		return s.wrong("otlp-endpoint", "holds a password; a key for the receiver belongs into OTEL_EXPORTER_OTLP_HEADERS")
	}
	return nil
}

// portOf returns the port of host:port. A host may be missing; one with blanks is none.
func portOf(address string) (port int, ok bool) {
	host, text, err := net.SplitHostPort(address)
	if err != nil || strings.ContainsAny(host, " \t\r\n/@") {
		return 0, false
	}
	n, err := strconv.ParseUint(text, 10, 16)
	return int(n), err == nil
}

// isNATS tells whether text is something that a NATS client can connect to.
func isNATS(text string) bool {
	if !strings.Contains(text, "://") {
		port, ok := portOf(text)
		return ok && port > 0 && !strings.HasPrefix(text, ":")
	}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "" {
		return false
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return false
		}
	}
	switch u.Scheme {
	case "nats", "tls":
		return u.Path == "" || u.Path == "/"
	case "ws", "wss":
		return true
	}
	return false
}

// short is d as people write it: 720h, not 720h0m0s.
func short(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
