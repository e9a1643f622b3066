package edge

import (
	"bytes"
	"io"
	"testing"

	"github.com/gorilla/websocket"
)

// Who does not read keeps a goroutine, and neither the others nor what is written to it later.
func TestAReaderWhoIsTooSlowHoldsUpNobodyOfItsCrew(t *testing.T) {
	slow, slowClient := pipe(t)
	s := slow.c.s
	s.m = newMetrics(nil)
	large := bytes.Repeat([]byte("x"), 16<<20) // more than any socket takes
	slow.c.out = [][]byte{large}
	conns := []*conn{slow.c}
	var clients []io.Reader
	for range crewSize + 1 {
		r, client := pipe(t)
		r.c.s = s
		r.c.out = [][]byte{[]byte("one"), []byte("two")}
		conns, clients = append(conns, r.c), append(clients, client)
	}
	for _, c := range conns {
		c.pending = true
	}
	s.writeAll(conns)
	read := func(client io.Reader, want []byte) {
		t.Helper()
		got := make([]byte, len(want))
		if _, err := io.ReadFull(client, got); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("got %d bytes, %v; want others", len(got), err)
		}
	}
	for _, client := range clients {
		read(client, appendFrame(appendFrame(nil, websocket.TextMessage, []byte("one")), websocket.TextMessage, []byte("two")))
	}
	slow.c.enqueue([]byte("three"))
	read(slowClient, appendFrame(appendFrame(nil, websocket.TextMessage, large), websocket.TextMessage, []byte("three")))
	s.wg.Wait()
	for _, c := range conns {
		if c.writing || c.pending || c.out != nil {
			t.Errorf("a connection was left writing %v, pending %v, with %d frames", c.writing, c.pending, len(c.out))
		}
	}
}
