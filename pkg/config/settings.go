// Package config owns the settings of the program chatmesh: their names, defaults and rules, and where each value
// came from. It promises that a flag wins over the environment, the environment over the file, the file over the
// default; that a setting which is misspelt, of the wrong type or out of bounds is one clear line before anything
// starts; and that no secret is printed.
package config

import (
	"log/slog"
	"time"
)

// Settings is everything that can be set. It is embedded in the command line, or in commands of it, that Parse fills;
// the help text of each field is its documentation. The zero value is not valid.
type Settings struct {
	File string `name:"config" env:"CHATMESH_CONFIG" placeholder:"FILE" help:"YAML file of settings, named as the flags are; flags and environment win over it. Default: none."`

	Listen      string `name:"listen" env:"CHATMESH_LISTEN" default:"127.0.0.1:8080" placeholder:"HOST:PORT" help:"Where clients connect: HTTP API, WebSocket, web client. Port 0 is any free one. Default ${default}."`
	AdminListen string `name:"admin-listen" env:"CHATMESH_ADMIN_LISTEN" default:"127.0.0.1:8081" placeholder:"HOST:PORT" help:"Where operators connect: /healthz, /readyz, /metrics and pprof. Port 0 is any free one. Default ${default}."`
	NATSListen  string `name:"nats-listen" env:"CHATMESH_NATS_LISTEN" default:"127.0.0.1:4222" placeholder:"HOST:PORT" help:"Where the embedded NATS server listens. Port 0 is any free one. Default ${default}."`
	Data        string `name:"data" env:"CHATMESH_DATA" default:"./data" placeholder:"DIR" help:"Directory of all durable state of embedded mode. Default ${default}."`
	NATSURL     List   `name:"nats-url" env:"CHATMESH_NATS_URL" placeholder:"URL,..." secret:"userinfo" help:"URLs of an external NATS cluster, such as nats://host:4222. Default: none, NATS is embedded."`
	Scylla      List   `name:"scylla" env:"CHATMESH_SCYLLA" placeholder:"HOST:PORT,..." help:"CQL hosts of an external ScyllaDB. Default: none, the store is embedded."`
	RateLimits  Switch `name:"rate-limits" env:"CHATMESH_RATE_LIMITS" default:"on" placeholder:"on|off" help:"Limits per person and address; off is for load tests. Default ${default}."`
	Limits      Limits `name:"limits" env:"CHATMESH_LIMITS" placeholder:"KIND=RATE,..." help:"Limits other than those by default, such as send=20/s:100 (20 a second, 100 at once), login.address=off or connections=50; config print shows all. Default: none."`
	LogSync     Sync   `name:"log-sync" env:"CHATMESH_LOG_SYNC" default:"always" placeholder:"always|interval" help:"When the embedded log is synced to disk; interval trades acked messages at a power cut for speed. Default ${default}."`

	Advertise      string `name:"advertise" env:"CHATMESH_ADVERTISE" placeholder:"URL" help:"URL by which clients reach this edge, such as wss://edge-1.example.com; http and https mean ws and wss. Default: made of --listen, with the host name in place of all interfaces."`
	MaxConnections int    `name:"max-connections" env:"CHATMESH_MAX_CONNECTIONS" default:"100000" placeholder:"N" help:"Count of WebSockets that an edge takes, 1 to 10000000; further ones are refused. Default ${default}."`
	Rebalance      Switch `name:"rebalance" env:"CHATMESH_REBALANCE" default:"on" placeholder:"on|off" help:"An edge that has far more than its share of the connections sends some away, a few per second. Default ${default}."`

	NATSCreds string `name:"nats-creds" env:"CHATMESH_NATS_CREDS" placeholder:"FILE" help:"Credentials file for the external NATS. Default: none."`
	NATSTLSCA string `name:"nats-tls-ca" env:"CHATMESH_NATS_TLS_CA" placeholder:"FILE" help:"PEM file of the authorities that the external NATS is believed by. Default: none, those of the system."`

	NATSNKey    string `name:"nats-nkey" env:"CHATMESH_NATS_NKEY" placeholder:"FILE|DIR" help:"File with the NKey seed for the external NATS, or a folder that has one for each role: edge.nk, api.nk, ops.nk. Default: none."`
	NATSTLSCert string `name:"nats-tls-cert" env:"CHATMESH_NATS_TLS_CERT" placeholder:"FILE" help:"PEM file of the certificate that the external NATS is shown, where it asks for one. Default: none."`
	NATSTLSKey  string `name:"nats-tls-key" env:"CHATMESH_NATS_TLS_KEY" placeholder:"FILE" help:"PEM file of the key of --nats-tls-cert. Default: none."`
	NATSInbox   string `name:"nats-inbox" env:"CHATMESH_NATS_INBOX" placeholder:"PREFIX" help:"First tokens of the subjects on which the external NATS answers. Default: none, which is _INBOX_ and the role with --nats-nkey, otherwise _INBOX."`

	ScyllaKeyspace     string `name:"scylla-keyspace" env:"CHATMESH_SCYLLA_KEYSPACE" default:"chatmesh" placeholder:"NAME" help:"Keyspace of the tables, of a-z 0-9 _; one for each mesh. Default ${default}."`
	ScyllaUser         string `name:"scylla-user" env:"CHATMESH_SCYLLA_USER" placeholder:"NAME" help:"Who logs in at the ScyllaDB. Default: none, nobody does."`
	ScyllaPasswordFile string `name:"scylla-password-file" env:"CHATMESH_SCYLLA_PASSWORD_FILE" placeholder:"FILE" help:"File with the password of --scylla-user, read at every connection. Default: none."`
	ScyllaTLSCA        string `name:"scylla-tls-ca" env:"CHATMESH_SCYLLA_TLS_CA" placeholder:"FILE" help:"PEM file of the authorities that the ScyllaDB is believed by; with it connections are encrypted. Default: none."`
	ScyllaDC           string `name:"scylla-dc" env:"CHATMESH_SCYLLA_DC" placeholder:"NAME" help:"Datacentre whose hosts are asked. Default: none, all are."`
	ScyllaReplication  int    `name:"scylla-replication" env:"CHATMESH_SCYLLA_REPLICATION" default:"3" placeholder:"N" help:"Copies of each row, 1 to 9, in a keyspace that chatmesh migrate makes; one that is there is not changed. Default ${default}."`

	AuthKey string `name:"auth-key" env:"CHATMESH_AUTH_KEY" placeholder:"FILE" help:"PEM file of the Ed25519 key that access tokens are signed with, made where it is missing. Default: none, auth.key under --data, and without the embedded store a key that each api makes at its start."`

	Node       string `name:"node" env:"CHATMESH_NODE" default:"${node}" placeholder:"NAME" help:"Name of this node, unique among all that run, of A-Z a-z 0-9 _ -. Default: made at start from the host name and a random suffix."`
	Partitions int    `name:"partitions" env:"CHATMESH_PARTITIONS" default:"2" placeholder:"N" help:"Count of partitions of the log, 1 to 1024, the same on every node for the life of a cluster. Default ${default}."`

	Replicas int `name:"replicas" env:"CHATMESH_REPLICAS" default:"1" placeholder:"1|3|5" help:"Copies of each stream and bucket, on as many servers of an external NATS; the embedded one has 1. Default ${default}."`

	LogRetention   time.Duration `name:"log-retention" env:"CHATMESH_LOG_RETENTION" default:"720h" placeholder:"DURATION" help:"Duration for which the log keeps an event, such as 720h; far longer than any outage of the store. Default ${default}."`
	PresenceTTL    time.Duration `name:"presence-ttl" env:"CHATMESH_PRESENCE_TTL" default:"15s" placeholder:"DURATION" help:"Duration after which the people of an edge that fell silent are offline, such as 15s. Default ${default}."`
	PresenceGrace  time.Duration `name:"presence-grace" env:"CHATMESH_PRESENCE_GRACE" default:"5s" placeholder:"DURATION" help:"Duration for which somebody whose devices vanished counts as online yet, so that coming back is not seen; 0s is not at all. Default ${default}."`
	AwayAfter      time.Duration `name:"away-after" env:"CHATMESH_AWAY_AFTER" default:"10m" placeholder:"DURATION" help:"Duration after which a device counts as idle at which nobody does anything, such as 10m. Default ${default}."`
	AccessTokenTTL time.Duration `name:"access-token-ttl" env:"CHATMESH_ACCESS_TOKEN_TTL" default:"1h" placeholder:"DURATION" help:"Duration for which an access token is good, such as 1h. Default ${default}."`
	SessionTTL     time.Duration `name:"session-ttl" env:"CHATMESH_SESSION_TTL" default:"720h" placeholder:"DURATION" help:"Duration after which a session ends that was not refreshed, such as 720h. Default ${default}."`
	ShutdownGrace  time.Duration `name:"shutdown-grace" env:"CHATMESH_SHUTDOWN_GRACE" default:"8s" placeholder:"DURATION" help:"Duration within which clients are sent away and work is finished at the end, at most 10s. Default ${default}."`
	Origins        List          `name:"origins" env:"CHATMESH_ORIGINS" placeholder:"ORIGIN,..." help:"Web origins beside our own whose pages may connect, such as https://chat.example.com. Default: none."`
	TrustedProxies List          `name:"trusted-proxies" env:"CHATMESH_TRUSTED_PROXIES" placeholder:"NETWORK,..." help:"Networks of the proxies before --listen, such as 10.0.0.0/8, whose X-Forwarded-For says where a client comes from; limits per address count by it. Default: none, no header is believed."`

	LogFormat string `name:"log-format" env:"CHATMESH_LOG_FORMAT" default:"text" placeholder:"text|json" help:"Format of the program's own log. Default ${default}."`
	LogLevel  string `name:"log-level" env:"CHATMESH_LOG_LEVEL" default:"info" placeholder:"debug|info|warn|error" help:"Least level that is logged. Default ${default}."`
	Pprof     bool   `name:"pprof" env:"CHATMESH_PPROF" default:"false" negatable:"" help:"Serve profiles to operators. Default ${default}."`

	OTLPEndpoint string  `name:"otlp-endpoint" env:"CHATMESH_OTLP_ENDPOINT" placeholder:"URL" secret:"userinfo" help:"OTLP receiver for traces over HTTP, such as http://127.0.0.1:4318. Default: none, nothing is traced."`
	TraceSample  float64 `name:"trace-sample" env:"CHATMESH_TRACE_SAMPLE" default:"0.01" placeholder:"RATIO" help:"How many of all requests are traced, from 0 to 1, where --otlp-endpoint is set. Default ${default}."`

	origins map[string]origin // by name of the setting; set by Parse
}

// Switch is on or off.
type Switch string

// The positions of a Switch.
const (
	On  Switch = "on"
	Off Switch = "off"
)

// On tells whether s is on.
func (s Switch) On() bool { return s == On }

// Sync says when the log is synced to disk.
type Sync string

// The ways to sync: before each ack, or every now and then.
const (
	SyncAlways   Sync = "always"
	SyncInterval Sync = "interval"
)

// Level is LogLevel as slog has it. A level that is not valid is Info.
func (s *Settings) Level() slog.Level {
	var l slog.Level
	_ = l.UnmarshalText([]byte(s.LogLevel)) // leaves zero, which is Info
	return l
}

// origin is where the value of a setting came from: "default", "flag", "env NAME" or "file NAME".
type origin struct {
	source string
	line   int // in the file
}
