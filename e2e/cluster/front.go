package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"sync"
	"sync/atomic"
	"time"
)

// Front is what a load balancer does for clients: what an edge answers goes to one edge, the rest to an api that can be reached.
type Front struct {
	// URL is where clients connect.
	URL    string
	server *http.Server
	done   sync.WaitGroup
	next   atomic.Int64
}

// dialTimeout is after which an api counts as away.
const dialTimeout = 2 * time.Second

// edgePaths are answered by edges.
var edgePaths = []string{"/v1/ws", "/v1/events", "/v1/poll"}

func newFront(edge string, apis []string) (*Front, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("cluster: front: %w", err)
	}
	f := &Front{URL: "http://" + l.Addr().String()}
	dial := func(ctx context.Context, _, addr string) (net.Conn, error) {
		d := net.Dialer{Timeout: dialTimeout}
		if host, _, _ := net.SplitHostPort(addr); host != "api" {
			return d.DialContext(ctx, "tcp", addr)
		}
		var errs []error
		for range apis {
			conn, err := d.DialContext(ctx, "tcp", apis[int(f.next.Add(1))%len(apis)])
			if err == nil {
				return conn, nil
			}
			errs = append(errs, err)
		}
		return nil, errors.Join(errs...)
	}
	to := func(host string) http.Handler {
		return &httputil.ReverseProxy{
			Rewrite: func(r *httputil.ProxyRequest) {
				r.Out.URL.Scheme, r.Out.URL.Host = "http", host
				r.Out.Host = r.In.Host // an edge compares it with the origin of a page
				r.SetXForwarded()
			},
			Transport:     &http.Transport{DialContext: dial, DisableKeepAlives: true},
			FlushInterval: -1,
			ErrorHandler:  func(w http.ResponseWriter, _ *http.Request, _ error) { refuse(w) },
		}
	}
	mux := http.NewServeMux()
	for _, path := range edgePaths {
		mux.Handle(path, to(edge))
	}
	mux.Handle("/", to("api:80"))
	f.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	f.done.Go(func() { _ = f.server.Serve(l) }) // ends with close
	return f, nil
}

// refuse answers for who cannot be reached, as the mesh would.
func refuse(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(http.StatusBadGateway)
	_, _ = io.WriteString(w, `{"type":"about:blank","title":"Bad Gateway","status":502,"code":"unavailable"}`)
}

func (f *Front) close() {
	_ = f.server.Close()
	f.done.Wait()
}

// newAdmin answers operators.
func newAdmin(nodes []*Node) (*Front, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("cluster: admin: %w", err)
	}
	f := &Front{URL: "http://" + l.Addr().String()}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	f.server = &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ask := nodes[:1]
		if r.URL.Path == "/metrics" {
			ask = nodes
		}
		status, all := http.StatusOK, []byte(nil)
		for _, n := range ask {
			res, err := client.Get("http://" + n.admin + r.URL.Path)
			if err != nil {
				status = http.StatusBadGateway
				continue
			}
			body, _ := io.ReadAll(res.Body)
			_ = res.Body.Close()
			all, status = append(all, body...), max(status, res.StatusCode)
		}
		w.WriteHeader(status)
		_, _ = w.Write(all)
	})}
	f.done.Go(func() { _ = f.server.Serve(l) }) // ends with close
	return f, nil
}
