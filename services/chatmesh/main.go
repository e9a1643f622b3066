// Command chatmesh is the chat backend: all services in one process, or one of them on an external NATS.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/chatmesh/chatmesh/pkg/config"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := chatmesh(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "chatmesh: "+err.Error())
		os.Exit(1)
	}
}

func chatmesh(ctx context.Context, args []string) error {
	cli := commands{}
	cmd, err := config.Parse(args, &cli, options(ctx)...)
	if err != nil {
		return err
	}
	return cmd.Run(&cli)
}
