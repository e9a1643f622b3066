package driver

// Conn is one person who is connected and logged in. Send and Flush are for one goroutine.
type Conn interface {
	// Send queues a message to an address, which the system named. The payload is printable ASCII without quotes, backslashes, angle
	// brackets and ampersands, so that it needs no escaping anywhere. tag comes back when the server acknowledges the message; it is
	// unique on the connection. What is queued is written when enough of it is, or at Flush.
	Send(address string, tag uint32, payload []byte) error
	// Flush writes what is queued.
	Flush() error
	// Close ends the connection and returns when its sink gets nothing any more.
	Close() error
}

// Sink gets what comes on a connection, from one goroutine. It must not block.
type Sink interface {
	// Acked says that the server took the message: kept it, where the system says that it keeps messages.
	Acked(tag uint32)
	// Delivered is a message for this person. The payload is only valid during the call.
	Delivered(payload []byte)
	// Failed says that the connection has ended, unless Close ended it, or that the server refused something.
	Failed(err error)
}
