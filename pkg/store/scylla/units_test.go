package scylla

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gocql/gocql"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
)

func TestEveryClientIDIsWhereItsGenerationIsLookedFor(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seq := chat.Seq(rapid.Uint64Range(1, maxPlace-1).Draw(t, "seq"))
		head := chat.Seq(rapid.Uint64Range(uint64(seq), maxPlace-1).Draw(t, "head"))
		client := chat.ClientID(rapid.StringMatching(`[A-Za-z0-9_-]{1,64}`).Draw(t, "client"))
		bucket, g := foundBucket(seq, client), generation(seq)
		if g > generation(head) || bucket != foundIn(g, client) {
			t.Fatalf("seq %d is in generation %d, bucket %d; it is not looked for there", seq, g, bucket)
		}
		if bucket < 0 || bucket >= foundBuckets(head) {
			t.Fatalf("bucket %d of seq %d is not among the %d of head %d", bucket, seq, foundBuckets(head), head)
		}
		if g > 0 && bucket < foundBuckets(1<<(foundShift+g-1)-1) {
			t.Fatalf("bucket %d of generation %d belongs to an earlier generation", bucket, g)
		}
	})
}

func TestPartitionsOfClientIDsStayWithinTheirBound(t *testing.T) {
	const n = 1 << 20
	rows := map[int64]int{}
	id := uuid.UUID{}
	for seq := range chat.Seq(n) {
		// The least different ids that clients make: a counter in a UUID.
		id[13], id[14], id[15] = byte(seq>>16), byte(seq>>8), byte(seq)
		rows[foundBucket(seq+1, chat.ClientID(id.String()))]++
	}
	for bucket, n := range rows {
		if n > 1<<foundShift*21/20 {
			t.Errorf("bucket %d has %d rows; want about %d at most", bucket, n, 1<<foundShift)
		}
	}
	if want := n >> foundShift; len(rows) < want {
		t.Errorf("got %d buckets for %d events; want %d", len(rows), n, want)
	}
}

func TestTheIndexOfChatsIsSpreadEvenly(t *testing.T) {
	const n = 100_000
	var rows [indexBuckets]int
	for i := range n {
		rows[indexBucket(chat.ID(fmt.Sprintf("g06h%022d", i)))]++
	}
	for bucket, got := range rows {
		if got < n/indexBuckets/2 || got > n/indexBuckets*2 {
			t.Errorf("bucket %d has %d of %d chats; want about %d", bucket, got, n, n/indexBuckets)
		}
	}
}

func TestAnErasureIsAboveEveryWriteAndALaterLinkAboveAnEarlierOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		place := rapid.Uint64Range(0, maxPlace-1)
		a, b := place.Draw(t, "a"), place.Draw(t, "b")
		if firstTime(a) >= eraseTime(max(1, b)) || firstTime(a) <= 0 {
			t.Fatalf("a write at %d has timestamp %d, an erasure at %d has %d", a, firstTime(a), b, eraseTime(b))
		}
		if (a < b) != (firstTime(a) > firstTime(b)) {
			t.Fatalf("of %d and %d the first does not win", a, b)
		}
		if a < b && linkTime(chat.Seq(a), true) >= linkTime(chat.Seq(b), false) {
			t.Fatalf("an addition at %d is not before a removal at %d", a, b)
		}
		if linkTime(chat.Seq(a), true) <= linkTime(chat.Seq(a), false) {
			t.Fatalf("an addition and a removal at %d: the removal wins", a)
		}
	})
	if latest := time.UnixMicro(max(eraseTime(maxPlace-1), linkTime(maxPlace-1, true))); latest.Year() > 2006 {
		t.Errorf("timestamps go up to %v; want them in the past, because servers refuse the future", latest)
	}
}

func TestBatchesAreBoundedAndWhatIsLargeGoesAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows := make([]row, rapid.IntRange(1, 300).Draw(t, "rows"))
		for i := range rows {
			rows[i].size = rapid.SampledFrom([]int{64, 500, 5000, maxBatchBytes, 600_000}).Draw(t, "size")
		}
		for len(rows) > 0 {
			n, size := firstBatch(rows), 0
			for _, r := range rows[:n] {
				size += r.size
			}
			if n < 1 || n > maxBatchRows || n > 1 && size > maxBatchBytes {
				t.Fatalf("got a batch of %d rows and %d bytes", n, size)
			}
			rows = rows[n:]
		}
	})
}

func TestOptionsThatCannotWorkAreRefusedAndNoPasswordIsShown(t *testing.T) {
	host := []string{"127.0.0.1:9042"}
	for name, o := range map[string]Options{
		"no hosts":                 {},
		"an empty host":            {Hosts: []string{""}},
		"a URL":                    {Hosts: []string{"cql://user:secret@host"}},
		"a keyspace with capitals": {Hosts: host, Keyspace: "Chatmesh"},
		"a keyspace with a quote":  {Hosts: host, Keyspace: `x"; DROP`},
		"a quoted datacentre":      {Hosts: host, LocalDC: "dc'1"},
		"two passwords":            {Hosts: host, Username: "u", Password: "secret", PasswordFile: "f"},
		"a password for nobody":    {Hosts: host, Password: "secret"},
		"negative replication":     {Hosts: host, Replication: -1},
		"a negative timeout":       {Hosts: host, Timeout: -time.Second},
	} {
		s, err := Open(o)
		if err == nil {
			_ = s.Close()
		}
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("Open with %s: got error %v; want one without the password", name, err)
		}
	}
}

func TestAnErrorOfTheServerShowsItsCodeAndNotItsText(t *testing.T) {
	err := fail("write", fmt.Errorf("batch: %w", answer{}))
	if got := err.Error(); strings.Contains(got, "text of a person") || !strings.Contains(got, "0x2200") {
		t.Errorf("got %q; want the code and not what the server quotes", got)
	}
	if !errors.As(err, new(gocql.RequestError)) {
		t.Errorf("the cause is not within the error")
	}
	if got := fail("find", store.ErrNotFound); !errors.Is(got, store.ErrNotFound) || !strings.HasSuffix(got.Error(), "not found") {
		t.Errorf("got %v; want ErrNotFound with its text", got)
	}
}

// answer is an error as a server gives it.
type answer struct{}

func (answer) Error() string   { return "invalid: text of a person" }
func (answer) Message() string { return "invalid: text of a person" }
func (answer) Code() int       { return 0x2200 }

func TestASessionThatEndsFarAwayOrInThePastHasATTLThatServersTake(t *testing.T) {
	for _, at := range []time.Time{time.UnixMicro(0), time.Now(), time.Now().Add(time.Hour), time.Now().AddDate(500, 0, 0)} {
		if got := ttl(at.UnixMicro()); got < int(ttlSlack.Seconds())-5 || got > 630_720_000 {
			t.Errorf("ttl of a session that ends %v: got %d s; want at least a day and at most 20 years", at, got)
		}
	}
}

func TestAReadIsAskedOfASecondHostOnlyWhereThereIsOne(t *testing.T) {
	h := newHedge("")
	for _, step := range []struct {
		host   string
		usable bool
		want   int
	}{{"a", true, 0}, {"a", true, 0}, {"b", true, 1}, {"c", true, 1}, {"b", false, 1}, {"c", false, 0}, {"a", false, 0}, {"x", false, 0}} {
		h.count(step.host, step.usable)
		if got := h.Attempts(); got != step.want {
			t.Errorf("with hosts %v: got %d more requests; want %d", h.up, got, step.want)
		}
	}
	h.count("a", true)
	h.count("b", true)
	if h.forget(); h.Attempts() != 0 {
		t.Errorf("a new session has the hosts of the old one")
	}
}
