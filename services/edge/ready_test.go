package edge

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
)

// ways are how connections wait: in a set, and each with its reader.
func ways(t *testing.T, test func(t *testing.T, r *rig)) {
	t.Run("set", func(t *testing.T) { test(t, newRig(t)) })
	t.Run("reader each", func(t *testing.T) {
		test(t, newRig(t).another("each", func(c *Config) { c.ReaderEach = true }))
	})
}

// masked is a frame as a client sends it.
func masked(head byte, data string) []byte {
	out := []byte{head}
	switch n := len(data); {
	case n < sizeOf16:
		out = append(out, maskBit|byte(n))
	case n <= 0xffff:
		out = binary.BigEndian.AppendUint16(append(out, maskBit|sizeOf16), uint16(n))
	default:
		out = binary.BigEndian.AppendUint64(append(out, maskBit|sizeOf64), uint64(n))
	}
	mask := [maskSize]byte{1, 2, 3, 4}
	out = append(out, mask[:]...)
	for i := range len(data) {
		out = append(out, data[i]^mask[i%maskSize])
	}
	return out
}

// waiting is how many connections wait in the set.
func (r *rig) waiting() (n int) {
	for _, c := range r.edge.hub.all() {
		if c.owner.Load() == waits {
			n++
		}
	}
	return n
}

// pongs are the answers to requests that the device has got.
func (d *device) pongs() []map[string]any {
	return slices.DeleteFunc(d.got(), func(f map[string]any) bool { return f["type"] != "pong" })
}

func TestAConnectionThatWaitsHasNeitherReaderNorBuffer(t *testing.T) {
	r := newRig(t)
	var all []*device
	for i := range 50 {
		all = append(all, r.connect(chat.UserID(fmt.Sprintf("u%d", i)), nil))
	}
	rest := func() {
		t.Helper()
		meshtest.Eventually(t, meshtest.Patience, "all wait", func() bool { return r.waiting() == len(all) })
	}
	rest()
	for round := range 3 { // the readers of those who speak often stay with them for a while
		for i, d := range all {
			d.write(map[string]any{"type": "ping", "id": round})
			d.await("a pong", func(f map[string]any) bool { return f["type"] == "pong" && f["id"] == float64(round) })
			if i%2 == 0 {
				_ = d.ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(meshtest.Patience))
			}
		}
	}
	rest()
	if n := r.edge.readers.staying.Load(); n != 0 {
		t.Errorf("%d readers count as staying; want none", n)
	}
	for _, c := range r.edge.hub.all() {
		if c.library != nil {
			t.Error("a connection that sent nothing but plain frames has a library")
		}
	}
	r.stop() // before anything comes
}

func TestFramesAreReadInOrderHoweverTheyAreCut(t *testing.T) {
	ways(t, func(t *testing.T, r *rig) {
		rng := rand.New(rand.NewPCG(1, 2))
		for _, largest := range []int{1, 7, 100, 5000, 200_000} {
			d := r.connect(chat.UserID(fmt.Sprintf("u%d", largest)), nil)
			var stream []byte
			want := 0
			for i := range 60 {
				want++
				text := fmt.Sprintf(`{"type":"ping","id":%d%s}`, i, strings.Repeat(" ", []int{0, 100, 200, 3000, 70_000}[rng.IntN(5)]/(1+rng.IntN(3))))
				switch rng.IntN(4) {
				case 0: // in pieces, with a ping and a pong between them
					cut := rng.IntN(len(text))
					stream = append(stream, masked(websocket.TextMessage, text[:cut])...)
					stream = append(stream, masked(finBit|websocket.PingMessage, "in a message")...)
					stream = append(stream, masked(finBit|websocket.PongMessage, "")...)
					stream = append(stream, masked(finBit, text[cut:])...)
				case 1:
					stream = append(stream, masked(finBit|websocket.PingMessage, strings.Repeat("p", rng.IntN(126)))...)
					fallthrough
				default:
					stream = append(stream, masked(finBit|websocket.TextMessage, text)...)
				}
			}
			for len(stream) > 0 {
				n := min(1+rng.IntN(largest), len(stream))
				if largest == 1 && len(stream) > 3000 {
					n = min(2000, len(stream)) // the last in single bytes
				}
				if _, err := d.ws.NetConn().Write(stream[:n]); err != nil {
					t.Fatal(err)
				}
				stream = stream[n:]
			}
			meshtest.Eventually(t, meshtest.Patience, "all are answered", func() bool { return len(d.pongs()) == want })
			for i, f := range d.pongs() {
				if f["id"] != float64(i) {
					t.Fatalf("answer %d has id %v", i, f["id"])
				}
			}
		}
	})
}

func TestWhoseConnectionBreaksIsNoticedWhileItWaitsAndNobodyElseIs(t *testing.T) {
	ways(t, func(t *testing.T, r *rig) {
		stays := r.connect("stays", nil)
		for round := range 4 { // descriptors are given to others again
			var wg sync.WaitGroup
			for i := range 20 {
				d := r.connect(chat.UserID(fmt.Sprintf("u%d-%d", round, i)), nil)
				wg.Go(func() {
					nc := d.ws.NetConn().(*net.TCPConn)
					if i%2 == 0 {
						_ = nc.SetLinger(0) // a reset
					}
					_ = nc.Close()
				})
			}
			wg.Wait()
			meshtest.Eventually(t, meshtest.Patience, "they have gone", func() bool { return r.edge.Connections() == 1 })
			stays.write(map[string]any{"type": "ping", "id": round})
			stays.await("a pong", func(f map[string]any) bool { return f["type"] == "pong" && f["id"] == float64(round) })
		}
	})
}

func TestHalfAFrameHoldsNobodyElseUpAndIsReadWhenTheRestComes(t *testing.T) {
	ways(t, func(t *testing.T, r *rig) {
		frame := masked(finBit|websocket.TextMessage, `{"type":"ping","id":1}`)
		var halves []*device
		for i := range 30 {
			d := r.connect(chat.UserID(fmt.Sprintf("u%d", i)), nil)
			if _, err := d.ws.NetConn().Write(frame[:1+i%(len(frame)-1)]); err != nil {
				t.Fatal(err)
			}
			halves = append(halves, d)
		}
		whole := r.connect("whole", nil)
		whole.write(map[string]any{"type": "ping", "id": 1})
		whole.await("a pong", is("pong", ""))
		for i, d := range halves {
			if _, err := d.ws.NetConn().Write(frame[1+i%(len(frame)-1):]); err != nil {
				t.Fatal(err)
			}
			d.await("a pong", is("pong", ""))
		}
	})
}

func TestAConnectionThatIsNoPlainSocketKeepsItsReader(t *testing.T) {
	r := newRig(t)
	web := httptest.NewTLSServer(r.edge.Handler())
	defer web.Close()
	r.url = "wss" + strings.TrimPrefix(web.URL, "https") + "/v1/ws"
	d := r.dialWith(&websocket.Dialer{TLSClientConfig: web.Client().Transport.(*http.Transport).TLSClientConfig}).listen()
	d.write(map[string]any{"type": "hello", "token": r.token("ann", "s")})
	d.await("welcome", is("welcome", ""))
	for i := range 3 {
		d.write(map[string]any{"type": "ping", "id": i})
		d.await("a pong", func(f map[string]any) bool { return f["type"] == "pong" && f["id"] == float64(i) })
	}
	if r.waiting() != 0 {
		t.Error("a connection over TLS waits in the set")
	}
	_ = d.ws.Close()
	meshtest.Eventually(t, meshtest.Patience, "it has gone", func() bool { return r.edge.Connections() == 0 })
}

func TestSessionsEndAndEdgesStopAlsoForWhoWaits(t *testing.T) {
	ways(t, func(t *testing.T, r *rig) {
		var all []*device
		for i := range 20 {
			all = append(all, r.connect(chat.UserID(fmt.Sprintf("u%d", i)), nil))
		}
		for _, c := range r.edge.hub.all()[:5] {
			c.abort() // as who does not answer pings
		}
		meshtest.Eventually(t, meshtest.Patience, "5 are cut", func() bool { return r.edge.Connections() == 15 })
		r.stop()
		for _, d := range all {
			<-d.done
		}
		if n := r.edge.Connections(); n != 0 {
			t.Errorf("%d connections are left", n)
		}
	})
}

// pipe is a connection of an edge that is read here, and the client's end of it.
func pipe(t *testing.T) (*socketReader, net.Conn) {
	t.Helper()
	upgraded := make(chan *hijacker, 1)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := &hijacker{ResponseWriter: w}
		if _, err := (&websocket.Upgrader{}).Upgrade(h, r, nil); err != nil {
			t.Error(err)
		}
		upgraded <- h
	}))
	t.Cleanup(web.Close)
	client, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(web.URL, "http"), nil)
	if err != nil {
		t.Fatal(err)
	}
	h := <-upgraded
	t.Cleanup(func() { _, _ = client.Close(), h.nc.Close() })
	c := &conn{s: &Server{}, nc: h.nc}
	return c.s.readers.first(c, h.br), client.NetConn()
}

func TestReadingAFrameAllocatesNothing(t *testing.T) {
	r, client := pipe(t)
	text := `{"type":"typing","chat":"` + strings.Repeat("c", 300) + `"}`
	frames := slices.Concat(masked(finBit|websocket.PongMessage, ""), masked(finBit|websocket.TextMessage, text))
	got := leastAllocs(200, func() {
		if _, err := client.Write(frames); err != nil {
			t.Error(err)
		}
		for i := range 2 {
			data, ok := r.receive()
			if !ok || i == 1 && string(data) != text {
				t.Fatalf("got %q, %v; want %q", data, ok, text)
			}
		}
	})
	if got != 0 {
		t.Errorf("a pong and a frame take %v allocations; want none", got)
	}
}

func TestAPingAllocatesNothing(t *testing.T) {
	r, client := pipe(t)
	in := make([]byte, 2)
	got := leastAllocs(200, func() {
		r.c.control(websocket.PingMessage, nil, time.Second)
		if _, err := client.Read(in); err != nil || !bytes.Equal(in, emptyPing[:]) {
			t.Fatalf("got %x, %v; want %x", in, err, emptyPing)
		}
	})
	if got != 0 {
		t.Errorf("a ping takes %v allocations; want none", got)
	}
}
