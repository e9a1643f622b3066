//go:build unix

package edge

import (
	"syscall"
	"time"
)

// write writes to a socket, of which it needs no deadline as long as it takes all at once; while it waits, others write to the rest of the
// crew. No other write comes between. It is not done where nothing could be tried.
func (w *crew) write(c *conn, data []byte) (done bool, err error) {
	sc, ok := c.nc.(syscall.Conn)
	if !ok {
		return false, nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false, nil
	}
	if w.call == nil {
		w.call = w.some
	}
	w.to, w.data, w.wrote, w.waited, w.err = c, data, 0, false, nil
	err = raw.Write(w.call)
	wrote, waited, failed := w.wrote, w.waited, w.err
	w.to, w.data, w.err = nil, nil, nil
	if waited {
		_ = c.nc.SetWriteDeadline(time.Time{}) // behind it nothing can be tried
	}
	switch {
	case failed != nil:
		return true, failed
	case err != nil && wrote == 0 && !waited:
		return false, nil // the deadline of a write before
	}
	return true, err
}

// some writes what a socket takes. It is false where the socket is to be waited for.
func (w *crew) some(fd uintptr) bool {
	for w.wrote < len(w.data) {
		switch n, err := syscall.Write(int(fd), w.data[w.wrote:]); err {
		case nil:
			w.wrote += n
		case syscall.EINTR:
		case syscall.EAGAIN:
			if !w.waited {
				w.waited = true
				w.leave(w.to.s)
				_ = w.to.nc.SetWriteDeadline(time.Now().Add(writeTimeout))
			}
			return false
		default:
			w.err = err
			return true
		}
	}
	return true
}
