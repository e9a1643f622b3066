package edge

import (
	"slices"
	"sync"
)

// crew are connections that a goroutine has yet to write to, one after the other. Nil is nobody.
type crew struct {
	conns []*conn
	// What follows is that of write.
	call   func(fd uintptr) bool
	to     *conn
	data   []byte
	wrote  int
	waited bool
	err    error
}

// crewSize is how many connections one goroutine writes to.
const crewSize = 16

// writeAll has what is queued for connections written that nobody writes to.
func (s *Server) writeAll(conns []*conn) {
	for some := range slices.Chunk(conns, crewSize) {
		s.wg.Add(1)
		go s.writeTo(&crew{conns: slices.Clone(some)})
	}
}

// writeTo writes to connections. The first that cannot take more at the moment keeps the goroutine, and the others get another.
func (s *Server) writeTo(w *crew) {
	defer s.wg.Done()
	for len(w.conns) > 0 {
		c := w.conns[0]
		w.conns = w.conns[1:]
		c.mu.Lock()
		c.pending = false
		if c.dead || c.writing || len(c.out) == 0 {
			c.mu.Unlock()
			continue
		}
		c.writing = true
		c.mu.Unlock()
		c.write(w)
	}
}

// next tells whether others of the crew are to be written to before c, which then waits for its turn. c.mu is held.
func (w *crew) next(c *conn) bool {
	if w == nil || len(w.conns) == 0 || len(c.out) == 0 || c.dead {
		return false
	}
	c.writing, c.pending = false, true
	w.conns = append(w.conns, c)
	return true
}

// leave has another goroutine write to the rest of the crew.
func (w *crew) leave(s *Server) {
	if w == nil || len(w.conns) == 0 {
		return
	}
	s.wg.Add(1)
	go s.writeTo(&crew{conns: w.conns})
	w.conns = nil
}

// queues are lent to connections for the frames that wait; longer ones grow beside.
var queues = sync.Pool{New: func() any { return new(queue) }}

type queue [16][]byte

func borrowQueue() [][]byte { return queues.Get().(*queue)[:0] }

// returnQueue takes back a queue that is empty and cleared, if it is one that was lent.
func returnQueue(q [][]byte) {
	if cap(q) == len(queue{}) {
		queues.Put((*queue)(q[:cap(q)]))
	}
}
