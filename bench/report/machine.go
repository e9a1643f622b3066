package report

import (
	"os"
	"runtime"
	"strings"
	"time"
)

// Machine is what a figure depends on beside the system.
type Machine struct {
	Cores  int    `json:"cores"`
	CPU    string `json:"cpu"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
	// Date is the day of the run, such as 2026-11-26, in UTC.
	Date string `json:"date"`
}

// ThisMachine describes the machine on which it is called. What cannot be learnt is "unknown".
func ThisMachine() Machine {
	m := Machine{Cores: runtime.NumCPU(), CPU: "unknown", Kernel: "unknown", Go: strings.TrimPrefix(runtime.Version(), "go"),
		Date: time.Now().UTC().Format(time.DateOnly)}
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
				m.CPU = strings.Join(strings.Fields(value), " ")
				break
			}
		}
	}
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = runtime.GOOS + " " + strings.TrimSpace(string(b))
	}
	return m
}
