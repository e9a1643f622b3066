// Command centrifuge is a chat server on the library under Centrifugo, which exists only to be compared: a channel for each person and each
// group, WebSocket with JSON, publications by clients, and the last messages of a channel in memory.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/centrifugal/centrifuge"
)

// A channel keeps so many messages for so long, for clients that come back soon.
const (
	kept    = 16
	keptFor = time.Minute
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8000", "where clients connect")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, *listen); err != nil {
		fmt.Fprintln(os.Stderr, "centrifuge: "+err.Error())
		os.Exit(1)
	}
}

// hello is what a client says when it connects: who it is, and the channels that it listens to.
type hello struct {
	User     string   `json:"user"`
	Channels []string `json:"channels"`
}

func run(ctx context.Context, listen string) error {
	node, err := centrifuge.New(centrifuge.Config{
		ClientQueueMaxSize: 64 << 20, // bytes; whoever is slower than that is cut
		ClientChannelLimit: 1000,
	})
	if err != nil {
		return err
	}
	node.OnConnecting(func(_ context.Context, e centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		var h hello
		if err := json.Unmarshal(e.Data, &h); err != nil {
			return centrifuge.ConnectReply{}, centrifuge.DisconnectBadRequest
		}
		channels := make(map[string]centrifuge.SubscribeOptions, len(h.Channels))
		for _, c := range h.Channels {
			channels[c] = centrifuge.SubscribeOptions{}
		}
		return centrifuge.ConnectReply{Credentials: &centrifuge.Credentials{UserID: h.User}, Subscriptions: channels}, nil
	})
	node.OnConnect(func(c *centrifuge.Client) {
		c.OnPublish(func(_ centrifuge.PublishEvent, answer centrifuge.PublishCallback) {
			answer(centrifuge.PublishReply{Options: centrifuge.PublishOptions{HistorySize: kept, HistoryTTL: keptFor}}, nil)
		})
	})
	if err := node.Run(); err != nil {
		return err
	}
	// Small buffers, lent only while something is written: for many connections.
	handler := centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{ReadBufferSize: 1024, UseWriteBufferPool: true,
		WriteTimeout: 30 * time.Second})
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	select {
	case err = <-ended:
	case <-ctx.Done():
		err = errors.Join(server.Close(), <-ended)
	}
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	down, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return errors.Join(err, node.Shutdown(down))
}
