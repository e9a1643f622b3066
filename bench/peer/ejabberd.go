package peer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"

	"github.com/chatmesh/chatmesh/bench/driver"
	"github.com/chatmesh/chatmesh/pkg/meshtest/free"
)

// Ejabberd is Debian's XMPP server with the archive of every message (XEP-0313) in Debian's PostgreSQL, which syncs. A message is written
// twice, once for each side, before it goes on: with the archive's table locked neither an acknowledgement nor the message comes. In a
// group it is written once, by the room, before the room sends it to anybody.
func Ejabberd() System {
	return System{Name: "ejabberd-pg", Durable: Disk,
		About: "ejabberd (Debian), XMPP over TCP, archive in PostgreSQL (Debian, synchronous_commit on), stream management",
		Setup: func(ctx context.Context) error {
			_, err := ejabberdPackages(ctx)
			return err
		},
		Start: startEjabberd}
}

func ejabberdPackages(ctx context.Context) (unpacked, error) {
	return unpack(ctx, "ejabberd", regexp.MustCompile(`^(ejabberd|erlang-.*|postgresql(-client)?-\d+|libpq5)$`),
		"ejabberd", "erlang-p1-pgsql", "postgresql")
}

type ejabberd struct {
	names
	served   // what clients see
	packages unpacked
	sqlPort  int
	database *process
}

const ejabberdDomain = "localhost"

func startEjabberd(ctx context.Context, dir string) (_ Server, err error) {
	e := &ejabberd{names: names{suffix: "@conference." + ejabberdDomain}}
	if e.packages, err = ejabberdPackages(ctx); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.stopDatabase())
		}
	}()
	if err := e.startDatabase(ctx, dir); err != nil {
		return nil, err
	}
	if err := e.startServer(ctx, dir); err != nil {
		return nil, err
	}
	return e, nil
}

// unprivileged lets a program believe that it does not run as root, which PostgreSQL refuses to do.
func unprivileged(cmd *exec.Cmd) *exec.Cmd {
	if os.Getuid() == 0 {
		only := func(id int) []syscall.SysProcIDMap {
			return []syscall.SysProcIDMap{{ContainerID: id, HostID: 0, Size: 1}}
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, UidMappings: only(1000), GidMappings: only(1000)}
	}
	return cmd
}

func (e *ejabberd) startDatabase(ctx context.Context, dir string) error {
	bin, err := e.packages.find("usr/lib/postgresql/*/bin")
	if err != nil {
		return err
	}
	data := filepath.Join(dir, "postgresql")
	if _, err := run(unprivileged(e.packages.command(ctx, filepath.Join(bin, "initdb"), "-D", data, "-U", "bench", "-A", "trust", "-E", "UTF8",
		"--no-locale", "--no-sync"))); err != nil {
		return err
	}
	if e.sqlPort, err = free.Port(); err != nil {
		return err
	}
	// What is not said here is PostgreSQL's default: fsync, full_page_writes and synchronous_commit are on.
	e.database, err = startProcess(unprivileged(e.packages.command(context.WithoutCancel(ctx), filepath.Join(bin, "postgres"), "-D", data, "-p", strconv.Itoa(e.sqlPort),
		"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "shared_buffers=256MB", "-c", "max_wal_size=4GB",
		"-c", "checkpoint_timeout=15min", "-c", "jit=off")), dir, "postgresql")
	if err != nil {
		return err
	}
	if err := e.database.until(ctx, "takes no statements", func() error { return e.sql(ctx, "-c", "select 1") }); err != nil {
		return err
	}
	schema, err := e.packages.find("usr/share/ejabberd/sql/pg.sql")
	if err != nil {
		return err
	}
	return e.sql(ctx, "-1", "-f", schema)
}

// sql runs statements that arguments of psql name.
func (e *ejabberd) sql(ctx context.Context, args ...string) error {
	psql, err := e.packages.find("usr/lib/postgresql/*/bin/psql")
	if err != nil {
		return err
	}
	cmd := e.packages.command(ctx, psql, append([]string{"-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", strconv.Itoa(e.sqlPort),
		"-U", "bench", "-d", "postgres"}, args...)...)
	_, err = run(cmd)
	return err
}

func (e *ejabberd) startServer(ctx context.Context, dir string) error {
	port, err := free.Port()
	if err != nil {
		return err
	}
	// Only what is used; no limits of traffic. More connections to the database than the 10 by default, so that more commits share a sync:
	// 30 % and more at 16 in flight. In rooms nobody is told who comes and goes, as is advised for large ones.
	conf := fmt.Sprintf(`hosts: [%s]
loglevel: error
listen:
  - {module: ejabberd_c2s, ip: "127.0.0.1", port: %d, access: all, max_stanza_size: 262144, backlog: 4096, starttls: false}
default_db: sql
sql_type: pgsql
sql_server: "127.0.0.1"
sql_port: %d
sql_database: postgres
sql_username: bench
sql_password: none
sql_pool_size: 40
auth_method: [sql]
disable_sasl_mechanisms: [digest-md5, SCRAM-SHA-1, SCRAM-SHA-256, SCRAM-SHA-512, X-OAUTH2]
modules:
  mod_mam: {default: always, assume_mam_usage: true}
  mod_stream_mgmt: {max_ack_queue: infinity, resume_timeout: 0}
  mod_muc:
    access: all
    access_create: all
    max_users: 1000
    default_room_options: {mam: true, persistent: true, presence_broadcast: []}
`, ejabberdDomain, port, e.sqlPort)
	path := filepath.Join(dir, "ejabberd.yml")
	if err := os.WriteFile(path, []byte(conf), 0o644); err != nil {
		return fmt.Errorf("peer: ejabberd: %w", err)
	}
	erts, err := e.packages.find("usr/lib/erlang/erts-*/bin")
	if err != nil {
		return err
	}
	// As ejabberdctl starts it, but without a name: a node alone needs none, nor the daemon that knows names. Its schedulers do not spin
	// while they wait, since they share the cores with the database.
	cmd := e.packages.command(context.WithoutCancel(ctx), filepath.Join(erts, "erlexec"), "-noinput", "+K", "true", "+P", "250000",
		"+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none",
		"-mnesia", "dir", strconv.Quote(filepath.Join(dir, "mnesia")), "-s", "ejabberd")
	apps, err := e.packages.find("usr/lib/*-linux-*")
	if err != nil {
		return err
	}
	cmd.Env = append(cmd.Env, "ROOTDIR="+filepath.Join(e.packages.dir, "usr/lib/erlang"), "BINDIR="+erts, "EMU=beam", "PROGNAME=erl",
		"HOME="+dir, "ERL_LIBS="+apps, "ERL_MAX_PORTS=65536", "ERL_CRASH_DUMP_BYTES=0",
		"EJABBERD_CONFIG_PATH="+path, "EJABBERD_LOG_PATH="+filepath.Join(dir, "ejabberd-server.log"))
	e.served, err = serve(ctx, cmd, dir, "ejabberd", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	return err
}

// PIDs are the server with its helpers, and the database with a process for each of the server's connections.
func (e *ejabberd) PIDs() []int { return append(e.served.PIDs(), e.database.pids()...) }

// People writes the accounts where the server looks for them.
func (e *ejabberd) People(ctx context.Context, n int) ([]Person, error) {
	people, err := e.names.People(ctx, n)
	if err != nil || n == 0 {
		return people, err
	}
	for i := range people {
		people[i].Secret = "password of " + people[i].Name
	}
	return people, e.sql(ctx, "-c", fmt.Sprintf("insert into users (username, password) select 'u' || i, 'password of u' || i from generate_series(%s, %s) i",
		people[0].Name[1:], people[n-1].Name[1:]))
}

func (e *ejabberd) Direct(_ context.Context, a, b Person) (to, back string, err error) {
	return b.Name + "@" + ejabberdDomain, a.Name + "@" + ejabberdDomain, nil
}

func (e *ejabberd) Dial(ctx context.Context, p Person, sink driver.Sink) (driver.Conn, error) {
	return e.loop.XMPP(ctx, e.address, driver.XMPPLogin{Domain: ejabberdDomain, Rooms: e.suffix, User: p.Name, Password: p.Secret,
		Groups: e.groupsOf(p)}, sink)
}

func (e *ejabberd) Stop() error { return errors.Join(e.served.Stop(), e.stopDatabase()) }

func (e *ejabberd) stopDatabase() error { return e.database.stop(syscall.SIGINT) } // which cuts its clients
