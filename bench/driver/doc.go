// Package driver speaks the protocols of chat servers as many people at once, with little CPU, and checks what comes: that no message was
// lost, doubled or overtaken by a later one of its sender.
//
// Each protocol is a file: it makes a Conn that writes what Send queues and gives what comes to a Sink.
package driver
