package driver

import (
	"runtime"
	"syscall"
	"time"
)

// Pacer wakes at given moments, more exactly than timers of the runtime do, which waits for whole milliseconds where nothing else is to
// be done. It belongs to the goroutine that made it, and has a thread.
type Pacer struct{}

// prSetTimerSlack is PR_SET_TIMERSLACK of prctl: by how many nanoseconds the kernel may be late on purpose.
const prSetTimerSlack = 29

// NewPacer binds the goroutine to a thread; Close frees it.
func NewPacer() Pacer {
	runtime.LockOSThread()
	syscall.RawSyscall(syscall.SYS_PRCTL, prSetTimerSlack, 1, 0) // where it fails the kernel's 50 µs stay
	return Pacer{}
}

// Until waits until Clock shows a time; it returns at once where that has passed.
func (Pacer) Until(due time.Duration) {
	for wait := due - Clock(); wait > 0; wait = due - Clock() {
		ts := syscall.NsecToTimespec(int64(wait))
		syscall.Nanosleep(&ts, nil) // a signal may end it early
	}
}

// Close frees the thread, whose timers are as exact as the process's again.
func (Pacer) Close() {
	syscall.RawSyscall(syscall.SYS_PRCTL, prSetTimerSlack, 0, 0)
	runtime.UnlockOSThread()
}
