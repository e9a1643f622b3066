package scylla

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/gocql/gocql"
)

// The defaults of Options.
const (
	DefaultKeyspace    = "chatmesh"
	DefaultReplication = 3
	DefaultTimeout     = 5 * time.Second
)

// Options say where the cluster is and how it is spoken to. Hosts are required.
type Options struct {
	// Hosts are the addresses from which the cluster is discovered, HOST or HOST:PORT; the port is 9042 where none is given.
	Hosts []string
	// Keyspace holds the tables, [a-z][a-z0-9_]{0,47}; empty is DefaultKeyspace.
	Keyspace string
	// Username and Password log in; both empty is no authentication. PasswordFile is read at every connection instead of
	// Password, so that a password may change while the program runs. Neither is ever logged.
	Username, Password, PasswordFile string
	// CAFile is a PEM file of the authorities that the servers are believed by. With it, or with TLS, connections are encrypted
	// and the servers' names are checked; TLS alone takes the authorities of the system.
	CAFile string
	TLS    bool
	// LocalDC is the datacentre whose hosts are asked; empty asks all alike.
	LocalDC string
	// Replication is how many copies Migrate asks for when it makes the keyspace, in LocalDC or, where that is empty, in every
	// datacentre; zero is DefaultReplication. A keyspace that is there is not changed.
	Replication int
	// Timeout is the budget of one call, with all its requests and retries; zero is DefaultTimeout. The caller's context may be shorter.
	Timeout time.Duration
	// Log gets changes of state and failures, never keys or values; nil is slog.Default.
	Log *slog.Logger
}

var keyspaceName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,47}$`)

// withDefaults validates the options and fills in the defaults.
func (o Options) withDefaults() (Options, error) {
	if len(o.Hosts) == 0 {
		return o, errors.New("no CQL hosts")
	}
	for _, h := range o.Hosts {
		if strings.TrimSpace(h) == "" || strings.ContainsAny(h, "/@ ") {
			return o, errors.New("a CQL host is HOST or HOST:PORT, without a scheme or user")
		}
	}
	if o.Keyspace == "" {
		o.Keyspace = DefaultKeyspace
	}
	if !keyspaceName.MatchString(o.Keyspace) {
		return o, errors.New("a keyspace is a letter and up to 47 of a-z 0-9 _")
	}
	if strings.ContainsAny(o.LocalDC, `'"\`) {
		return o, errors.New("the name of a datacentre has no quotes")
	}
	if o.Password != "" && o.PasswordFile != "" {
		return o, errors.New("a password and a file with a password: give one of them")
	}
	if (o.Password != "" || o.PasswordFile != "") && o.Username == "" {
		return o, errors.New("a password without a user name")
	}
	if o.Replication == 0 {
		o.Replication = DefaultReplication
	}
	if o.Replication < 0 || o.Timeout < 0 {
		return o, errors.New("replication and timeout are not negative")
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return o, nil
}

// connectTime bounds one attempt to connect to one host: so long Close may have to wait for an attempt that runs.
const connectTime = 2 * time.Second

// cluster is the driver's configuration. keyspace is empty where it may not be there yet.
func (o Options) cluster(keyspace string) (*gocql.ClusterConfig, error) {
	c := gocql.NewCluster(o.Hosts...)
	c.ProtoVersion = 4 // spoken by both databases and both drivers
	c.Keyspace = keyspace
	c.Consistency = gocql.LocalQuorum
	c.SerialConsistency = gocql.LocalSerial
	c.Timeout = o.Timeout
	c.WriteTimeout = o.Timeout
	c.ConnectTimeout = connectTime
	// Hosts that went down are tried again this often, for ever; the watch makes a new session where that does not help.
	c.ReconnectInterval = time.Second
	c.ReconnectionPolicy = &gocql.ConstantReconnectionPolicy{MaxRetries: 1, Interval: 100 * time.Millisecond}
	c.RetryPolicy = retryIdempotent{}
	c.DefaultIdempotence = false
	c.MaxWaitSchemaAgreement = 30 * time.Second
	c.Logger = driverLog{o.Log}
	if o.Username != "" {
		password := o.Password
		if o.PasswordFile != "" {
			b, err := os.ReadFile(o.PasswordFile)
			if err != nil {
				return nil, fmt.Errorf("the file of the password: %w", err)
			}
			password = strings.TrimRight(string(b), "\r\n")
		}
		c.Authenticator = gocql.PasswordAuthenticator{Username: o.Username, Password: password}
	}
	if o.TLS || o.CAFile != "" {
		c.SslOpts = &gocql.SslOptions{CaPath: o.CAFile, EnableHostVerification: true}
	}
	return c, nil
}

// retryIdempotent tries a request that may be repeated once more, on another host if there is one.
type retryIdempotent struct{}

// Attempt tells whether there is another try.
func (retryIdempotent) Attempt(q gocql.RetryableQuery) bool {
	i, ok := q.(interface{ IsIdempotent() bool })
	return ok && i.IsIdempotent() && q.Attempts() <= 1 && q.Context().Err() == nil
}

// GetRetryType says where the other try goes.
func (retryIdempotent) GetRetryType(error) gocql.RetryType { return gocql.RetryNextHost }

// driverLog passes on what the driver says, at debug level: it speaks of hosts and of its own work.
type driverLog struct{ log *slog.Logger }

// Print passes on.
func (l driverLog) Print(v ...any) { l.log.Debug("driver", "says", fmt.Sprint(v...)) }

// Printf passes on.
func (l driverLog) Printf(format string, v ...any) {
	l.log.Debug("driver", "says", strings.TrimSpace(fmt.Sprintf(format, v...)))
}

// Println passes on.
func (l driverLog) Println(v ...any) {
	l.log.Debug("driver", "says", strings.TrimSpace(fmt.Sprintln(v...)))
}
