package edge

import (
	"bufio"
	"sync"
	"sync/atomic"
	"time"
)

// A connection on which nothing comes has no goroutine, no buffer and no timer: it waits in a set of the system's (readiness). Once
// something can be read, or it is to end, it gets a reader, which serves what is there and then lets it wait again:
//
//	                     something can be read, or kick
//	waiting in the set ─────────────────────────────────► a reader serves it ──► end
//	                   ◄─────────────────────────────────
//	                       all is read, nothing is to end
//
// While frames follow each other closely the reader stays. Where the system has no such set, and with a connection that is no plain
// socket, it always does.

// Whose a connection is. Who changes waits to reads has to see to it that a reader serves it.
const (
	reads int32 = iota
	waits
)

// Bounds of reading.
const (
	// readBuffer is the size of a reader's buffer. Larger frames are read in pieces.
	readBuffer = 4 << 10
	// stayWithin is how closely frames follow each other on a connection whose reader stays, in whole seconds, and stayTime for how
	// long after the last one; stayAtOnce is how many do.
	stayWithin = 1
	stayTime   = 4 * time.Second
	stayAtOnce = 4096
)

// readers lends readers to connections.
type readers struct {
	pool    sync.Pool // of *socketReader
	staying atomic.Int32
}

// socketReader is what a connection is read with: a goroutine and a buffer.
type socketReader struct {
	c *conn
	// br is what is read from: box, or that of the connection's library, which has the buffer of box then.
	br  *bufio.Reader
	box bufio.Reader
	// until is the deadline that the reader has set; zero is none.
	until time.Time
	// stays says that the reader counts as one that stays.
	stays bool
	// arm lets the connection wait in the set, with the result in err (ready_linux.go). It is kept with the reader so that it is made once.
	arm func(fd uintptr)
	err error
}

// lend returns a reader for a connection.
func (rs *readers) lend(c *conn) *socketReader {
	r, _ := rs.pool.Get().(*socketReader)
	if r == nil {
		r = &socketReader{box: *bufio.NewReaderSize(nil, readBuffer)}
	}
	r.c = c
	r.give()
	return r
}

// first returns the reader of a connection that has its buffer from the HTTP server.
func (rs *readers) first(c *conn, br *bufio.Reader) *socketReader {
	r := &socketReader{c: c, box: *br}
	r.give()
	return r
}

// back takes a reader back that reads no connection any more.
func (rs *readers) back(r *socketReader) {
	r.stay(false)
	r.c, r.until, r.err = nil, time.Time{}, nil
	rs.pool.Put(r)
}

// give begins to read the connection, and take ends it; all that was read is served then.
func (r *socketReader) give() {
	r.box.Reset(r.c.nc)
	r.br = &r.box
	if l := r.c.library; l != nil {
		*l.br, r.box = r.box, bufio.Reader{}
		r.br = l.br
	}
}

func (r *socketReader) take() {
	if l := r.c.library; l != nil {
		r.box, *l.br = *l.br, bufio.Reader{}
	}
	r.box.Reset(nil)
	r.br = nil
}

// stay counts the reader as one that stays, or not any more. It is false where there are too many.
func (r *socketReader) stay(stays bool) bool {
	n := &r.c.s.readers.staying
	switch {
	case stays == r.stays:
	case !stays:
		n.Add(-1)
	case n.Add(1) > stayAtOnce:
		n.Add(-1)
		return false
	}
	r.stays = stays
	return true
}

// kick has a connection that waits served, because it is to end. It is called after that was noted under mu.
func (c *conn) kick() {
	if c.owner.CompareAndSwap(waits, reads) {
		go c.resume() // counted since connect
	}
}

// resume serves a connection that has waited.
func (c *conn) resume() {
	r := c.s.readers.lend(c)
	if time.Now().Unix()-c.read.Load() <= stayWithin {
		r.stay(true)
	}
	r.serve(true)
}

// serve serves what comes until the connection waits again or has ended. known says that there is something to read.
func (r *socketReader) serve(known bool) {
	c, rs := r.c, &r.c.s.readers
	for ; known || r.more(); known = false {
		data, ok := r.receive()
		if !ok || data != nil && !c.request(data) {
			c.end()
			r.take()
			break
		}
	}
	rs.back(r)
}

// more waits until there is something to read, or the connection is to end. It is false where the connection waits in the set now: then
// it is not the reader's any more.
func (r *socketReader) more() bool {
	c := r.c
	if r.br.Buffered() > 0 {
		return true
	}
	if r.stays {
		if now := time.Now(); r.until.Sub(now) < stayTime/2 {
			r.patience(now.Add(stayTime))
		}
		if _, err := r.br.Peek(1); err == nil || !isTimeout(err) || c.ending() {
			return true
		}
		r.stay(false)
	}
	r.patience(time.Time{})
	if c.ending() {
		return true
	}
	r.take()
	c.owner.Store(waits)
	if c.s.ready.wait(r) && !c.ending() {
		return false
	}
	if !c.owner.CompareAndSwap(waits, reads) {
		return false // somebody else has it served
	}
	r.give()
	return true
}

// patience sets until when is waited for something to read; zero is for ever. Once the connection ends, the deadline is that of the end.
func (r *socketReader) patience(until time.Time) {
	if r.until.Equal(until) {
		return
	}
	r.until = until
	r.c.deadline(until)
}

// ending tells whether the connection is to end, so that it may not wait any more.
func (c *conn) ending() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dead || c.closing != 0
}

// deadline sets until when is read, unless the end of the connection has set it.
func (c *conn) deadline(until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.dead {
		_ = c.nc.SetReadDeadline(until)
	}
}
