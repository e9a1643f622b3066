package driver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"
)

const (
	// readBuffer is how much is read at once, and the longest frame that is understood, in bytes.
	readBuffer = 512 << 10
	// atOnce is how many sockets are read before what was sent meanwhile is written.
	atOnce = 64
)

// Protocol is how clients talk on a connection that is open. Each connection has one of its own.
type Protocol interface {
	// Append appends what sends a message, see Conn.Send. It is not called while another Append of the connection runs, but may be
	// while Take does.
	Append(out []byte, address string, tag uint32, payload []byte) []byte
	// Take handles what stands whole at the beginning of in, tells the sink, and returns how many bytes that was: 0 where the first
	// frame is not whole yet. What must be answered, such as a pong or the acknowledgement of a delivery, is appended to reply and
	// returned. An error ends the connection. in is only valid during the call.
	Take(in []byte, sink Sink, reply []byte) (taken int, replied []byte, err error)
}

// Loop reads for many connections in one goroutine: so a message costs no switch between goroutines, a connection that is idle
// costs some hundred bytes, and what came for many is answered with few writes.
//
// All sinks of a loop are called from its goroutine. What they Send, on whatever connection of the loop, is written when all that
// had come has been handled, without Flush.
type Loop struct {
	epoll  int
	wake   [2]int // a pipe: what is written to [1] wakes the loop
	ended  chan struct{}
	buffer []byte
	reply  []byte

	mu      sync.Mutex
	closed  bool      // guarded by mu
	streams []*Stream // guarded by mu; by descriptor
	dirty   []*Stream // guarded by mu; those that have something to write
	fresh   []*Stream // guarded by mu; those that had something to handle when they came
	flushed []*Stream // the goroutine's, a spare for dirty
}

// NewLoop starts a loop. Close ends it.
func NewLoop() (*Loop, error) {
	epoll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("driver: epoll: %w", err)
	}
	l := &Loop{epoll: epoll, ended: make(chan struct{}), buffer: make([]byte, readBuffer)}
	if err := syscall.Pipe2(l.wake[:], syscall.O_NONBLOCK|syscall.O_CLOEXEC); err != nil {
		syscall.Close(epoll)
		return nil, fmt.Errorf("driver: pipe: %w", err)
	}
	if err := l.control(syscall.EPOLL_CTL_ADD, l.wake[0], syscall.EPOLLIN); err != nil {
		return nil, errors.Join(err, l.free())
	}
	go l.run()
	return l, nil
}

func (l *Loop) control(op, fd int, events uint32) error {
	if err := syscall.EpollCtl(l.epoll, op, fd, &syscall.EpollEvent{Events: events, Fd: int32(fd)}); err != nil {
		return fmt.Errorf("driver: epoll: %w", err)
	}
	return nil
}

func (l *Loop) free() error {
	return errors.Join(syscall.Close(l.wake[0]), syscall.Close(l.wake[1]), syscall.Close(l.epoll))
}

// Close closes all connections and ends the loop; their sinks get nothing any more. It is not for sinks.
func (l *Loop) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	open := slices.Clone(l.streams)
	l.mu.Unlock()
	syscall.Write(l.wake[1], []byte{0}) // a full pipe wakes as well
	<-l.ended
	for _, s := range open {
		if s != nil {
			s.Close()
		}
	}
	return l.free()
}

func (l *Loop) run() {
	defer close(l.ended)
	events := make([]syscall.EpollEvent, atOnce)
	ready := make([]*Stream, atOnce)
	for {
		n, err := syscall.EpollWait(l.epoll, events, -1)
		if err != nil && err != syscall.EINTR {
			return // the descriptor is bad: nothing can come any more
		}
		l.mu.Lock()
		if l.closed {
			l.mu.Unlock()
			return
		}
		for i := range max(n, 0) {
			ready[i] = nil
			if fd := int(events[i].Fd); fd < len(l.streams) {
				ready[i] = l.streams[fd]
			}
		}
		fresh := l.fresh
		l.fresh = nil
		l.mu.Unlock()
		for _, s := range fresh {
			s.read()
		}
		for i, s := range ready[:max(n, 0)] {
			if s == nil {
				if int(events[i].Fd) == l.wake[0] {
					syscall.Read(l.wake[0], l.buffer)
				}
				continue
			}
			if events[i].Events&^syscall.EPOLLOUT != 0 {
				s.read()
			}
			if events[i].Events&syscall.EPOLLOUT != 0 {
				s.Flush()
			}
		}
		l.flush()
	}
}

// flush writes what was sent since the last time.
func (l *Loop) flush() {
	l.mu.Lock()
	l.dirty, l.flushed = l.flushed[:0], l.dirty
	l.mu.Unlock()
	for i, s := range l.flushed {
		s.flushDirty()
		l.flushed[i] = nil
	}
}

func (l *Loop) soon(s *Stream) {
	l.mu.Lock()
	l.dirty = append(l.dirty, s)
	l.mu.Unlock()
}

// Opening is a connection on which the protocol begins. What is read goes through Reader; what that has read beyond the opening is
// handled as the first thing that came.
type Opening struct {
	net.Conn
	Reader *bufio.Reader
}

// Open connects to a TCP address, lets begin log in, and hands the connection to the loop. begin reads and writes as on any
// connection, with the deadline of ctx or, where it has none, 30 s. The sink gets nothing before Open returns.
func (l *Loop) Open(ctx context.Context, address string, sink Sink, begin func(*Opening) (Protocol, error)) (*Stream, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("driver: %w", err)
	}
	defer c.Close() // the loop has a descriptor of its own
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(30 * time.Second)
	}
	if err := c.SetDeadline(deadline); err != nil {
		return nil, fmt.Errorf("driver: %w", err)
	}
	o := &Opening{Conn: c, Reader: readers.Get().(*bufio.Reader)}
	o.Reader.Reset(c)
	defer readers.Put(o.Reader)
	proto, err := begin(o)
	if err != nil {
		return nil, fmt.Errorf("driver: open: %w", err)
	}
	rest, err := o.Reader.Peek(o.Reader.Buffered())
	if err != nil {
		return nil, fmt.Errorf("driver: open: %w", err)
	}
	fd, err := descriptor(c.(*net.TCPConn))
	if err != nil {
		return nil, err
	}
	s := &Stream{loop: l, fd: fd, proto: proto, sink: sink, rest: append([]byte(nil), rest...)}
	if len(s.rest) == 0 {
		s.rest = nil
	}
	return s, l.add(s)
}

var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 4<<10) }}

// descriptor returns the socket under a number of its own, outside of the poller of the runtime, which would wake up for it too.
func descriptor(c *net.TCPConn) (fd int, err error) {
	raw, err := c.SyscallConn()
	if err == nil {
		err = errors.Join(raw.Control(func(of uintptr) {
			fd, err = syscall.Dup(int(of)) // it stays non-blocking
		}), err)
	}
	if err != nil {
		return 0, fmt.Errorf("driver: descriptor: %w", err)
	}
	syscall.CloseOnExec(fd)
	return fd, nil
}

func (l *Loop) add(s *Stream) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		syscall.Close(s.fd)
		return net.ErrClosed
	}
	for len(l.streams) <= s.fd {
		l.streams = append(l.streams, make([]*Stream, s.fd+1024-len(l.streams))...)
	}
	l.streams[s.fd] = s
	if len(s.rest) > 0 {
		l.fresh = append(l.fresh, s)
		syscall.Write(l.wake[1], []byte{0}) // a full pipe wakes as well
	}
	return l.control(syscall.EPOLL_CTL_ADD, s.fd, syscall.EPOLLIN)
}

func (l *Loop) remove(s *Stream) {
	l.mu.Lock()
	l.streams[s.fd] = nil
	l.mu.Unlock()
	l.control(syscall.EPOLL_CTL_DEL, s.fd, 0) // the descriptor is closed next in any case
}
