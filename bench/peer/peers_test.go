package peer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/bench/driver"
)

// someone collects what comes for a person.
type someone struct {
	name string
	conn driver.Conn

	mu    sync.Mutex
	got   []string
	acked []uint32
	err   error
}

func (s *someone) Acked(tag uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acked = append(s.acked, tag)
}

func (s *someone) Delivered(payload []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !strings.HasPrefix(string(payload), s.name+" ") { // some systems send people their own messages
		s.got = append(s.got, string(payload))
	}
}

func (s *someone) Failed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = errors.Join(s.err, err)
}

// await waits until so much was acknowledged and delivered as is wanted, and compares; messages of one sender are in order.
func (s *someone) await(t *testing.T, acked []uint32, want []string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		s.mu.Lock()
		got, tags, err := slices.Clone(s.got), slices.Clone(s.acked), s.err
		s.mu.Unlock()
		if err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		if len(got) < len(want) || len(tags) < len(acked) {
			if time.Now().Before(end) {
				continue
			}
			t.Fatalf("%s: got %d messages, %d acknowledgements; want %d, %d", s.name, len(got), len(tags), len(want), len(acked))
		}
		by := func(a, b string) int { return strings.Compare(strings.Fields(a)[0], strings.Fields(b)[0]) }
		slices.SortStableFunc(got, by)
		slices.SortStableFunc(want, by)
		slices.Sort(tags)
		if !slices.Equal(got, want) || !slices.Equal(tags, acked) {
			t.Fatalf("%s: got %q, acknowledged %v; want %q, %v", s.name, got, tags, want, acked)
		}
		return
	}
}

// peers are the systems that are not ours, and ours on three brokers.
func peers() []System {
	return []System{ChatmeshR3(), Centrifuge(), Mosquitto(), SocketIO(), Ejabberd()}
}

func TestEachPeerCarriesWhatTwoPeopleWriteToEachOtherAndInAGroup(t *testing.T) {
	for _, system := range peers() {
		t.Run(system.Name, func(t *testing.T) { carries(t, system) })
	}
}

func carries(t *testing.T, system System) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if system.Setup != nil {
		if err := system.Setup(ctx); err != nil {
			t.Fatal(err)
		}
	}
	server, err := system.Start(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	}
	defer stop()
	if len(server.PIDs()) == 0 {
		t.Error("got no processes whose CPU and memory count")
	}
	people, err := server.People(ctx, 3)
	if err != nil {
		t.Fatal(err)
	}
	to, back, err := server.Direct(ctx, people[0], people[1])
	if err != nil {
		t.Fatal(err)
	}
	group, err := server.Group(ctx, people)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time with sessions that the server may remember
		write(t, ctx, server, people, to, back, group)
	}
	pids := server.PIDs()
	stop()
	for _, pid := range pids {
		if left := family(pid); len(left) > 1 {
			t.Errorf("process %d still has children after the end: %v", pid, left)
		}
	}
}

// write connects three people, lets two write to each other and all three to their group, and compares what comes.
func write(t *testing.T, ctx context.Context, server Server, people []Person, to, back, group string) {
	t.Helper()
	var all []*someone
	for i, p := range people {
		s := &someone{name: fmt.Sprintf("p%d", i)}
		var err error
		if s.conn, err = server.Dial(ctx, p, s); err != nil {
			t.Fatal(err)
		}
		defer s.conn.Close()
		all = append(all, s)
	}
	const each = 40
	acked, want := make([][]uint32, len(all)), make([][]string, len(all))
	send := func(from int, address string, receivers ...int) {
		tag := uint32(len(acked[from]) + 1)
		text := fmt.Sprintf("%s says %d to %s: %s", all[from].name, tag, address, strings.Repeat("what a day ", int(tag)))
		if err := all[from].conn.Send(address, tag, []byte(text)); err != nil {
			t.Fatal(err)
		}
		acked[from] = append(acked[from], tag)
		for _, r := range receivers {
			want[r] = append(want[r], text)
		}
	}
	settle := func() {
		for _, s := range all {
			if err := s.conn.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		for i, s := range all {
			s.await(t, acked[i], want[i])
		}
	}
	for range each {
		send(0, to, 1)
		send(1, back, 0)
	}
	settle()
	for range each {
		send(0, group, 1, 2)
		send(1, group, 0, 2)
		send(2, group, 0, 1)
	}
	settle()
}
