package local

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/gocql/gocql"
	"golang.org/x/sync/errgroup"

	"github.com/chatmesh/chatmesh/bench/report"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/meshtest/free"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/store/scylla"
)

// startCQL starts a CQL server under dir with scripts/cql, which fetches it where it is missing. It syncs before it answers.
func startCQL(ctx context.Context, dir string) (host string, stop func() error, err error) {
	var ports [2]string
	for i := range ports {
		port, err := free.Port()
		if err != nil {
			return "", nil, err
		}
		ports[i] = strconv.Itoa(port)
	}
	script := func(ctx context.Context, args ...string) error {
		cmd := exec.CommandContext(ctx, filepath.Join(checkout(), "scripts", "cql"), args...)
		cmd.Env = append(os.Environ(), "CQL_JVM=-Dcassandra.unsafesystem=true")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("scripts/cql %s: %w\n%s", args[0], err, out)
		}
		return nil
	}
	stop = func() error { return script(context.WithoutCancel(ctx), "stop", dir) }
	if err := script(ctx, "start", dir, ports[0], ports[1]); err != nil {
		return "", nil, errors.Join(err, stop())
	}
	return "127.0.0.1:" + ports[0], stop, nil
}

// cqlServer is a running server.
type cqlServer struct{ host string }

func (c cqlServer) options(keyspace string) scylla.Options {
	return scylla.Options{Hosts: []string{c.host}, Keyspace: keyspace, Replication: 1, Timeout: 20 * time.Second, Log: slog.New(slog.DiscardHandler)}
}

// open opens a store in a keyspace, which it makes where it is missing, and waits until it can be used.
func (c cqlServer) open(ctx context.Context, keyspace string) (*scylla.Store, error) {
	if err := scylla.Migrate(ctx, c.options(keyspace)); err != nil {
		return nil, err
	}
	s, err := scylla.Open(c.options(keyspace))
	if err != nil {
		return nil, err
	}
	wait, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		if err = s.Ping(wait); err == nil {
			return s, nil
		}
		select {
		case <-wait.Done():
			return nil, errors.Join(err, s.Close())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// onCQL measures pages and a persister on a CQL server, in turns with the bare driver.
func onCQL(ctx context.Context, o Options) (figures []report.Figure, err error) {
	c := cqlServer{o.CQL}
	if o.CQL == "" {
		o.say("a CQL server starts")
		var stop func() error
		if c.host, stop, err = startCQL(ctx, filepath.Join(o.Dir, "cql")); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, stop()) }()
	}
	keyspace := "bench_" + strings.ToLower(rand.Text())[:12]
	s, err := c.open(ctx, keyspace)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	session, err := cqlSession(c.host, keyspace)
	if err != nil {
		return nil, err
	}
	defer session.Close()
	defer func() {
		if o.CQL != "" { // somebody else's
			err = errors.Join(err, session.Query("DROP KEYSPACE "+keyspace).Exec())
		}
	}()
	// All share a keyspace, as migrations take seconds; their chats differ.
	figures, err = backlog(ctx, o, sinks{
		system: "chatmesh-cql", bare: "gocql-bare",
		open: func(string) (store.Store, error) { return kept{s}, nil },
		batches: func(string) (func(context.Context, []store.Entry) error, func() error, error) {
			return bareCQL(session), func() error { return nil }, nil
		},
	}, o.of(30_000, 500), o.of(3, 1))
	if err != nil {
		return nil, err
	}
	o.say("%d events are written into a chat", o.of(largeChat, quickChat))
	n, err := fillCQL(ctx, s, session, "large", o.of(largeChat, quickChat))
	if err != nil {
		return nil, err
	}
	figures = append(figures, measured("history_cql_events", "chatmesh-cql", "events", onDisk, []float64{float64(n)}))
	if _, err := fillCQL(ctx, s, session, "small", smallChat); err != nil {
		return nil, err
	}
	o.say("pages")
	pages, err := storePages(ctx, o, s, "chatmesh-cql", "large", "small", n)
	if err != nil {
		return nil, err
	}
	both, err := pagesInTurns(ctx, o, s, session, n)
	if err != nil {
		return nil, err
	}
	for _, f := range pages { // those of 50 were measured in turns with the bare driver
		if f.Name != pageP50 && f.Name != pageP99 {
			figures = append(figures, f)
		}
	}
	return append(figures, both...), nil
}

// kept is a store that stays open.
type kept struct{ store.Store }

// Close does nothing.
func (kept) Close() error { return nil }

// fillTime is how long a chat may take to be filled; then what there is is enough, and a figure says how much that is.
const fillTime = 75 * time.Second

// fillCQL writes a chat of n events: by the bare driver, as that is faster, and the last by the store, so that it has its head. It returns
// how many there are.
func fillCQL(ctx context.Context, s *scylla.Store, session *gocql.Session, id chat.ID, n int) (int, error) {
	speech, began := newSpeech(4), time.Now()
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for from := 1; from <= n; from += 100 {
		var rows []store.Entry
		for seq := from; seq < from+100 && seq <= n; seq++ {
			rows = append(rows, speech.message(id, chat.Seq(seq), "ann", uint64(seq)))
		}
		if gctx.Err() != nil {
			break
		}
		if time.Since(began) > fillTime {
			n = from + len(rows) - 1
		}
		g.Go(func() error {
			for len(rows) > 0 { // a batch within a partition
				i := 1
				for i < len(rows) && rows[i].Event.Seq/bucketSize == rows[0].Event.Seq/bucketSize {
					i++
				}
				//lint:ignore SA1019 the fork has another name for it, which upstream does not have yet
				b := session.NewBatch(gocql.UnloggedBatch).WithContext(gctx)
				for _, e := range rows[:i] {
					b.Query(putMessage, string(id), int64(e.Event.Seq/bucketSize), int64(e.Event.Seq), e.Body, int64(maxPlace-e.Stream))
				}
				if err := session.ExecuteBatch(b); err != nil {
					return err
				}
				rows = rows[i:]
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return 0, err
	}
	return n, s.Write(ctx, store.Batch{Events: []store.Entry{speech.message(id, chat.Seq(n), "ann", uint64(n))}})
}

const pageP50, pageP99 = "history_page_store_p50_ms", "history_page_store_p99_ms"

// pagesInTurns reads each page by the store and by the bare driver, one after the other, with the other first every second time.
func pagesInTurns(ctx context.Context, o Options, s *scylla.Store, session *gocql.Session, n int) ([]report.Figure, error) {
	count := o.of(2000, 30)
	var p50, p99, bare50, bare99 []float64
	for round := range o.of(pageRounds, 1) {
		r := mathrand.New(mathrand.NewPCG(uint64(round), 5))
		runtime.GC()
		var took, bareTook []time.Duration
		for i := range count {
			place := anywhere(r, n)
			for turn := range 2 {
				if (i+turn)%2 == 0 {
					d, err := timedPage(ctx, s, "large", store.Range{Limit: pageOf50, Before: place}, pageOf50)
					if err != nil {
						return nil, err
					}
					took = append(took, d)
					continue
				}
				began := time.Now()
				rows, err := barePage(ctx, session, "large", place-1)
				bareTook = append(bareTook, time.Since(began))
				if err != nil || rows != pageOf50 {
					return nil, fmt.Errorf("a bare page below %d has %d rows: %w", place, rows, err)
				}
			}
		}
		sortTimes(took)
		sortTimes(bareTook)
		p50, p99 = append(p50, quantile(took, 0.5)), append(p99, quantile(took, 0.99))
		bare50, bare99 = append(bare50, quantile(bareTook, 0.5)), append(bare99, quantile(bareTook, 0.99))
	}
	return []report.Figure{
		measured(pageP50, "chatmesh-cql", "ms", onDisk, p50), measured(pageP99, "chatmesh-cql", "ms", onDisk, p99),
		measured(pageP50, "gocql-bare", "ms", onDisk, bare50), measured(pageP99, "gocql-bare", "ms", onDisk, bare99),
	}, nil
}
