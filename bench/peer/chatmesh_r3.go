package peer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/chatmesh/chatmesh/pkg/meshtest/free"
)

// ChatmeshR3 has its log on three brokers, which are processes of their own and sync: an acknowledged message is on the disks of two of
// them. Edge, api, fan-out, persister and presence run in one process with the embedded store, which keeps history and accounts; the
// other store, a CQL server, would take more of a small machine than all the rest.
func ChatmeshR3() System {
	return System{Name: "chatmesh-r3", Durable: Disk3, About: "all services in one process, embedded store, over three brokers, R3, synced",
		Start: startChatmeshR3()}
}

// chatmeshR3 is a chatmesh with its brokers.
type chatmeshR3 struct {
	*chatmeshServer
	brokers []*process
}

func startChatmeshR3() func(context.Context, string) (Server, error) {
	program, broker := &build{pkg: chatmeshProgram}, &build{pkg: "./e2e/brokerd"} // a nats-server
	return func(ctx context.Context, dir string) (Server, error) {
		return launchChatmeshR3(ctx, dir, program, broker)
	}
}

func launchChatmeshR3(ctx context.Context, dir string, program, broker *build) (_ Server, err error) {
	s := &chatmeshR3{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.stopBrokers())
		}
	}()
	path, err := broker.get(ctx)
	if err != nil {
		return nil, err
	}
	addresses, err := s.startBrokers(ctx, path, dir)
	if err != nil {
		return nil, err
	}
	if path, err = program.get(ctx); err != nil {
		return nil, err
	}
	s.chatmeshServer, err = launchChatmesh(ctx, path, dir, accounts, "--nats-url", "nats://"+strings.Join(addresses, ",nats://"), "--replicas", "3")
	return s, err
}

// startBrokers starts three servers with the limits of production, but without its accounts and certificates, as all are on the loopback
// of one machine. It returns where they listen.
func (s *chatmeshR3) startBrokers(ctx context.Context, program, dir string) (addresses []string, err error) {
	limits, err := os.ReadFile(filepath.Join(root(), "nats", "limits.conf"))
	if err != nil {
		return nil, fmt.Errorf("peer: brokers: %w", err)
	}
	const count = 3
	var routes []string
	for range count {
		for _, to := range []*[]string{&addresses, &routes} {
			a, err := free.Address()
			if err != nil {
				return nil, err
			}
			*to = append(*to, a)
		}
	}
	for i := range count {
		name := fmt.Sprintf("n%d", i+1)
		conf := fmt.Sprintf(`%s
server_name: %s
listen: "%s"
cluster { name: bench, listen: "%s", routes: ["nats://%s"], no_advertise: true }
jetstream { store_dir: %q, sync_interval: always, max_file_store: 20GB, max_memory_store: 256MB }
`, limits, name, addresses[i], routes[i], strings.Join(routes, `", "nats://`), filepath.Join(dir, name))
		path := filepath.Join(dir, name+".conf")
		if err := os.WriteFile(path, []byte(conf), 0o644); err != nil {
			return nil, fmt.Errorf("peer: brokers: %w", err)
		}
		p, err := startProcess(exec.Command(program, "-c", path), dir, name)
		if err != nil {
			return nil, err
		}
		s.brokers = append(s.brokers, p)
	}
	for i, p := range s.brokers {
		if err := p.listens(ctx, addresses[i]); err != nil {
			return nil, err
		}
	}
	return addresses, nil
}

// PIDs is of Server.
func (s *chatmeshR3) PIDs() []int {
	pids := s.chatmeshServer.PIDs()
	for _, b := range s.brokers {
		pids = append(pids, b.pids()...)
	}
	return pids
}

// Stop is of Server.
func (s *chatmeshR3) Stop() error { return errors.Join(s.chatmeshServer.Stop(), s.stopBrokers()) }

func (s *chatmeshR3) stopBrokers() error {
	var errs []error
	for _, b := range s.brokers {
		errs = append(errs, b.stop(syscall.SIGTERM))
	}
	return errors.Join(errs...)
}
