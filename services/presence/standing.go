package presence

import (
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/online"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// standing is how a person is, all devices on all edges taken together.
type standing uint8

const (
	offline standing = iota
	// present is that somebody is at one of the devices, away that there are connections, and nobody is.
	present
	away
	// hidden and hiddenAway are the same of somebody whom others are to see offline.
	hidden
	hiddenAway
	// unknown is what somebody was who has gone, where that is not known any more.
	unknown
)

// standings puts together how a person is on several edges: at a device on any is at a device, and who wants to be invisible is so
// everywhere, also while one edge has not heard of it.
type standings struct{ some, present, hidden bool }

func (s *standings) add(state online.State) {
	s.some = true
	s.present = s.present || !state.Away
	s.hidden = s.hidden || state.Invisible
}

func (s standings) all() standing {
	switch {
	case !s.some:
		return offline
	case s.hidden && s.present:
		return hidden
	case s.hidden:
		return hiddenAway
	case s.present:
		return present
	}
	return away
}

// hidden tells whether it is not what others see.
func (s standing) hidden() bool { return s == hidden || s == hiddenAway }

// public is what others see.
func (s standing) public() standing {
	if s.hidden() {
		return offline
	}
	return s
}

// lessThan tells whether s may come of edges that are not back yet, where was was so before: it is not believed before all had time.
// That somebody wants to be invisible is believed at once.
func (s standing) lessThan(was standing) bool {
	return s == offline && was != offline || s == away && was == present || s == hiddenAway && was == hidden
}

// presence is the frame that says so, without the moment when the person was last seen.
func (s standing) presence(user chat.UserID) wire.Presence {
	p := wire.Presence{Type: wire.TypePresence, User: user, State: wire.Offline, Invisible: s.hidden()}
	switch s {
	case present, hidden:
		p.Online, p.State = true, wire.Online
	case away, hiddenAway:
		p.Online, p.State = true, wire.Away
	}
	return p
}

// told is what was told last of somebody; telling is the place with another.
func (p place) told() standing { return standing(p & told >> toldAt) }

func (p place) telling(s standing) place { return p&^told | place(s)<<toldAt }
