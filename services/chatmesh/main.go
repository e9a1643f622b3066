// Command chatmesh is the chat backend: all services in one process, or one of them on an external NATS.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/chatmesh/chatmesh/pkg/config"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := chatmesh(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "chatmesh: "+err.Error())
		os.Exit(1)
	}
}

// chatmesh runs a command, which writes its result to out and what else is to be told to errs.
func chatmesh(ctx context.Context, args []string, out, errs io.Writer) error {
	cli := commands{}
	cmd, err := config.Parse(args, &cli, options(ctx, out, errs)...)
	if err != nil {
		return err
	}
	return cmd.Run(&cli)
}
