package config

import (
	"math"
	"strings"
	"testing"
	"time"
)

func valid() *Settings {
	return &Settings{
		Listen: "127.0.0.1:8080", AdminListen: "127.0.0.1:8081", NATSListen: "127.0.0.1:4222", Data: "./data",
		MaxConnections: 100_000, Rebalance: On, RateLimits: On, LogSync: SyncAlways, Node: "n1", Partitions: 4, Replicas: 1, LogRetention: 720 * time.Hour,
		PresenceTTL: 15 * time.Second, PresenceGrace: 5 * time.Second, AwayAfter: 10 * time.Minute, AccessTokenTTL: time.Hour, SessionTTL: 720 * time.Hour, ShutdownGrace: 8 * time.Second,
		LogFormat: "text", LogLevel: "info", ScyllaKeyspace: "chatmesh", ScyllaReplication: 3,
	}
}

func TestSettingsThatMakeSenseAreValid(t *testing.T) {
	for name, change := range map[string]func(*Settings){
		"defaults":            func(*Settings) {},
		"any free port":       func(s *Settings) { s.Listen, s.AdminListen, s.NATSListen = "127.0.0.1:0", "127.0.0.1:0", ":0" },
		"all interfaces":      func(s *Settings) { s.Listen = ":8080" },
		"IPv6":                func(s *Settings) { s.Listen = "[::1]:8080" },
		"a host name":         func(s *Settings) { s.Listen = "chat.example.com:65535" },
		"unused NATS address": func(s *Settings) { s.NATSListen, s.NATSURL = s.Listen, List{"nats://h"} },
		"NATS URLs": func(s *Settings) {
			s.NATSURL = List{"nats://u:p@h:4222", "tls://h", "wss://h/nats", "h:4222", "nats://[::1]:4222/"}
		},
		"NATS credentials": func(s *Settings) { s.NATSURL, s.NATSCreds, s.NATSTLSCA = List{"tls://h"}, "a.creds", "ca.pem" },
		"NATS key": func(s *Settings) {
			s.NATSURL, s.NATSNKey, s.NATSTLSCert, s.NATSTLSKey, s.NATSInbox = List{"tls://h"}, "keys", "c.pem", "k.pem", "_INBOX_x.y"
		},
		"CQL hosts": func(s *Settings) { s.Scylla = List{"10.0.0.1:9042", "[::1]:9042", "db:1"} },
		"replicas":  func(s *Settings) { s.NATSURL, s.Replicas = List{"nats://h"}, 3 },
		"origins":   func(s *Settings) { s.Origins = List{"https://a.example", "http://localhost:3000"} },
		"least":     func(s *Settings) { s.Partitions, s.ShutdownGrace, s.PresenceTTL, s.Node = 1, 0, time.Second, "A" },
		"most": func(s *Settings) {
			s.Partitions, s.ShutdownGrace, s.Node = 1024, 10*time.Second, strings.Repeat("a", 64)
		},
		"most and least connections": func(s *Settings) { s.MaxConnections = 10_000_000 },
		"one connection":             func(s *Settings) { s.MaxConnections, s.Rebalance = 1, Off },
		"traces":                     func(s *Settings) { s.OTLPEndpoint, s.TraceSample = "https://collector:4318/v1/traces", 1 },
		"the other words": func(s *Settings) {
			s.RateLimits, s.LogSync, s.LogFormat, s.LogLevel = Off, SyncInterval, "json", "error"
		},
	} {
		s := valid()
		change(s)
		if err := s.Validate(); err != nil {
			t.Errorf("%s: got %v; want it valid", name, err)
		}
	}
}

func TestSettingsThatCannotWorkAreRefusedByName(t *testing.T) {
	for want, change := range map[string]func(*Settings){
		`--listen: "foo" is not host:port, such as 127.0.0.1:8080`:               func(s *Settings) { s.Listen = "foo" },
		`--listen: "a:http" is not host:port, such as 127.0.0.1:8080`:            func(s *Settings) { s.Listen = "a:http" },
		`--listen: "a:65536" is not host:port, such as 127.0.0.1:8080`:           func(s *Settings) { s.Listen = "a:65536" },
		`--listen: "a:-1" is not host:port, such as 127.0.0.1:8080`:              func(s *Settings) { s.Listen = "a:-1" },
		`--listen: "a:" is not host:port, such as 127.0.0.1:8080`:                func(s *Settings) { s.Listen = "a:" },
		`--listen: "a b:1" is not host:port, such as 127.0.0.1:8080`:             func(s *Settings) { s.Listen = "a b:1" },
		`--listen: "http://a:1" is not host:port, such as 127.0.0.1:8080`:        func(s *Settings) { s.Listen = "http://a:1" },
		`--admin-listen: "::1" is not host:port, such as 127.0.0.1:8080`:         func(s *Settings) { s.AdminListen = "::1" },
		`--admin-listen: 127.0.0.1:8080 is the address of --listen already`:      func(s *Settings) { s.AdminListen = s.Listen },
		`--nats-listen: 127.0.0.1:8081 is the address of --admin-listen already`: func(s *Settings) { s.NATSListen = s.AdminListen },
		`--data: is empty; it is a directory, such as ./data`:                    func(s *Settings) { s.Data = "" },
		`--nats-creds: is for an external NATS: set --nats-url as well`:          func(s *Settings) { s.NATSCreds = "a" },
		`--nats-tls-ca: is for an external NATS: set --nats-url as well`:         func(s *Settings) { s.NATSTLSCA = "a" },
		`--nats-nkey: is for an external NATS: set --nats-url as well`:           func(s *Settings) { s.NATSNKey = "a" },
		`--nats-tls-cert: is for an external NATS: set --nats-url as well`:       func(s *Settings) { s.NATSTLSCert = "a" },
		`--nats-tls-key: is for an external NATS: set --nats-url as well`:        func(s *Settings) { s.NATSTLSKey = "a" },
		`--nats-inbox: is for an external NATS: set --nats-url as well`:          func(s *Settings) { s.NATSInbox = "a" },
		`--nats-nkey: and --nats-creds are two ways to log in: set one of them`: func(s *Settings) {
			s.NATSURL, s.NATSNKey, s.NATSCreds = List{"tls://h"}, "a", "b"
		},
		`--nats-tls-key: is empty; it is the key of --nats-tls-cert`:         func(s *Settings) { s.NATSURL, s.NATSTLSCert = List{"tls://h"}, "a" },
		`--nats-tls-cert: is empty; it is the certificate of --nats-tls-key`: func(s *Settings) { s.NATSURL, s.NATSTLSKey = List{"tls://h"}, "a" },
		`--nats-inbox: "a.>" is not tokens of A-Z a-z 0-9 _ - with dots between, such as _INBOX_edge`: func(s *Settings) {
			s.NATSURL, s.NATSInbox = List{"tls://h"}, "a.>"
		},
		`--nats-inbox: "a." is not tokens of A-Z a-z 0-9 _ - with dots between, such as _INBOX_edge`: func(s *Settings) {
			s.NATSURL, s.NATSInbox = List{"tls://h"}, "a."
		},
		`--scylla: "a" is not host:port, such as 10.0.0.1:9042`:                        func(s *Settings) { s.Scylla = List{"b:1", "a"} },
		`--scylla: "a:0" is not host:port, such as 10.0.0.1:9042`:                      func(s *Settings) { s.Scylla = List{"a:0"} },
		`--scylla: ":9042" is not host:port, such as 10.0.0.1:9042`:                    func(s *Settings) { s.Scylla = List{":9042"} },
		`--node: "" is not 1 to 64 of A-Z a-z 0-9 _ -`:                                 func(s *Settings) { s.Node = "" },
		`--node: "a.b" is not 1 to 64 of A-Z a-z 0-9 _ -`:                              func(s *Settings) { s.Node = "a.b" },
		`--max-connections: 0 is not from 1 to 10000000`:                               func(s *Settings) { s.MaxConnections = 0 },
		`--max-connections: 10000001 is not from 1 to 10000000`:                        func(s *Settings) { s.MaxConnections = 10_000_001 },
		`--rebalance: "slowly" is not one of on, off`:                                  func(s *Settings) { s.Rebalance = "slowly" },
		`--trace-sample: 1.1 is not from 0 to 1`:                                       func(s *Settings) { s.TraceSample = 1.1 },
		`--trace-sample: NaN is not from 0 to 1`:                                       func(s *Settings) { s.TraceSample = math.NaN() },
		`--otlp-endpoint: "collector:4318" is not a URL such as http://127.0.0.1:4318`: func(s *Settings) { s.OTLPEndpoint = "collector:4318" },
		`--otlp-endpoint: "ftp://(set)@h" is not a URL such as http://127.0.0.1:4318`:  func(s *Settings) { s.OTLPEndpoint = "ftp://a:CANARY@h" },
		`--otlp-endpoint: holds a password; a key for the receiver belongs into OTEL_EXPORTER_OTLP_HEADERS`: func(s *Settings) {
			s.OTLPEndpoint = "http://a:CANARY@h"
		},
		`--partitions: 0 is not from 1 to 1024`:                                            func(s *Settings) { s.Partitions = 0 },
		`--partitions: 1025 is not from 1 to 1024`:                                         func(s *Settings) { s.Partitions = 1025 },
		`--replicas: 2 is not one of 1, 3, 5`:                                              func(s *Settings) { s.Replicas = 2 },
		`--replicas: 3 take an external NATS: set --nats-url as well`:                      func(s *Settings) { s.Replicas = 3 },
		`--rate-limits: "maybe" is not one of on, off`:                                     func(s *Settings) { s.RateLimits = "maybe" },
		`--log-sync: "never" is not one of always, interval`:                               func(s *Settings) { s.LogSync = "never" },
		`--log-format: "xml" is not one of text, json`:                                     func(s *Settings) { s.LogFormat = "xml" },
		`--log-level: "INFO" is not one of debug, info, warn, error`:                       func(s *Settings) { s.LogLevel = "INFO" },
		`--log-retention: 59s is not from 1m to 87600h`:                                    func(s *Settings) { s.LogRetention = 59 * time.Second },
		`--presence-grace: 1m1s is not from 0s to 1m`:                                      func(s *Settings) { s.PresenceGrace = 61 * time.Second },
		`--away-after: 999ms is not from 1s to 24h`:                                        func(s *Settings) { s.AwayAfter = 999 * time.Millisecond },
		`--presence-ttl: 999ms is not from 1s to 10m`:                                      func(s *Settings) { s.PresenceTTL = 999 * time.Millisecond },
		`--access-token-ttl: -1h is not from 1s to 24h`:                                    func(s *Settings) { s.AccessTokenTTL = -time.Hour },
		`--session-ttl: 59m59s is less than --access-token-ttl, 1h`:                        func(s *Settings) { s.SessionTTL = time.Hour - time.Second },
		`--shutdown-grace: 10.001s is not from 0s to 10s`:                                  func(s *Settings) { s.ShutdownGrace = 10001 * time.Millisecond },
		`--origins: "*" is not an origin such as https://chat.example.com, without a path`: func(s *Settings) { s.Origins = List{"*"} },
	} {
		s := valid()
		change(s)
		if err := s.Validate(); err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	for _, bad := range []string{"a.example", "https://", "https://a/", "https://a/path", "https://a?x", "https://u@a", "ftp://a",
		"https://a#x", "null", "HTTPS://a", "https://a:x", "://"} {
		s := valid()
		s.Origins = List{bad}
		if err := s.Validate(); err == nil || !strings.HasPrefix(err.Error(), "--origins: ") {
			t.Errorf("origin %q: got %v; want it refused", bad, err)
		}
	}
	for _, bad := range []string{"edge-1", "edge-1:8080", "ftp://a", "wss://", "wss://a?b", "wss://a#b", "wss://u:p@a", "wss://a:x", "wss://a:0",
		"wss://a:65536", "://"} {
		s := valid()
		s.Advertise = bad
		if err := s.Validate(); err == nil || !strings.HasPrefix(err.Error(), "--advertise: ") || strings.Contains(err.Error(), "u:p") {
			t.Errorf("URL %q: got %v; want it refused", bad, err)
		}
	}
	for _, bad := range []string{"h", ":4222", "nats://", "http://h:4222", "nats://h:0", "nats://h:65536", "nats://h:x", "nats://h/x",
		"nats://h?x=y", "nats://h#x", "nats:h", "u:p@h:4222", "nats://h h"} {
		s := valid()
		s.NATSURL = List{bad}
		if err := s.Validate(); err == nil || !strings.HasPrefix(err.Error(), "--nats-url: ") {
			t.Errorf("URL %q: got %v; want it refused", bad, err)
		}
	}
}

func TestSettingsOfTheScyllaDBGoTogether(t *testing.T) {
	s := valid()
	s.Scylla, s.ScyllaKeyspace, s.ScyllaUser, s.ScyllaPasswordFile = List{"h:9042"}, "c1_x", "me", "pw"
	s.ScyllaTLSCA, s.ScyllaDC, s.ScyllaReplication = "ca.pem", "dc1", 9
	if err := s.Validate(); err != nil {
		t.Errorf("got %v; want it valid", err)
	}
	for want, change := range map[string]func(*Settings){
		`--scylla-user: is for an external ScyllaDB: set --scylla as well`:                  func(s *Settings) { s.Scylla = nil },
		`--scylla-password-file: is for an external ScyllaDB: set --scylla as well`:         func(s *Settings) { s.Scylla, s.ScyllaUser = nil, "" },
		`--scylla-keyspace: "Chat" is not 1 to 48 of a-z 0-9 _, beginning with a letter`:    func(s *Settings) { s.ScyllaKeyspace = "Chat" },
		`--scylla-keyspace: "c; DROP" is not 1 to 48 of a-z 0-9 _, beginning with a letter`: func(s *Settings) { s.ScyllaKeyspace = "c; DROP" },
		`--scylla-password-file: is empty; it is the password of --scylla-user`:             func(s *Settings) { s.ScyllaPasswordFile = "" },
		`--scylla-user: is empty; it is whose password is in --scylla-password-file`:        func(s *Settings) { s.ScyllaUser = "" },
		`--scylla-replication: 0 is not from 1 to 9`:                                        func(s *Settings) { s.ScyllaReplication = 0 },
		`--scylla-tls-ca: is for an external ScyllaDB: set --scylla as well`: func(s *Settings) {
			s.Scylla, s.ScyllaUser, s.ScyllaPasswordFile = nil, "", ""
		},
		`--scylla-dc: is for an external ScyllaDB: set --scylla as well`: func(s *Settings) {
			s.Scylla, s.ScyllaUser, s.ScyllaPasswordFile, s.ScyllaTLSCA = nil, "", "", ""
		},
	} {
		s := valid()
		s.Scylla, s.ScyllaUser, s.ScyllaPasswordFile, s.ScyllaTLSCA, s.ScyllaDC = List{"h:9042"}, "me", "pw", "ca.pem", "dc1"
		change(s)
		if err := s.Validate(); err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}
