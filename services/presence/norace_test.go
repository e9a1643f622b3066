//go:build !race

package presence

const underRace = false
