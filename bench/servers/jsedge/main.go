// Command jsedge is the simplest edge over JetStream: each message is published by itself, its sender's connection waits until the
// broker has synced it, and a consumer of the log hands it to the subjects of those who get it. There are no accounts, no members, no
// store, and a message that is sent twice is two.
package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chatmesh/chatmesh/bench/servers/relay"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:9000", "address")
	data := flag.String("data", "data", "folder of the log")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, *listen, *data); err != nil {
		fmt.Fprintln(os.Stderr, "jsedge:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, listen, data string) error {
	broker, err := server.NewServer(&server.Options{DontListen: true, JetStream: true, StoreDir: data, SyncAlways: true, NoSigs: true})
	if err != nil {
		return err
	}
	broker.Start()
	defer broker.WaitForShutdown()
	defer broker.Shutdown()
	if !broker.ReadyForConnections(10 * time.Second) {
		return fmt.Errorf("the broker does not start")
	}
	var conns [3]*nats.Conn // to publish to the log, from the log to people, and theirs
	for i := range conns {
		if conns[i], err = nats.Connect("", nats.InProcessServer(broker)); err != nil {
			return err
		}
		defer conns[i].Close()
	}
	e, err := newEdge(ctx, conns)
	if err != nil {
		return err
	}
	srv := &http.Server{Addr: listen, Handler: &e.relay}
	go func() { // ends with the signal
		<-ctx.Done()
		srv.Close()
	}()
	if err := srv.ListenAndServe(); err != http.ErrServerClosed {
		return err
	}
	return nil
}

// edge connects people to the log.
type edge struct {
	relay  relay.Server
	log    jetstream.JetStream
	people *nats.Conn
}

func newEdge(ctx context.Context, conns [3]*nats.Conn) (*edge, error) {
	e := &edge{people: conns[2]}
	var err error
	if e.log, err = jetstream.New(conns[0]); err != nil {
		return nil, err
	}
	reading, err := jetstream.New(conns[1])
	if err != nil {
		return nil, err
	}
	stream, err := reading.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: "LOG", Subjects: []string{"log.>"}, Storage: jetstream.FileStorage})
	if err != nil {
		return nil, err
	}
	consumer, err := stream.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{Durable: "fanout", AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: 10_000})
	if err != nil {
		return nil, err
	}
	_, err = consumer.Consume(func(m jetstream.Msg) { // subject: log.CHAT.SENDER
		chat, sender, _ := strings.Cut(m.Subject()[len("log."):], ".")
		e.relay.Members(chat, sender, func(user string) { conns[1].Publish("user."+user, m.Data()) })
		m.Ack()
	})
	if err != nil {
		return nil, err
	}
	e.relay.Route = func(from *relay.Client, m relay.Message) {
		if _, err := e.log.Publish(ctx, "log."+string(m.Chat)+"."+from.User, m.Delivery(from.User).Content()); err != nil {
			return // not acknowledged
		}
		from.Write(m.Ack())
	}
	e.relay.Joined = func(c *relay.Client) error {
		sub, err := e.people.Subscribe("user."+c.User, func(m *nats.Msg) { c.Write(relay.NewFrame(m.Data)) })
		if err != nil {
			return err
		}
		c.Own = sub
		return e.people.Flush()
	}
	e.relay.Left = func(c *relay.Client) error { return c.Own.(*nats.Subscription).Unsubscribe() }
	return e, nil
}
