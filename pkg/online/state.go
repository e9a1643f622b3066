package online

import "strings"

// State is how somebody is who has a connection to an edge. The zero value is at a device, for all to see.
type State struct {
	// Away is that nobody is at any device of the person there.
	Away bool
	// Invisible is that the person wants others to see them offline.
	Invisible bool
}

// wish is what the key of a person is to say: that there is none, or a State.
type wish uint8

// wishes is how many there are.
const (
	gone     wish = 0
	wishes        = 8
	here     wish = 1
	wishAway wish = 2
	wishHide wish = 4
)

func (s State) wish() wish {
	w := here
	if s.Away {
		w |= wishAway
	}
	if s.Invisible {
		w |= wishHide
	}
	return w
}

// What stands in the value of a lease or a key: the life that wrote it and, behind it, how the person is.
const (
	lifePrefix = "life="
	awayMark   = " away"
	hideMark   = " invisible"
)

// valuesOf are the values of keys of a life, by wish.
func valuesOf(life string) (out [wishes][]byte) {
	for w := here; w < wishes; w++ {
		text := lifePrefix + life
		if w&wishAway != 0 {
			text += awayMark
		}
		if w&wishHide != 0 {
			text += hideMark
		}
		out[w] = []byte(text)
	}
	return out
}

// LifeOf returns the life in the value of a lease or a key, empty if it has none. A lease or key without one fits every
// life: others than reporters may write such.
func LifeOf(value []byte) string {
	life, ok := strings.CutPrefix(string(value), lifePrefix)
	if !ok {
		return ""
	}
	life, _, _ = strings.Cut(life, " ")
	return life
}

// StateOf returns how the person is of whom a key is.
func StateOf(value []byte) (s State) {
	for _, word := range strings.Fields(string(value)) {
		switch " " + word {
		case awayMark:
			s.Away = true
		case hideMark:
			s.Invisible = true
		}
	}
	return s
}
