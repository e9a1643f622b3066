package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"

	"github.com/alecthomas/kong"

	"github.com/chatmesh/chatmesh/pkg/config"
	"github.com/chatmesh/chatmesh/services/mesh"
)

// commands is the command line.
type commands struct {
	config.Settings `embed:""`

	All         all            `cmd:"" default:"1" help:"Run every service in one process: embedded NATS and store, web client (the default)."`
	Edge        service        `cmd:"" help:"Run an edge: WebSockets to user subjects."`
	API         service        `cmd:"" name:"api" help:"Run the api: HTTP and micro endpoints."`
	Fanout      service        `cmd:"" help:"Run a fan-out worker: chat logs to user subjects."`
	Persister   service        `cmd:"" help:"Run a persister: chat logs to the store."`
	Presence    service        `cmd:"" help:"Run presence: heartbeats to transitions."`
	Config      configCmd      `cmd:"" help:"Show settings."`
	Verify      verifyCmd      `cmd:"" help:"Verify that log and store agree, and that nothing is missing, double, out of order or altered."`
	DeadLetters deadLetters    `cmd:"" name:"deadletters" help:"Show and retry what no worker could handle."`
	Drain       drainCmd       `cmd:"" help:"Move the clients of an edge to other edges."`
	Migrate     migrateCmd     `cmd:"" help:"Make the tables of the ScyllaDB, or bring them up to date."`
	NATS        natsCmd        `cmd:"" name:"nats" help:"Look after an external broker: streams, consumers of teams, roles, keys."`
	Capacity    capacityCmd    `cmd:"" help:"Work out which machines a load needs, and what breaks first."`
	Healthcheck healthcheckCmd `cmd:"" help:"Tell whether a process on this machine is ready."`
	Version     version        `cmd:"" help:"Show the version."`
}

// options of the parser: the context in which commands run, and where they write.
func options(ctx context.Context, out, errs io.Writer) []kong.Option {
	return []kong.Option{
		kong.Name("chatmesh"),
		kong.Description("A chat backend on NATS: the broker routes, orders and keeps messages."),
		kong.UsageOnError(),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.BindTo(out, (*io.Writer)(nil)),
		kong.Bind(errorOutput{errs}),
	}
}

type (
	all       struct{}
	service   struct{}
	version   struct{}
	configCmd struct {
		Print configPrint `cmd:"" help:"Print every setting with its value and where it came from, without secrets."`
	}
	configPrint struct{}
)

// Run runs every service.
func (all) Run(ctx context.Context, cli *commands, out io.Writer) error {
	return runServices(ctx, cli, out, mesh.All...)
}

// Run runs the one service that the command names.
func (service) Run(ctx context.Context, k *kong.Context, cli *commands, out io.Writer) error {
	s := mesh.Service(k.Selected().Name)
	if len(cli.NATSURL) == 0 {
		return fmt.Errorf("%s alone needs an external broker: set --nats-url", s)
	}
	return runServices(ctx, cli, out, s)
}

// Run prints the settings.
func (configPrint) Run(cli *commands, out io.Writer) error { return cli.Print(out) }

// Run prints the version.
func (version) Run(out io.Writer) error {
	_, err := fmt.Fprintln(out, "chatmesh", buildVersion())
	return err
}

func runServices(ctx context.Context, cli *commands, out io.Writer, services ...mesh.Service) error {
	m, err := mesh.New(&cli.Settings, buildVersion(), logger(&cli.Settings), services...)
	if err != nil {
		return err
	}
	return m.Run(ctx, out)
}

func logger(c *config.Settings) *slog.Logger {
	opts := &slog.HandlerOptions{Level: c.Level()}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, opts))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, opts))
}

// buildVersion is the version of the module, as a semantic version, or 0.0.0-dev with the revision where it was built from a
// checkout.
func buildVersion() string {
	info, ok := debug.ReadBuildInfo()
	if ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version[1:]
	}
	return "0.1.0-dev"
}
