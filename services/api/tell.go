package api

import (
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// tell sends a frame to the devices of a person that are connected now. Nobody waits for it: who was away asks.
func (s *Server) tell(user chat.UserID, frame any) {
	_ = s.bus.Conn().Publish(subject.User(user), wire.Encode(frame)) // fails only where the connection was closed for good
}
