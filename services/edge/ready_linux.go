package edge

import (
	"context"
	"os"
	"sync"
	"syscall"
)

// readiness is the set of the connections that wait, with epoll. A connection is told of once and has to be put into it anew. The zero value
// takes nobody, which is so until run and after it.
type readiness struct {
	mu sync.Mutex // guards the following fields
	// fd is that of the set, zero where there is none.
	fd int
	// conns are those in the set by their descriptors, and last is the number that was given last. A descriptor that is closed leaves the
	// set by itself and may be another's soon: a connection is told of only by the number that it was given.
	conns []*conn
	last  int32
}

// seat is where a connection is in the set; the zero value is nowhere.
type seat struct{ fd, number int32 }

// readyAtOnce is how many connections the system tells of with one call.
const readyAtOnce = 256

// run has those connections served that can be read, until ctx ends. It fails where there is no set to be had.
func (s *readiness) run(ctx context.Context) error {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	if err := syscall.SetNonblock(fd, true); err != nil { // so that the runtime waits for it, without a thread
		_ = syscall.Close(fd)
		return err
	}
	file := os.NewFile(uintptr(fd), "epoll")
	raw, err := file.SyscallConn()
	if err != nil {
		_ = file.Close()
		return err
	}
	s.open(fd)
	defer context.AfterFunc(ctx, func() { s.open(0); _ = file.Close() })()
	var events [readyAtOnce]syscall.EpollEvent
	for {
		err := raw.Read(func(uintptr) bool {
			n, err := syscall.EpollWait(fd, events[:], 0)
			for _, e := range events[:max(n, 0)] {
				if c := s.find(seat{e.Fd, e.Pad}); c != nil {
					c.kick()
				}
			}
			return n > 0 || err == syscall.EINTR
		})
		if err != nil {
			s.open(0)
			_ = file.Close()
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
	}
}

// open lets connections into a set, zero into none.
func (s *readiness) open(fd int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fd = fd
}

// find returns the connection at a place, nil where there is none any more.
func (s *readiness) find(at seat) *conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.conns[at.fd]; c != nil && c.seat == at {
		return c
	}
	return nil
}

// wait puts the reader's connection into the set. It is false where it cannot wait there.
func (s *readiness) wait(r *socketReader) bool {
	sc, ok := r.c.nc.(syscall.Conn)
	if !ok || r.c.s.c.ReaderEach {
		return false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	if r.arm == nil {
		r.arm = func(fd uintptr) { r.err = r.c.s.ready.add(r.c, int(fd)) }
	}
	// Under Control the descriptor is not closed, and so not another's.
	if err := raw.Control(r.arm); err != nil {
		return false
	}
	return r.err == nil
}

// add puts a connection into the set. Its descriptor stays open meanwhile.
func (s *readiness) add(c *conn, fd int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd == 0 {
		return os.ErrClosed
	}
	op := syscall.EPOLL_CTL_MOD
	if c.seat.number == 0 {
		if s.last++; s.last <= 0 {
			s.last = 1
		}
		c.seat = seat{int32(fd), s.last}
		for len(s.conns) <= fd {
			s.conns = append(s.conns, nil)
		}
		s.conns[fd] = c
		op = syscall.EPOLL_CTL_ADD
	}
	return syscall.EpollCtl(s.fd, op, fd, &syscall.EpollEvent{Events: syscall.EPOLLIN | syscall.EPOLLRDHUP | syscall.EPOLLONESHOT,
		Fd: c.seat.fd, Pad: c.seat.number})
}

// forget takes a connection out that is closed.
func (s *readiness) forget(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.seat.number != 0 && s.conns[c.seat.fd] == c {
		s.conns[c.seat.fd] = nil
	}
}
