//go:build race

package presence

// underRace says that the race detector slows everything down by ten.
const underRace = true
