// Package scylla owns the store on a cluster of ScyllaDB or Apache Cassandra 5, in the CQL that both speak. It promises
// what package store promises with a quorum of the local datacentre, that it starts without the cluster and comes back by
// itself however long the cluster was away, and that it sends nothing to a schema that is older than it needs.
//
// # Tables
//
// The files of package scylla (at the top of the checkout) define the tables and say how large their partitions get.
//
//	table          partition              rows                  written by
//	user_names     name                   the account           lightweight transaction
//	users          user                   the account           lightweight transaction
//	profiles       user                   what was changed      lightweight transaction on the version
//	deletions      hash of user           people, ascending     the clock, before and behind the deletion
//	sessions       user, session          the session           lightweight transaction, with TTL
//	user_sessions  user                   sessions that may be  the clock, around the session, with TTL
//	blocks         user                   who is blocked        lightweight transaction
//	chat_settings  user                   chats                 the clock
//	hidden         user                   events                once
//	chats          chat                   head and state        timestamp seq, each of its own
//	chat_index     hash of chat           chats, ascending      once
//	user_chats     user                   chats                 timestamps of link, cursor and delivery, each of its own
//	messages       chat, seq/256          events, newest first  timestamp of the stream, the first wins; of stubs the last
//	client_ids     chat, bucket           sender, client id     timestamp of the seq, the first wins
//	marks          chat, target/256       edits, reactions,     timestamp of the seq, the last wins
//	                                      mentions, erasures
//	mentions       user, chat, seq/2^18   messages              once
//
// # Order does not matter
//
// Nothing in the history is read before it is written: the write timestamp of a cell follows from the event's place in the
// log, and the server keeps the cell with the highest one. What moves forward (a head, a state, a link, a cursor) has its seq
// as timestamp; what stays as it was first (an event, the place of a client id) has a timestamp that falls with its place.
// The stub that takes an event's text away is written with eraseTime, which is above all of these, so that a replay does not
// bring it back. Seqs of equal timestamps never differ in content: a log has one event at each place.
//
// Whom a message mentions is written without a look at whether it is erased; who looks for mentions leaves out those that have an
// erasure among their marks. Erasing takes the rows away as well, as far as they are there.
//
// # What people change
//
// An account is a row that was made when the person registered, and a profile over it as soon as something was changed: it has all
// that can change, and a version that each change compares. The hash of a password that was replaced, and all of an account
// that is deleted, is then taken out of the first row, behind the profile: who reads the account first and the profile then
// misses nothing.
//
// # What is seen
//
// A Write sends the events and what follows from them first, and the heads and states when all of that is confirmed: so a
// Record never speaks of an event that is not there, except while an earlier Write is being retried. It is not atomic.
//
// # Unknown
//
// A lightweight transaction that timed out may have happened or not. It is read again with serial consistency, which
// settles it, and only then answered or tried again.
package scylla
