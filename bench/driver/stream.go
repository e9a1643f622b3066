package driver

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
)

const (
	// writeAt is how many queued bytes are written without waiting for more.
	writeAt = 64 << 10
	// maxQueued is how many bytes may wait for a server that does not read; Send fails where there are more.
	maxQueued = 16 << 20
	// keepBuffer is the capacity in bytes up to which a connection keeps its buffer while it has nothing to write.
	keepBuffer = 16 << 10
)

var errFull = errors.New("driver: the server does not read")

// Stream is a connection of a Loop. It is a Conn whose methods are for any goroutine.
type Stream struct {
	loop  *Loop
	fd    int
	proto Protocol
	sink  Sink

	reading sync.Mutex // held while something that came is handled
	rest    []byte     // guarded by reading; the beginning of a frame whose end has not come

	mu     sync.Mutex
	out    []byte // guarded by mu; what is to be written
	dirty  bool   // guarded by mu; the loop knows that there is something to write
	full   bool   // guarded by mu; the socket takes no more, the loop tells when it does
	closed bool   // guarded by mu
	err    error  // guarded by mu; what ended the connection
}

// Send queues a message, see Conn.
func (s *Stream) Send(address string, tag uint32, payload []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.err != nil:
		return s.err
	case len(s.out) > maxQueued:
		return errFull
	}
	s.out = s.proto.Append(s.out, address, tag, payload)
	return s.queued()
}

// Write queues bytes as they are, for what a protocol says besides messages. It never writes a part.
func (s *Stream) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.err != nil:
		return 0, s.err
	case len(s.out) > maxQueued:
		return 0, errFull
	}
	s.out = append(s.out, b...)
	return len(b), s.queued()
}

// queued writes where much waits, otherwise sees to it that it will be written. The caller holds s.mu.
func (s *Stream) queued() error {
	if len(s.out) >= writeAt && !s.full {
		return s.write()
	}
	if !s.dirty {
		s.dirty = true
		s.loop.soon(s)
	}
	return nil
}

// Flush writes what is queued.
func (s *Stream) Flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.write()
}

func (s *Stream) flushDirty() {
	s.mu.Lock()
	s.dirty = false
	if !s.full {
		s.write() // its error stays in s.err, and ends the reading
	}
	s.mu.Unlock()
}

// write writes as much as the socket takes. The caller holds s.mu.
func (s *Stream) write() error {
	done := 0
	for s.err == nil && done < len(s.out) {
		n, err := syscall.Write(s.fd, s.out[done:])
		switch {
		case err == syscall.EINTR:
		case err == syscall.EAGAIN:
			s.out = append(s.out[:0], s.out[done:]...)
			if !s.full {
				s.full = true
				s.err = s.loop.control(syscall.EPOLL_CTL_MOD, s.fd, syscall.EPOLLIN|syscall.EPOLLOUT)
			}
			return s.err
		case err != nil:
			s.err = fmt.Errorf("driver: write: %w", err)
		default:
			done += n
		}
	}
	if s.err != nil {
		return s.err
	}
	if s.out = s.out[:0]; cap(s.out) > keepBuffer {
		s.out = nil
	}
	if s.full {
		s.full = false
		s.err = s.loop.control(syscall.EPOLL_CTL_MOD, s.fd, syscall.EPOLLIN)
	}
	return s.err
}

// read handles what has come. It is the loop's.
func (s *Stream) read() {
	s.reading.Lock()
	defer s.reading.Unlock()
	if s.isClosed() {
		return
	}
	b := s.loop.buffer
	had := copy(b, s.rest)
	s.rest = s.rest[:0]
	n, err := syscall.Read(s.fd, b[had:])
	switch {
	case err == syscall.EAGAIN || err == syscall.EINTR:
		n = 0
	case err != nil:
		s.fail(fmt.Errorf("driver: read: %w", err))
		return
	case n == 0:
		s.fail(fmt.Errorf("driver: read: %w", io.EOF))
		return
	}
	if had+n > 0 {
		s.take(b[:had+n])
	}
}

func (s *Stream) take(b []byte) {
	taken, reply, err := s.proto.Take(b, s.sink, s.loop.reply[:0])
	if s.loop.reply = reply[:0]; len(reply) > 0 {
		if _, werr := s.Write(reply); err == nil {
			err = werr
		}
	}
	switch b = b[taken:]; {
	case err != nil:
		s.fail(err)
	case len(b) == len(s.loop.buffer):
		s.fail(errors.New("driver: a frame is longer than the buffer"))
	case len(b) > 0:
		s.rest = append(s.rest, b...)
	default:
		s.rest = nil
	}
}

// fail ends the connection and tells the sink. It is the loop's.
func (s *Stream) fail(err error) {
	s.mu.Lock()
	if s.closed { // while what came was answered
		s.mu.Unlock()
		return
	}
	if s.err == nil || errors.Is(err, io.EOF) {
		s.err = err
	}
	err = s.err
	s.mu.Unlock()
	s.loop.control(syscall.EPOLL_CTL_DEL, s.fd, 0) // nobody wants to hear of it any more; Close closes the descriptor
	s.sink.Failed(err)
}

func (s *Stream) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// Close ends the connection, see Conn. It is not for sinks.
func (s *Stream) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	if s.err == nil {
		s.write()
		s.err = net.ErrClosed
	}
	s.mu.Unlock()
	s.loop.remove(s)
	s.reading.Lock() // what is handled now is the last
	defer s.reading.Unlock()
	if err := syscall.Close(s.fd); err != nil {
		return fmt.Errorf("driver: close: %w", err)
	}
	return nil
}
