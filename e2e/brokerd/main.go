// Command brokerd is a nats-server with JetStream as a process of its own, for stories in which the broker dies alone. Everything
// that it acknowledges is on disk.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

func main() {
	port := flag.Int("port", 0, "port of 127.0.0.1 to listen on")
	data := flag.String("data", "", "folder of the streams")
	conf := flag.String("c", "", "configuration of the server, instead of port and data")
	flag.Parse()
	if err := run(*conf, *port, *data); err != nil {
		fmt.Fprintln(os.Stderr, "brokerd: "+err.Error())
		os.Exit(1)
	}
}

func run(conf string, port int, data string) error {
	opts := &server.Options{ServerName: "brokerd", Host: "127.0.0.1", Port: port, JetStream: true, StoreDir: data,
		SyncAlways: true, DisableShortFirstPing: true}
	if conf != "" {
		var err error
		if opts, err = server.ProcessConfigFile(conf); err != nil {
			return err
		}
	}
	opts.NoSigs = true
	s, err := server.NewServer(opts)
	if err != nil {
		return err
	}
	s.ConfigureLogger()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	leave := make(chan os.Signal, 1)
	signal.Notify(leave, syscall.SIGUSR2)
	go s.Start() // ends with Shutdown
	if !s.ReadyForConnections(20 * time.Second) {
		return fmt.Errorf("not ready on %s:%d", opts.Host, opts.Port)
	}
	fmt.Println("brokerd is ready")
	select {
	case <-stop:
		s.Shutdown()
	case <-leave: // its leaders move away first, then its clients, one after the other
		s.LameDuckShutdown()
	}
	s.WaitForShutdown()
	return nil
}
