// Command audit is an example for backend teams: a feed of everything that happens in all chats, one JSON line for each event,
// without the texts unless they are asked for. It works off durable consumers that operators have made for the team, acks what
// is written, and goes on after a restart where it was.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// settings are what the feed needs to know.
type settings struct {
	url, nkey, ca, consumer, out string
	text                         bool
}

func main() {
	var s settings
	flag.StringVar(&s.url, "nats-url", "nats://127.0.0.1:4222", "the broker")
	flag.StringVar(&s.nkey, "nats-nkey", "", "file with the team's NKey seed, on a broker with accounts")
	flag.StringVar(&s.ca, "nats-tls-ca", "", "PEM file of the authorities that the broker is believed by")
	flag.StringVar(&s.consumer, "consumer", "team-audit", "name of the team's durable consumers, and of its role")
	flag.StringVar(&s.out, "out", "", "file that lines are added to; standard output if it is empty")
	flag.BoolVar(&s.text, "text", false, "write the texts of messages as well")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, s); err != nil {
		fmt.Fprintln(os.Stderr, "audit:", err)
		os.Exit(1)
	}
}
