package limit

// Pace is how often it is passed on that somebody is writing somewhere, or has stopped: once in 2 s each, which is far more often than
// it expires, and twice at once, so that who stops and goes on is seen.
type Pace struct{ writes, stops *Limiter }

// typingKeys is how many keys a Pace remembers of each kind.
const typingKeys = 100_000

// NewPace returns a Pace without keys.
func NewPace() *Pace {
	c := Config{Rate: 0.5, Burst: 2, MaxKeys: typingKeys}
	return &Pace{writes: New(c), stops: New(c)}
}

// Allow tells whether it is passed on now, of a key that names who and where.
func (t *Pace) Allow(key string, stopped bool) bool {
	l := t.writes
	if stopped {
		l = t.stops
	}
	ok, _ := l.Allow(key)
	return ok
}
