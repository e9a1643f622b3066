package subject_test

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/subject"
)

// A chat lives in the stream of its partition for ever: another function would look for it where it is not, and start it anew
// there. Never change these values (FNV-1a of 64 bits; of "a" it is af63dc4c8601ec8c, says its specification).
func TestPartitionOfAChatNeverChanges(t *testing.T) {
	for _, c := range []struct {
		id              chat.ID
		of4, of16, of64 int
	}{
		{"a", 0, 12, 12},
		{"c1", 1, 9, 25},
		{"g06f0h7rne5v3f9bkq2m1p8d4sc", 3, 3, 51},
		{"d0a1b2c3d4e5f6g7h8i9j0k1l2m", 2, 2, 18},
		{"019ab2c4-7d1e-7f00-8a3b-5c6d7e8f9012", 1, 9, 9},
		{"-", 0, 8, 24},
		{"_", 2, 14, 14},
		{"Z", 1, 13, 13},
		{chat.ID(strings.Repeat("x", 64)), 1, 5, 37},
	} {
		if got := subject.Partition(c.id, 1); got != 0 {
			t.Errorf("%s of 1: got %d; want 0", c.id, got)
		}
		got := [3]int{subject.Partition(c.id, 4), subject.Partition(c.id, 16), subject.Partition(c.id, 64)}
		if want := [3]int{c.of4, c.of16, c.of64}; got != want {
			t.Errorf("%s of 4, 16, 64: got %v; want %v", c.id, got, want)
		}
	}
	if got := subject.Partition("c1", 1000003); got != 91794 {
		t.Errorf("c1 of 1000003: got %d; want 91794", got)
	}
}

func TestPartitionIsInRange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id, n := chat.ID(anID(t, "chat")), rapid.IntRange(1, 10_000).Draw(t, "partitions")
		p := subject.Partition(id, n)
		if p < 0 || p >= n {
			t.Fatalf("got partition %d of %d", p, n)
		}
		if again := subject.Partition(id, n); again != p {
			t.Fatalf("got %d and %d", p, again)
		}
	})
}

// ids of the forms that are made: groups are UUIDv7 in base 32 behind a letter, direct chats a digest; and UUIDs as others
// write them. The clock of a UUIDv7 hardly moves from one to the next.
var forms = map[string]func(i int, r *rand.Rand) chat.ID{
	"groups": func(i int, r *rand.Rand) chat.ID { return chat.ID("g" + base(uuid7(i, r))) },
	"direct": func(i int, _ *rand.Rand) chat.ID {
		h := sha256.Sum256(fmt.Appendf(nil, "%d", i))
		return chat.ID("d" + base([16]byte(h[:16])))
	},
	"uuids": func(i int, r *rand.Rand) chat.ID {
		b := uuid7(i, r)
		return chat.ID(fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]))
	},
}

func base(b [16]byte) string {
	return strings.ToLower(base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))
}

func uuid7(i int, r *rand.Rand) (b [16]byte) {
	binary.BigEndian.PutUint64(b[:8], uint64(1_795_457_575_000+i/50)<<16|0x7000|uint64(r.IntN(4096)))
	binary.BigEndian.PutUint64(b[8:], r.Uint64()>>2|1<<63)
	return b
}

// Of 100,000 ids that are spread by chance over 64 partitions, the fullest is expected to hold 6 % more than the mean (its
// deviation is 2.5 %). So that 5 % is a statement about the function, 64 partitions get 300,000 ids, 100,000 of each form.
func TestPartitionsAreFilledEvenly(t *testing.T) {
	const each = 100_000
	even := func(what string, count []int) {
		total := 0
		for _, c := range count {
			total += c
		}
		mean, worst := float64(total)/float64(len(count)), 0.0
		for _, c := range count {
			worst = max(worst, float64(c)/mean-1, 1-float64(c)/mean)
		}
		t.Logf("%s over %d: the furthest from the mean is off by %.1f %%", what, len(count), 100*worst)
		if worst > 0.05 {
			t.Errorf("%s over %d: got one off the mean by %.1f %%; want at most 5 %%", what, len(count), 100*worst)
		}
	}
	var of64 [64]int
	for name, form := range forms {
		r := rand.New(rand.NewPCG(1, 2))
		var of4 [4]int
		var of16 [16]int
		for i := range each {
			id := form(i, r)
			of4[subject.Partition(id, 4)]++
			of16[subject.Partition(id, 16)]++
			of64[subject.Partition(id, 64)]++
		}
		even(name, of4[:])
		even(name, of16[:])
	}
	even("all", of64[:])
}
