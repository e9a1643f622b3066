// Package peer starts the systems that are measured, each configured as its documents advise and with its durability said, and connects
// people to them.
package peer

import (
	"context"

	"github.com/chatmesh/chatmesh/bench/driver"
)

// Durability says what an acknowledgement of a system promises.
type Durability string

// What there is.
const (
	// None keeps nothing.
	None Durability = "none"
	// Memory keeps messages in the memory of the process.
	Memory Durability = "memory"
	// PageCache writes to a file that the kernel writes later: a loss of power loses acknowledged messages.
	PageCache Durability = "page cache"
	// Disk syncs before it acknowledges.
	Disk Durability = "disk"
	// Disk3 syncs on a majority of three brokers before it acknowledges.
	Disk3 Durability = "disk, three times"
)

// System is a kind of server.
type System struct {
	// Name as it stands in results, such as "chatmesh-unsynced".
	Name    string
	Durable Durability
	// About says in a few words what it is, with its version where it is fixed.
	About string
	// Setup installs what it needs, from registries, once; nil where Go builds all of it. Start starts it with its state in dir.
	Setup func(ctx context.Context) error
	Start func(ctx context.Context, dir string) (Server, error)
}

// Server is a running system.
type Server interface {
	// PIDs are the processes of the server whose CPU and memory count.
	PIDs() []int
	// People makes accounts, or only names where the system has no accounts.
	People(ctx context.Context, n int) ([]Person, error)
	// Direct makes two people able to write to each other. to is the address that a writes to in order to reach b, back the other way.
	Direct(ctx context.Context, a, b Person) (to, back string, err error)
	// Group makes a group and returns its address. Some systems only let its members hear of it who connect afterwards.
	Group(ctx context.Context, members []Person) (address string, err error)
	// Dial connects somebody, and returns when what is sent to them from now on is delivered.
	Dial(ctx context.Context, p Person, sink driver.Sink) (driver.Conn, error)
	// Stop ends the processes. The server's state is removed by the caller.
	Stop() error
}

// Returner is a Server that can bring a device up to date.
type Returner interface {
	// Return connects somebody who was away since the chats were made, so that all messages of them are delivered.
	Return(ctx context.Context, p Person, chats []string, sink driver.Sink) (driver.Conn, error)
}

// Person is somebody who can connect.
type Person struct {
	// Name is what the system calls the person, Secret what they log in with.
	Name, Secret string
}
