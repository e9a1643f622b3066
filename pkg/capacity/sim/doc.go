// Package sim plays a cell of the mesh in small: chats of unequal size and activity over partitions, people over edges, leaders over
// brokers, a day over time zones, and the return of a whole region after an outage. It uses the functions that the program uses to choose
// a partition, an edge and a moment to come back. It promises the same result for the same seed, and that the factors which package
// capacity plans with are not below what it shows (a test holds the two together).
//
// It plays a part of the people on a part of the power: so many people fewer, so many connections a second fewer at each edge. What makes
// one partition or edge fuller than others are few hot groups, which have their part of all messages at every scale; a test plays the same
// at two scales.
package sim
