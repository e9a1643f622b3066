package peer

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"

	"github.com/chatmesh/chatmesh/bench/driver"
	"github.com/chatmesh/chatmesh/pkg/meshtest/free"
)

// Mosquitto is Debian's MQTT broker: each person has a session that it keeps, and a topic; messages have QoS 1. It writes its state to a
// file every half hour and when it ends, so between those an acknowledged message is in its memory only. That is its default; writing at
// every change, its only other way, writes everything each time.
func Mosquitto() System {
	return System{Name: "mosquitto", Durable: Memory, About: "Mosquitto 2.0 (Debian), MQTT 3.1.1, QoS 1, persistence and persistent sessions",
		Setup: func(ctx context.Context) error {
			_, err := mosquittoPackages(ctx)
			return err
		},
		Start: startMosquitto}
}

func mosquittoPackages(ctx context.Context) (unpacked, error) {
	return unpack(ctx, "mosquitto", regexp.MustCompile(`^(mosquitto|libmosquitto1)$`), "mosquitto")
}

type mosquitto struct {
	names
	served
}

func startMosquitto(ctx context.Context, dir string) (Server, error) {
	packages, err := mosquittoPackages(ctx)
	if err != nil {
		return nil, err
	}
	port, err := free.Port()
	if err != nil {
		return nil, err
	}
	// Without bounds on what waits for a client: above its bounds it drops messages, above 20 in flight it waits.
	conf := fmt.Sprintf(`listener %d 127.0.0.1
allow_anonymous true
persistence true
persistence_location %s/
max_inflight_messages 0
max_queued_messages 0
set_tcp_nodelay true
sys_interval 0
log_type error
`, port, dir)
	if os.Getuid() == 0 {
		conf += "user root\n" // otherwise it becomes a user that only an installed package has
	}
	path := filepath.Join(dir, "mosquitto.conf")
	if err := os.WriteFile(path, []byte(conf), 0o644); err != nil {
		return nil, fmt.Errorf("peer: mosquitto: %w", err)
	}
	program, err := packages.find("usr/sbin/mosquitto")
	if err != nil {
		return nil, err
	}
	cmd := packages.command(context.WithoutCancel(ctx), program, "-c", path)
	s, err := serve(ctx, cmd, dir, "mosquitto", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return nil, err
	}
	return &mosquitto{served: s}, nil
}

func (m *mosquitto) Dial(ctx context.Context, p Person, sink driver.Sink) (driver.Conn, error) {
	return m.loop.MQTT(ctx, m.address, p.Name, append([]string{p.Name}, m.groupsOf(p)...), sink)
}

// names makes people and groups for systems in which a person is only a name: a name is the address, too. Who is in a group must be known
// before a member connects.
type names struct {
	// suffix ends the address of a group.
	suffix string

	mu     sync.Mutex
	people int                 // guarded by mu
	groups int                 // guarded by mu
	of     map[string][]string // guarded by mu; the groups of a name
}

func (n *names) People(_ context.Context, count int) ([]Person, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	people := make([]Person, count)
	for i := range people {
		n.people++
		people[i].Name = "u" + strconv.Itoa(n.people)
	}
	return people, nil
}

func (n *names) Direct(_ context.Context, a, b Person) (to, back string, err error) {
	return b.Name, a.Name, nil
}

func (n *names) Group(_ context.Context, members []Person) (string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.groups++
	address := "g" + strconv.Itoa(n.groups) + n.suffix
	if n.of == nil {
		n.of = map[string][]string{}
	}
	for _, m := range members {
		n.of[m.Name] = append(n.of[m.Name], address)
	}
	return address, nil
}

// groupsOf are the groups of a person as they are now.
func (n *names) groupsOf(p Person) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]string(nil), n.of[p.Name]...)
}
