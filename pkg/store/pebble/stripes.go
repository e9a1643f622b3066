package pebble

import (
	"hash/maphash"
	"math/bits"
	"sync"
)

// nStripes is how many locks there are. More than a few dozen writers never meet by chance.
const nStripes = 256

// stripes are the locks under which rows are read and replaced: one name, always the same lock. Whoever needs several
// names takes all locks at once, in ascending order, so that no two can wait for each other.
type stripes struct {
	seed maphash.Seed
	mu   [nStripes]sync.Mutex
}

// lockSet is a set of stripes.
type lockSet [nStripes / 64]uint64

func (l *stripes) add(set *lockSet, name string) {
	i := maphash.String(l.seed, name) % nStripes
	set[i/64] |= 1 << (i % 64)
}

func (l *stripes) lock(set *lockSet) {
	for w, word := range set {
		for ; word != 0; word &= word - 1 {
			l.mu[w*64+bits.TrailingZeros64(word)].Lock()
		}
	}
}

func (l *stripes) unlock(set *lockSet) {
	for w, word := range set {
		for ; word != 0; word &= word - 1 {
			l.mu[w*64+bits.TrailingZeros64(word)].Unlock()
		}
	}
}
