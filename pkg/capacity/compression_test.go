package capacity_test

import (
	"bytes"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/chatmesh/chatmesh/pkg/capacity"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// texts makes messages of English prose: sentences, long ones cut at a comma or a space, no text twice. Their mean is near 100 bytes, as
// a preset's is.
func texts(t testing.TB) []string {
	t.Helper()
	// Mark Twain, The Adventures of Tom Sawyer (1876), in the public domain: much of it is talk.
	prose, err := os.ReadFile("testdata/tom-sawyer.txt")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	seen := map[string]bool{}
	for _, paragraph := range strings.Split(string(prose), "\n\n") {
		rest := strings.Join(strings.Fields(paragraph), " ")
		for rest != "" {
			const most = 200
			end := len(rest)
			for i := 64; i < min(len(rest), most); i++ {
				if strings.ContainsRune(".!?", rune(rest[i-1])) && rest[i] == ' ' || i > 130 && strings.ContainsRune(",;", rune(rest[i-1])) {
					end = i
					break
				}
			}
			if end > most {
				end = max(strings.LastIndexByte(rest[:most], ' '), 1)
			}
			text := strings.TrimSpace(rest[:end])
			rest = strings.TrimSpace(rest[end:])
			if len(text) > 1 && !seen[text] {
				seen[text] = true
				out = append(out, text)
			}
		}
	}
	return out
}

// conversation is what a chat has in its partition of the store.
type conversation struct {
	chat   chat.ID
	events []chat.Event
}

func uuid7(r *rand.Rand, at time.Time) (b [16]byte) {
	binary.BigEndian.PutUint64(b[:8], uint64(at.UnixMilli())<<16|0x7000|uint64(r.IntN(4096)))
	binary.BigEndian.PutUint64(b[8:], r.Uint64()>>2|1<<63)
	return b
}

func id(b [16]byte) string {
	return strings.ToLower(base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))
}

// conversations gives each chat a hundred messages by two people, some minutes apart, with ids as clients and servers make them.
func conversations(t testing.TB) []conversation {
	r := rand.New(rand.NewPCG(1, 2))
	all := texts(t)
	var out []conversation
	at := time.Date(2026, 11, 1, 8, 0, 0, 0, time.UTC)
	for first := 0; first < len(all); first += 100 {
		c := conversation{chat: chat.ID("d" + id(uuid7(r, at)))}
		people := []chat.UserID{chat.UserID(id(uuid7(r, at))), chat.UserID(id(uuid7(r, at)))}
		seq := chat.Seq(1 + r.IntN(10_000))
		for i, text := range all[first:min(first+100, len(all))] {
			at = at.Add(time.Duration(r.ExpFloat64() * float64(3*time.Minute)))
			u := uuid7(r, at)
			sent := chat.Time{Time: at.Truncate(time.Microsecond)}
			c.events = append(c.events, chat.Event{Type: chat.Message, Chat: c.chat, Seq: seq + chat.Seq(i), N: uint64(seq) - 1 + uint64(i),
				Sender:   people[r.IntN(2)],
				ClientID: chat.ClientID(fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])), Text: text, SentAt: &sent})
		}
		out = append(out, c)
	}
	return out
}

// sstables are rows much as an SSTable has them: for each partition its key and a header, for each row flags, clustering key, a
// timestamp and each column with its length. The first is the table messages, the second client_ids.
func sstables(t testing.TB) (messages, found []byte, rows int) {
	partition := func(dst []byte, key chat.ID, bucket uint64) []byte {
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(key)+8+6))
		dst = append(dst, key...)
		dst = binary.BigEndian.AppendUint64(dst, bucket)
		return append(dst, make([]byte, 6+12)...) // parts of a composite key, no deletion
	}
	column := func(dst []byte, b []byte) []byte {
		return append(binary.AppendUvarint(append(dst, 8), uint64(len(b))), b...)
	}
	for _, c := range conversations(t) {
		messages = partition(messages, c.chat, uint64(c.events[0].Seq/256))
		found = partition(found, c.chat, 0)
		for _, e := range c.events {
			rows++
			row := func(dst, key []byte, stamp uint64) []byte {
				dst = append(dst, 0x24, 0)
				dst = append(dst, key...)
				dst = binary.AppendUvarint(dst, uint64(len(key)+100))
				return binary.AppendUvarint(dst, stamp)
			}
			seq := binary.BigEndian.AppendUint64(nil, uint64(e.Seq))
			messages = row(messages, seq, uint64(rows*7))
			messages = column(messages, wire.Encode(e))
			key := column(column(nil, []byte(e.Sender)), []byte(e.ClientID))
			found = row(found, key, uint64(e.Seq))
			found = column(found, seq)
			found = column(found, binary.BigEndian.AppendUint64(nil, uint64(e.SentAt.UnixMicro())))
		}
	}
	return messages, found, rows
}

// compressed is the size after each chunk is compressed alone, with the four bytes of its checksum. A chunk that does not become
// smaller is kept as it is.
func compressed(table []byte, chunk int, compress func([]byte) []byte) int {
	sum := 0
	for begin := 0; begin < len(table); begin += chunk {
		raw := table[begin:min(begin+chunk, len(table))]
		sum += min(len(compress(raw)), len(raw)) + 4
	}
	return sum
}

type compressor struct {
	name     string
	chunk    int
	compress func([]byte) []byte
}

func compressors(t testing.TB) []compressor {
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false))
	if err != nil {
		t.Fatal(err)
	}
	zs := func(b []byte) []byte { return z.EncodeAll(b, nil) }
	return []compressor{{"LZ4", 4096, lz4}, {"LZ4", 16384, lz4}, {"LZ4", 65536, lz4}, {"zstd", 4096, zs}, {"zstd", 16384, zs}, {"zstd", 65536, zs}}
}

// ratios are how many bytes of rows become one, of both tables together.
func ratios(t testing.TB) map[string]float64 {
	messages, found, _ := sstables(t)
	out := map[string]float64{}
	for _, c := range compressors(t) {
		small := compressed(messages, c.chunk, c.compress) + compressed(found, c.chunk, c.compress)
		out[fmt.Sprintf("%s, %d KiB", c.name, c.chunk>>10)] = float64(len(messages)+len(found)) / float64(small)
	}
	return out
}

func TestLZ4BlocksReadAsWhatWasWritten(t *testing.T) {
	messages, found, _ := sstables(t)
	for _, b := range [][]byte{messages[:4096], messages[:65536], found[:4096], []byte("short"), bytes.Repeat([]byte("a"), 5000)} {
		if got := unlz4(t, lz4(b)); !bytes.Equal(got, b) {
			t.Fatalf("got %d bytes that differ; want the %d that were compressed", len(got), len(b))
		}
	}
}

func TestThePlanCountsOnTheCompressionThatRealTextHas(t *testing.T) {
	got := ratios(t)
	doc, err := os.ReadFile("../../docs/capacity.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, chunk := range []string{"4 KiB", "16 KiB", "64 KiB"} {
		want := regexp.MustCompile(fmt.Sprintf(`(?m)^\| %s[^|]*\| %.2f \| %.2f \|$`, chunk, got["LZ4, "+chunk], got["zstd, "+chunk]))
		if !want.Match(doc) {
			t.Errorf("docs/capacity.md: in chunks of %s: want LZ4 %.2f, zstd %.2f", chunk, got["LZ4, "+chunk], got["zstd, "+chunk])
		}
	}
	for name, l := range capacity.Presets() {
		// The default of ScyllaDB.
		if r := got["LZ4, 4 KiB"]; l.Compression > r || l.Compression < 0.95*r {
			t.Errorf("%s: got a compression of %.2f; want that of LZ4 in chunks of 4 KiB, %.2f, or a little less", name, l.Compression, r)
		}
	}
}

// near fails where a cost is further than a part from what was seen.
func near(t *testing.T, what string, got, want, part float64) {
	t.Helper()
	if got < want*(1-part) || got > want*(1+part) {
		t.Errorf("%s: got %.0f; want %.0f, give or take %.0f %%", what, got, want, 100*part)
	}
}

func TestABodyIsAsLongAsThePlanSays(t *testing.T) {
	c, err := capacity.BuiltIn()
	if err != nil {
		t.Fatal(err)
	}
	n, text, body := 0.0, 0.0, 0.0
	for _, chat := range conversations(t) {
		for _, e := range chat.events {
			n++
			text += float64(len(e.Text))
			body += float64(len(wire.Encode(e)))
		}
	}
	t.Logf("%.0f messages of %.1f bytes, bodies of %.1f bytes", n, text/n, body/n)
	near(t, "body_overhead", c.BodyOverhead.Value, (body-text)/n, 0.02)
	near(t, "the mean text", text/n, float64(capacity.Presets()["1b"].MessageBytes), 0.1)
}

func TestRowsAreAsLongAsThePlanSays(t *testing.T) {
	c, err := capacity.BuiltIn()
	if err != nil {
		t.Fatal(err)
	}
	messages, found, rows := sstables(t)
	body := 0.0
	for _, chat := range conversations(t) {
		for _, e := range chat.events {
			body += float64(len(wire.Encode(e)))
		}
	}
	near(t, "row_overhead", c.RowOverhead.Value, (float64(len(messages)+len(found))-body)/float64(rows), 0.02)
}
