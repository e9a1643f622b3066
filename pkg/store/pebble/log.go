package pebble

import (
	"log/slog"

	lsm "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/redact"
)

// engineLog passes on what the engine says of failures, without what it does not mark as safe: keys hold names and ids.
// What it says of its daily work is in the metrics.
type engineLog struct{ log *slog.Logger }

func (l engineLog) Infof(string, ...any) {}

func (l engineLog) Errorf(format string, args ...any) {
	l.log.Error("pebble: engine error", "detail", safe(format, args))
}

// Fatalf is called when the engine cannot go on, for instance because its log cannot be written any more. It must not
// return; a panic ends the process with a trace, and a restart finds all that was confirmed.
func (l engineLog) Fatalf(format string, args ...any) {
	detail := safe(format, args)
	l.log.Error("pebble: engine cannot go on", "detail", detail)
	panic("pebble: engine cannot go on: " + detail)
}

func safe(format string, args []any) string { return string(redact.Sprintf(format, args...).Redact()) }

// events tells the log what an operator has to know.
func (s *Store) events() *lsm.EventListener {
	return &lsm.EventListener{
		BackgroundError: func(err error) {
			s.metrics.failures.Inc()
			s.log.Error("pebble: background work failed and will be tried again", "error", redacted{err})
		},
		// The engine's default is to end the process. One damaged block must not take down what the others answer: reads of
		// it fail.
		DataCorruption: func(i lsm.DataCorruptionInfo) {
			s.metrics.failures.Inc()
			s.log.Error("pebble: damaged data on disk", "file", i.Path, "error", redacted{i.Details})
		},
		DiskSlow: func(i lsm.DiskSlowInfo) {
			s.log.Warn("pebble: the disk is slow", "operation", i.OpType.String(), "duration", i.Duration)
		},
		LowDiskSpace: func(i lsm.LowDiskSpaceInfo) {
			s.log.Warn("pebble: the disk fills up", "available_bytes", i.AvailBytes, "total_bytes", i.TotalBytes)
		},
		WriteStallBegin: func(lsm.WriteStallBeginInfo) { s.metrics.stalls.Inc() },
	}
}
