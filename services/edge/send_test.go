package edge

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
)

// What a client has under way goes out together, and is answered as if it had waited for each: in order, each refusal in its place.
func TestWhatIsSentWithoutWaitingIsAnsweredInItsOrder(t *testing.T) {
	r := newRig(t)
	r.group("c1", "ben")
	r.group("c2", "ben")
	d := r.connect("ben", nil)
	const n = 300
	for i := range n {
		f := map[string]any{"type": "send", "id": i, "chat": []string{"c1", "c2"}[i%2], "client_id": fmt.Sprintf("m%d", i), "text": "hello"}
		switch i % 10 {
		case 3:
			f["chat"] = "c9" // no such chat
		case 5:
			f["text"] = "" // no text
		case 7:
			f = map[string]any{"type": "sync", "id": i, "chat": "c1", "after": 0, "limit": 1}
		}
		d.write(f)
	}
	answers := func() (ids []int, last map[string]float64) {
		last = map[string]float64{}
		for _, f := range d.got() {
			id, ok := f["id"].(float64)
			if !ok {
				continue
			}
			ids = append(ids, int(id))
			want := map[int]string{3: "error", 5: "error", 7: "page"}[int(id)%10]
			if want == "" {
				want = "ack"
			}
			if f["type"] != want {
				t.Fatalf("%v: got %v; want %s", id, f, want)
			}
			if want == "ack" {
				c := f["chat"].(string)
				if f["seq"].(float64) <= last[c] {
					t.Fatalf("%v: got seq %v behind %v", id, f["seq"], last[c])
				}
				last[c] = f["seq"].(float64)
			}
		}
		return ids, last
	}
	meshtest.Eventually(t, meshtest.Patience, "all answers", func() bool { ids, _ := answers(); return len(ids) == n })
	ids, _ := answers()
	for i, id := range ids {
		if id != i {
			t.Fatalf("answer %d is of request %d", i, id)
		}
	}
}

func TestFramesOfEveryLengthArriveWholeAndPingsAreAnsweredBetweenThem(t *testing.T) {
	r := newRig(t)
	r.group("c1", "ben")
	d := r.connect("ben", nil)
	pongs := make(chan string, 100)
	d.ws.SetPongHandler(func(s string) error { pongs <- s; return nil })
	lengths := []int{1, 60, 110, 125, 126, 127, 128, 1000, 40_000, 65_400, 65_500, 65_535, 65_536, 99_999}
	for i, n := range lengths {
		if err := d.ws.WriteControl(9, []byte(fmt.Sprint(i)), time.Now().Add(meshtest.Patience)); err != nil {
			t.Fatal(err)
		}
		d.write(map[string]any{"type": "send", "id": i, "chat": "c1", "client_id": fmt.Sprintf("m%d", i), "text": strings.Repeat("x", n)})
		ack := d.await("the ack", func(f map[string]any) bool { return f["type"] == "ack" && f["id"] == float64(i) })
		seq := chat.Seq(ack["seq"].(float64))
		r.deliver("ben", r.event("c1", seq))
		f := d.await("the message", func(f map[string]any) bool { return f["type"] == "message" && f["seq"] == float64(seq) })
		if got := len(f["text"].(string)); got != n {
			t.Errorf("got a text of %d; want %d", got, n)
		}
	}
	for i := range lengths {
		select {
		case got := <-pongs:
			if got != fmt.Sprint(i) {
				t.Errorf("got pong %s; want %d", got, i)
			}
		case <-time.After(meshtest.Patience):
			t.Fatal("no pong")
		}
	}
}
