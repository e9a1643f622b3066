package bus

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// verdict says what may be done about a setting that differs.
type verdict int

const (
	// change it; nothing is lost.
	change verdict = iota
	// ignore it: the broker may be set so.
	ignore
	// frozen is what is never changed, because data would be lost or the broker cannot.
	frozen
	// shrinks is a limit that gets smaller: it depends on what is stored.
	shrinks
	// remake is what the broker cannot change of a consumer: it is made anew, where its place is kept.
	remake
)

// setting is a setting of a stream or consumer: how it is shown, copied, and what may be done where it differs.
type setting[T any] struct {
	name string
	get  func(*T) string
	set  func(to, from *T)
	may  func(have, want *T) verdict
}

// of makes a setting from a pointer into the configuration.
func of[T, V any](name string, at func(*T) *V, show func(V) string, may func(have, want V) verdict) setting[T] {
	return setting[T]{
		name: name,
		get:  func(c *T) string { return show(*at(c)) },
		set:  func(to, from *T) { *at(to) = *at(from) },
		may:  func(have, want *T) verdict { return may(*at(have), *at(want)) },
	}
}

func plain[V any](v V) string { return fmt.Sprint(v) }

func list(v []string) string { return strings.Join(v, " ") }

// limit shows a limit, of which 0 and -1 are none.
func limit[V int | int32 | int64](v V) string {
	if v <= 0 {
		return "unlimited"
	}
	return fmt.Sprint(v)
}

// age shows a duration, of which 0 is none.
func age(d time.Duration) string {
	if d == 0 {
		return "unlimited"
	}
	return d.String()
}

func always[V any](v verdict) func(V, V) verdict { return func(V, V) verdict { return v } }

// bound lets a limit grow.
func bound[V int | int32 | int64 | time.Duration](have, want V) verdict {
	if want > 0 && (have <= 0 || want < have) {
		return shrinks
	}
	return change
}

// on lets what is needed be switched on, and what is on be.
func on(have, _ bool) verdict {
	if have {
		return ignore
	}
	return change
}

type stream = jetstream.StreamConfig

// streamFields are the settings of streams that the layout says something about, in the order in which they are shown.
var streamFields = []setting[stream]{
	of("description", func(c *stream) *string { return &c.Description }, plain[string], always[string](change)),
	of("subjects", func(c *stream) *[]string { return &c.Subjects }, list, always[[]string](frozen)),
	of("retention", func(c *stream) *jetstream.RetentionPolicy { return &c.Retention }, plain[jetstream.RetentionPolicy],
		always[jetstream.RetentionPolicy](frozen)),
	of("storage", func(c *stream) *jetstream.StorageType { return &c.Storage }, plain[jetstream.StorageType], always[jetstream.StorageType](frozen)),
	of("replicas", func(c *stream) *int { return &c.Replicas }, plain[int], func(have, want int) verdict {
		if want < have {
			return frozen
		}
		return change
	}),
	of("max_age", func(c *stream) *time.Duration { return &c.MaxAge }, age, bound[time.Duration]),
	of("max_bytes", func(c *stream) *int64 { return &c.MaxBytes }, limit[int64], bound[int64]),
	of("max_msgs", func(c *stream) *int64 { return &c.MaxMsgs }, limit[int64], bound[int64]),
	of("max_msgs_per_subject", func(c *stream) *int64 { return &c.MaxMsgsPerSubject }, limit[int64], bound[int64]),
	of("max_msg_size", func(c *stream) *int32 { return &c.MaxMsgSize }, limit[int32], bound[int32]),
	of("discard", func(c *stream) *jetstream.DiscardPolicy { return &c.Discard }, plain[jetstream.DiscardPolicy],
		func(_, want jetstream.DiscardPolicy) verdict {
			if want == jetstream.DiscardNew {
				return change
			}
			return frozen
		}),
	of("duplicate_window", func(c *stream) *time.Duration { return &c.Duplicates }, age, func(_, want time.Duration) verdict {
		if want == 0 { // the broker's default
			return ignore
		}
		return change
	}),
	of("allow_direct", func(c *stream) *bool { return &c.AllowDirect }, plain[bool], on),
	of("allow_rollup", func(c *stream) *bool { return &c.AllowRollup }, plain[bool], on),
	of("allow_atomic", func(c *stream) *bool { return &c.AllowAtomicPublish }, plain[bool], on),
	of("allow_msg_ttl", func(c *stream) *bool { return &c.AllowMsgTTL }, plain[bool], on),
	of("marker_ttl", func(c *stream) *time.Duration { return &c.SubjectDeleteMarkerTTL }, age, always[time.Duration](change)),
	of("deny_delete", func(c *stream) *bool { return &c.DenyDelete }, plain[bool], func(have, _ bool) verdict {
		if have { // the broker cannot take it back, and what is to be erased could not be
			return frozen
		}
		return change
	}),
	{
		name: partitionsKey,
		get:  func(c *stream) string { return c.Metadata[partitionsKey] },
		set: func(to, from *stream) {
			meta := map[string]string{}
			for k, v := range to.Metadata {
				meta[k] = v
			}
			meta[partitionsKey] = from.Metadata[partitionsKey]
			to.Metadata = meta
		},
		may: func(have, want *stream) verdict {
			switch {
			case want.Metadata[partitionsKey] == "":
				return ignore
			case have.Metadata[partitionsKey] == "":
				return change
			}
			return frozen
		},
	},
}

type consumer = jetstream.ConsumerConfig

// consumerFields are the settings of consumers.
var consumerFields = []setting[consumer]{
	of("description", func(c *consumer) *string { return &c.Description }, plain[string], always[string](change)),
	of("filter", func(c *consumer) *string { return &c.FilterSubject }, plain[string], always[string](frozen)),
	of("deliver", func(c *consumer) *jetstream.DeliverPolicy { return &c.DeliverPolicy }, plain[jetstream.DeliverPolicy],
		always[jetstream.DeliverPolicy](frozen)),
	of("start_seq", func(c *consumer) *uint64 { return &c.OptStartSeq }, plain[uint64], always[uint64](frozen)),
	of("start_time", func(c *consumer) **time.Time { return &c.OptStartTime }, moment, always[*time.Time](frozen)),
	of("ack", func(c *consumer) *jetstream.AckPolicy { return &c.AckPolicy }, plain[jetstream.AckPolicy], always[jetstream.AckPolicy](frozen)),
	of("ack_wait", func(c *consumer) *time.Duration { return &c.AckWait }, age, always[time.Duration](change)),
	of("max_deliver", func(c *consumer) *int { return &c.MaxDeliver }, limit[int], always[int](change)),
	of("max_ack_pending", func(c *consumer) *int { return &c.MaxAckPending }, limit[int], always[int](change)),
	of("inactive_threshold", func(c *consumer) *time.Duration { return &c.InactiveThreshold }, age, always[time.Duration](change)),
	of("priority_policy", func(c *consumer) *jetstream.PriorityPolicy { return &c.PriorityPolicy }, plain[jetstream.PriorityPolicy],
		always[jetstream.PriorityPolicy](frozen)),
	of("priority_groups", func(c *consumer) *[]string { return &c.PriorityGroups }, list, always[[]string](frozen)),
	of("pinned_ttl", func(c *consumer) *time.Duration { return &c.PinnedTTL }, age, always[time.Duration](change)),
	of("mem_storage", func(c *consumer) *bool { return &c.MemoryStorage }, plain[bool], func(have, _ bool) verdict {
		if have {
			return ignore
		}
		return remake
	}),
}

func moment(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// shown are the settings of something new that are not as the broker would have them anyway.
func shown[T any](settings []setting[T], c *T) []Field {
	var out []Field
	for _, s := range settings {
		if v := s.get(c); s.name != "description" && !slices.Contains([]string{"", "0", "false", "unlimited"}, v) {
			out = append(out, Field{Name: s.name, New: v})
		}
	}
	return out
}
