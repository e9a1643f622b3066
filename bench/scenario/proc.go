package scenario

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"
)

// tick is the unit of times in /proc: Linux shows a hundredth of a second on all machines.
const tick = 10 * time.Millisecond

// cpu is how long processes have computed, in user mode and in the kernel. A process that has ended counts nothing.
func cpu(pids []int) time.Duration {
	var sum time.Duration
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:]) // the third of the line is the first here
		for _, f := range []int{11, 12} {
			if n, err := strconv.Atoi(string(fields[f])); err == nil {
				sum += time.Duration(n) * tick
			}
		}
	}
	return sum
}

// ownCPU is how long this process has computed.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
