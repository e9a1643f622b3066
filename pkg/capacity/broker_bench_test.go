package capacity_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/chatmesh/chatmesh/pkg/meshtest"
)

// cpu is what this process has used of processors.
func cpu(t testing.TB) time.Duration {
	t.Helper()
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		t.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// mesh starts brokers that are routed to each other.
func mesh(t testing.TB, n int) []*server.Server {
	t.Helper()
	var all []*server.Server
	var routes []*url.URL
	for i := range n {
		o := &server.Options{Host: "127.0.0.1", Port: -1, ServerName: fmt.Sprintf("n%d", i), NoLog: true, NoSigs: true, Routes: routes}
		if n > 1 {
			o.Cluster = server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: -1}
		}
		s, err := server.NewServer(o)
		if err != nil {
			t.Fatal(err)
		}
		go s.Start()
		t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
		if !s.ReadyForConnections(30 * time.Second) {
			t.Fatal("a broker does not start")
		}
		if n > 1 {
			routes = append(routes, &url.URL{Scheme: "nats", Host: s.ClusterAddr().String()})
		}
		all = append(all, s)
	}
	meshtest.Eventually(t, meshtest.Patience, "the brokers are routed to each other", func() bool {
		for _, s := range all {
			if len(all) > 1 && s.NumRoutes() < (len(all)-1)*4 { // three of a pool, one of the system's account
				return false
			}
		}
		return true
	})
	return all
}

// line speaks the protocol of NATS itself, so that what a client library costs is not counted.
type line struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
	w    *bufio.Writer
}

func dial(t testing.TB, s *server.Server) *line {
	t.Helper()
	c, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	l := &line{t, c, bufio.NewReaderSize(c, 1<<16), bufio.NewWriterSize(c, 1<<16)}
	_, _ = l.w.WriteString("CONNECT {\"verbose\":false}\r\n")
	l.ping()
	return l
}

// ping returns when the server has done all that was written.
func (l *line) ping() {
	_, _ = l.w.WriteString("PING\r\n")
	if err := l.w.Flush(); err != nil {
		l.t.Fatal(err)
	}
	l.await("PONG", 1)
}

func (l *line) await(what string, n int) {
	for n > 0 {
		s, err := l.r.ReadSlice('\n')
		if err != nil {
			l.t.Fatal(err)
		}
		if strings.HasPrefix(string(s), what) {
			n--
		}
	}
}

// BenchmarkInterest shows what interest in people's subjects costs a broker, and each further broker of its cluster, because all know
// all interests: memory, work when it comes, and the work to deliver one message of 330 bytes to each person from the last broker.
// The costs interest_memory and interest_change are what a further server adds.
func BenchmarkInterest(b *testing.B) {
	const people = 300_000
	body := strings.Repeat("x", 330)
	for _, n := range []int{1, 2, 3} {
		b.Run(fmt.Sprintf("brokers=%d", n), func(b *testing.B) {
			for b.Loop() {
				all := mesh(b, n)
				edge, publisher := dial(b, all[0]), dial(b, all[n-1])
				before, began := heap(), cpu(b)
				for i := range people {
					fmt.Fprintf(edge.w, "SUB user.u%025d %d\r\n", i*7919, i)
				}
				edge.ping()
				meshtest.Eventually(b, meshtest.Patience, "all brokers know all interests", func() bool {
					for _, s := range all {
						if s.NumSubscriptions() < people {
							return false
						}
					}
					return true
				})
				b.ReportMetric(float64(cpu(b)-began)/people/1e3, "µs/interest")
				b.ReportMetric(float64(heap()-before)/people, "B/interest")
				got := make(chan struct{})
				go func() { defer close(got); edge.await("MSG", people) }()
				began = cpu(b)
				for i := range people {
					fmt.Fprintf(publisher.w, "PUB user.u%025d 330\r\n%s\r\n", i*7919, body)
				}
				publisher.ping()
				<-got
				b.ReportMetric(float64(cpu(b)-began)/people/1e3, "µs/delivery")
			}
		})
	}
}

// BenchmarkHandshake shows the work of a TLS handshake, both sides together.
func BenchmarkHandshake(b *testing.B) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"edge"}}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		b.Fatal(err)
	}
	serverSide := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{cert}, PrivateKey: key}}}
	leaf, err := x509.ParseCertificate(cert)
	if err != nil {
		b.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	clientSide := &tls.Config{RootCAs: roots, ServerName: "edge"}
	began := cpu(b)
	for b.Loop() {
		x, y := net.Pipe()
		done := make(chan error)
		go func() { done <- tls.Server(x, serverSide).Handshake() }()
		if err := tls.Client(y, clientSide).Handshake(); err != nil {
			b.Fatal(err)
		}
		if err := <-done; err != nil {
			b.Fatal(err)
		}
		_, _ = x.Close(), y.Close()
	}
	b.ReportMetric(float64(cpu(b)-began)/float64(b.N)/1e3, "µs-CPU/op")
}
