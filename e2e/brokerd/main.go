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
	flag.Parse()
	if err := run(*port, *data); err != nil {
		fmt.Fprintln(os.Stderr, "brokerd: "+err.Error())
		os.Exit(1)
	}
}

func run(port int, data string) error {
	s, err := server.NewServer(&server.Options{ServerName: "brokerd", Host: "127.0.0.1", Port: port, JetStream: true, StoreDir: data,
		SyncAlways: true, NoSigs: true, DisableShortFirstPing: true})
	if err != nil {
		return err
	}
	s.ConfigureLogger()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	go s.Start() // ends with Shutdown
	if !s.ReadyForConnections(20 * time.Second) {
		return fmt.Errorf("not ready on port %d", port)
	}
	fmt.Println("brokerd is ready")
	<-stop
	s.Shutdown()
	s.WaitForShutdown()
	return nil
}
