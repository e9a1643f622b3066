package main

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// connect opens a WebSocket and says hello.
func (p *program) connect(url, token string) *websocket.Conn {
	p.t.Helper()
	ws, _, err := (&websocket.Dialer{Subprotocols: []string{"chatmesh.v1"}}).Dial(url, nil)
	if err == nil {
		err = ws.WriteJSON(map[string]string{"type": "hello", "token": token})
	}
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = ws.Close() })
	if _, data, err := ws.ReadMessage(); err != nil || !strings.Contains(string(data), `"welcome"`) {
		p.t.Fatalf("got %s, %v; want a welcome", data, err)
	}
	return ws
}

func TestDrainAsksWhatItNeeds(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"drain"}, `expected "<node>"`},
		{[]string{"drain", "n1", "--to-share", "--undo"}, "not both"},
		{[]string{"drain", "n1", "--over=10ms"}, "--over: 10ms is not from 1s to 1h0m0s"},
		{[]string{"drain", "n1", "--over=2h"}, "--over: 2h0m0s is not"},
		{[]string{"drain", "n.*"}, `"n.*" is no name of a node`},
		{[]string{"--nats-listen=127.0.0.1:0", "--data=" + t.TempDir(), "drain", "n1"}, "no chatmesh answers at 127.0.0.1:0"},
	} {
		if r := command(t, c.args...); r.err == nil || !strings.Contains(r.err.Error(), c.want) || r.out != "" {
			t.Errorf("%v: got %v, %s; want %q", c.args, r.err, r.out, c.want)
		}
	}
}

func TestDrainEmptiesAnEdgeAndUndoOpensItAgain(t *testing.T) {
	p := begin(t, filepath.Join(t.TempDir(), "data"))
	var ann struct {
		Token string `json:"access_token"`
	}
	p.post("/v1/users", "", `{"username":"ann","password":"correct horse"}`, &ann)
	// The process that is ready names its own edge.
	res, err := http.Get(p.http + "/v1/edges")
	if err != nil {
		t.Fatal(err)
	}
	var edges struct {
		Edges []struct{ URL string }
		Best  string
	}
	err = json.NewDecoder(res.Body).Decode(&edges)
	_ = res.Body.Close()
	if want := "ws" + strings.TrimPrefix(p.http, "http") + "/v1/ws"; err != nil || edges.Best != want || len(edges.Edges) != 1 || edges.Edges[0].URL != want {
		t.Fatalf("got %+v, %v; want %s", edges, err, want)
	}
	first := p.connect(edges.Best, ann.Token)
	where := "--nats-listen=" + p.nat
	if r := command(t, where, "drain", "nobody"); r.err == nil || !strings.Contains(r.err.Error(), "there is no edge nobody") {
		t.Errorf("got %v; want that there is none", r.err)
	}
	if r := command(t, where, "drain", p.node(), "--to-share"); r.err == nil || !strings.Contains(r.err.Error(), "no other edge") {
		t.Errorf("got %v; want that it is alone", r.err)
	}
	began := time.Now()
	r := command(t, where, "drain", p.node(), "--over=1s")
	r.want(t, true, p.node()+" is empty and takes no connections until it starts again or drain --undo")
	if !strings.Contains(r.errs, "sends 1 of 1 connections away over 1s") || time.Since(began) > 20*time.Second {
		t.Errorf("got %s after %v; want how many go", r.errs, time.Since(began))
	}
	if _, data, err := first.ReadMessage(); err != nil || !strings.Contains(string(data), `"draining","reconnect_after_ms":`) {
		t.Errorf("got %s, %v; want to be told", data, err)
	}
	if _, _, err := first.ReadMessage(); !websocket.IsCloseError(err, 3000) {
		t.Errorf("got %v; want close code 3000", err)
	}
	if res, err := http.Get(p.http + "/v1/edges"); err != nil || res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("where the only edge drains: got %v, %v; want 503", res, err)
	} else {
		_ = res.Body.Close()
	}
	command(t, where, "drain", p.node(), "--undo").want(t, true, p.node()+" takes connections, has 0")
	p.connect(edges.Best, ann.Token)
}
