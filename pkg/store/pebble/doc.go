// Package pebble owns the store of the embedded default: one folder on the local disk, kept by the LSM engine Pebble. It
// promises what package store promises, and moreover that every Write is atomic, and that what was confirmed is synced
// to the disk unless Options.NoSync gives that up.
//
// # Keys
//
// The first byte of a key names its table. An id that is not last in its key is preceded by its length in one byte, so
// that no id can run into what follows; seqs and times are 8 bytes big-endian, so that keys sort by them. Numbers in
// values are varints, times are microseconds.
//
//	table          key                              value
//	a  account     user                             JSON of store.User
//	b  block       (who blocks) user                nothing
//	c  settings    (user) chat                      flags, until when it is muted
//	d  deletion    user                             nothing; the deletion of the account is under way
//	e  event       (chat) seq                       the body, byte for byte
//	f  found       (chat) (sender) client id        seq, time sent
//	g  erased      (chat) seq                       seq of the deletion; 0 where only an edit of the message is erased
//	h  head        chat                             seq, n, stream sequence, time of the last event
//	i  hidden      (user) (chat) seq                nothing
//	k  mark        (chat) target, e, seq            time, who edited
//	               (chat) target, r, (user) emoji   seq, whether it was taken back, time
//	m  membership  (user) chat                      link, cursor's seq, cursor's n, delivered's seq if it is higher
//	n  name        user name                        user
//	o  mention     (user) (chat) seq                nothing
//	p  mentioned   (chat) seq, user                 nothing; the same the other way round
//	q  purge       (chat) seq                       nothing; the body that was erased may still be in the files
//	s  state       chat                             seq, JSON of chat.State
//	t  session     (user) session                   refresh digest, times of creation, expiry, last renewal; device
//	v  version                                      number of this layout
//	x  expiry      time of expiry (user) session    nothing
//
// The link of a membership is seq<<1, plus 1 where the person is in the chat: the greater link is the later one, and of
// an addition and a removal at one seq the addition is greater. A removal stays as a row with an even link, because an
// older addition may be replayed after it. A link of 0 says that only the cursor is known.
//
// # Order does not matter
//
// Every row of the history but an event's is the maximum (of a found row, the minimum) of what was written to it, and of an
// event the first body stays, until a stub takes its place: of stubs that of the latest deletion. Who is mentioned in a
// message that has an erased row is forgotten and not kept again. So what the store holds is a function of the set of writes,
// whatever their order and number.
// To take a maximum is to read and then to write: rows are read, and their new values made visible, under locks that are
// striped by chat or by account; the sync happens after the locks are free, so that writers of one chat share a sync too.
// What is read may therefore be visible slightly before it is synced. A call that writes returns only when what it found
// already there is synced as well: a confirmation never leans on someone else's unfinished sync.
package pebble
