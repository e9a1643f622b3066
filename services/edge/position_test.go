package edge

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

func TestACursorIsReadAsItWasWrittenAndNothingElseIsOne(t *testing.T) {
	for n := range 200 {
		c := cursor{position: position{at: 1_800_000_000, base: make([]uint64, 1+rand.IntN(40)), members: rand.Uint64N(1 << 48)},
			poller: rand.Uint64(), answer: rand.Uint64N(1000)}
		for p := range c.base {
			if rand.IntN(3) > 0 {
				c.base[p] = rand.Uint64N(1 << 40)
			}
		}
		for range rand.IntN(movedMost) {
			c.moved = append(c.moved, moved{key: rand.Uint64N(1 << 48), seq: chat.Seq(rand.Uint64N(1 << 40)), member: rand.IntN(2) > 0, left: rand.IntN(2) > 0})
		}
		text := c.String()
		got, err := parseCursor(text)
		if err != nil || !reflect.DeepEqual(got, c) {
			t.Fatalf("%d: got %+v, %v; want %+v", n, got, err, c)
		}
		at := rand.IntN(len(text))
		for _, bad := range []string{text[:at], text[:at] + "A" + text[at:], text[:at] + string("AB"[text[at]&1^1]) + text[at+1:]} {
			if got, err := parseCursor(bad); err == nil && bad != text {
				t.Errorf("%d: %q was read as %+v; want it refused", n, bad, got)
			}
		}
	}
}

func TestKeysOfChatsAreDistinct(t *testing.T) {
	seen := map[uint64]string{}
	for n := range 200_000 {
		id := fmt.Sprintf("g%d", n)
		if other, twice := seen[keyOf(chat.ID(id))]; twice {
			t.Fatalf("%s and %s have one key", id, other)
		}
		seen[keyOf(chat.ID(id))] = id
	}
}

func FuzzParseCursor(f *testing.F) {
	f.Add(cursor{position: position{at: 5, base: []uint64{0, 0, 7}}, poller: 9}.String())
	f.Fuzz(func(t *testing.T, s string) {
		c, err := parseCursor(s)
		if err == nil && (len(c.base) > partitionsMost || len(c.moved) > movedMost) {
			t.Errorf("%q: %d partitions, %d chats", s, len(c.base), len(c.moved))
		}
	})
}
