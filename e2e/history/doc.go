// Package history is an independent checker of chatmesh. It owns what clients saw of a run (sends and their acks, what was done to
// messages, events on each connection, pages, folded or not, changes of membership, read cursors, counts of unread) and what the
// history of each chat says afterwards, and tells where the two cannot both be true. It promises to know nothing of the server: all it
// relies on is that events of a chat are numbered 1, 2, 3 …, and what edits, deletions, reactions and pins make of a message. It reads
// each record once, so that a run of millions of deliveries is checked in seconds; only what happened at the same time to one
// membership or one cursor is searched, with porcupine.
//
// A recorder is called while the run goes on, from any goroutine, with times of one clock. Check is called when it has ended. What
// has no outcome in the record (a send that was never answered, a change whose answer was lost) may have happened or not, at any
// time since it began.
package history
