// Package growth measures how the cost of a message moves as a mesh grows: with the chats that there are. It starts the mesh within this
// process, so that its processor time, memory and allocations are those of the process.
package growth
