package chatlog

import (
	"context"
	"time"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/subject"
)

// The log forgets an event when it is as old as the retention, whether the store has it or not. So each node that appends looks from
// time to time how old the oldest event is that the store does not have, and appends nothing more to a partition in which that
// nears the retention, until the persister has caught up.

// guardEvery is how often a node looks; guardPart is the part of the retention at which it stops.
const (
	guardEvery = 5 * time.Second
	guardPart  = 0.8
)

// guard looks after every partition until ctx ends.
func (l *Log) guard(ctx context.Context) {
	every := min(guardEvery, l.retention/20)
	for bus.Sleep(ctx, every) == nil {
		for p, c := range l.commits {
			age, err := l.bus.OldestPending(ctx, subject.ChatStream(p), subject.Persister)
			if err != nil {
				continue // what was known stays: without the broker nothing is appended anyway
			}
			l.m.unpersisted.WithLabelValues(subject.ChatStream(p)).Set(age.Seconds())
			stop := age > time.Duration(float64(l.retention)*guardPart)
			if c.stopped.Swap(stop) != stop {
				l.log.Warn("appends to a partition change", "partition", p, "refused", stop, "oldest_unpersisted", age.Round(time.Second))
			}
			if l.health != nil {
				l.health("retention of "+subject.ChatStream(p), stoppedError(stop))
			}
		}
	}
}

func stoppedError(stop bool) error {
	if stop {
		return errBehind
	}
	return nil
}

// roomEvery is how often a log asks whether there is room.
const roomEvery = 250 * time.Millisecond

// guardRoom looks whether there is room until ctx ends.
func (l *Log) guardRoom(ctx context.Context) {
	for {
		err := l.room()
		if full := err != nil; l.noRoom.Swap(full) != full {
			l.log.Warn("room for the log changes", "refused", full, "error", err)
			if l.health != nil {
				l.health("room for the log", err)
			}
		}
		if bus.Sleep(ctx, roomEvery) != nil {
			return
		}
	}
}
