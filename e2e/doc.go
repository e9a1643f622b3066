// Package e2e holds stories over the real program: each test starts from the built binary, speaks the outside contract
// only, and is named after the promise that it holds the program to. Nothing of the server is imported.
//
//	go test ./e2e                                   every story, over a binary built with the race detector
//	CHATMESH_BIN=/path/to/chatmesh go test ./e2e    over a binary that is there already
//	go test -tags measure -run TestMeasure -v .       delivery times and memory of a binary without the race detector
//
// The stories that test the contract use package raw, so that no mistake of the SDK hides one of the server; package program
// starts, stops and watches the processes.
package e2e
