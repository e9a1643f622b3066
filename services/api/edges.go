package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// errNoEdge is the refusal while no edge takes connections. Edges announce themselves every few seconds.
var errNoEdge = chat.Retry(chat.Unavailable, 2*time.Second, "no edge takes connections at the moment")

// edgeView is an edge as clients are told of it.
type edgeView struct {
	URL      string `json:"url"`
	Load     int64  `json:"load"`
	Capacity int64  `json:"capacity"`
	Draining bool   `json:"draining,omitempty"`
}

// listEdges tells which edges live, and which of them is the one to connect to. It is answered from what is known here, so that a
// herd that comes back costs nobody else anything.
func (s *Server) listEdges(c *call) (answer, error) {
	best, ok := s.edges.Best()
	if !ok {
		return answer{}, errNoEdge
	}
	out := struct {
		Edges []edgeView `json:"edges"`
		Best  string     `json:"best"`
	}{[]edgeView{}, best.URL}
	for _, e := range s.edges.List() {
		out.Edges = append(out.Edges, edgeView{URL: e.URL, Load: e.Load, Capacity: e.Capacity, Draining: e.Draining})
	}
	return answer{http.StatusOK, out}, nil
}

// KnowsAnEdge fails until the first edge has announced itself.
func (s *Server) KnowsAnEdge(context.Context) error {
	if !s.knowsEdge.Load() && len(s.edges.List()) == 0 {
		return errors.New("none has announced itself yet")
	}
	s.knowsEdge.Store(true)
	return nil
}
