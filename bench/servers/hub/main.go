// Command hub is the floor of every comparison: a relay that keeps nothing, checks nothing and knows its people by the names that they
// give.
package main

import (
	"flag"
	"net/http"
	"os"

	"github.com/chatmesh/chatmesh/bench/servers/relay"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:9000", "address")
	plain := flag.Bool("plain", false, "write as is usually done: a goroutine for each connection, a write for each frame")
	flag.Parse()
	s := &relay.Server{Plain: *plain}
	s.Route = func(from *relay.Client, m relay.Message) {
		f := m.Delivery(from.User)
		s.Members(string(m.Chat), from.User, func(user string) { s.Deliver(user, f) })
		from.Write(m.Ack())
	}
	if err := http.ListenAndServe(*listen, s); err != nil {
		os.Stderr.WriteString("hub: " + err.Error() + "\n")
		os.Exit(1)
	}
}
