// Package free finds ports for servers that are started later, or again on the same port. It promises that two that it gave differ, and that
// none is among those that the system gives to connections, so that it stays free while nobody listens.
package free

import (
	"errors"
	"net"
	"os"
	"strconv"
	"sync"
)

// The system gives connections ports from 32768 on. Processes that look for ports at the same time begin at different places.
const (
	lowest = 20_000
	many   = 12_000
	stride = 37
)

var (
	mu   sync.Mutex
	next int // guarded by mu
)

// Port returns a port of 127.0.0.1 that nobody listens on.
func Port() (int, error) {
	mu.Lock()
	defer mu.Unlock()
	for range many {
		next++
		port := lowest + (os.Getpid()*stride+next)%many
		l, err := net.Listen("tcp", address(port))
		if err != nil {
			continue
		}
		return port, l.Close()
	}
	return 0, errors.New("free: no port")
}

// Ports returns so many ports.
func Ports(n int) ([]int, error) {
	ports := make([]int, n)
	for i := range ports {
		var err error
		if ports[i], err = Port(); err != nil {
			return nil, err
		}
	}
	return ports, nil
}

// Address returns an address with such a port.
func Address() (string, error) {
	port, err := Port()
	return address(port), err
}

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
