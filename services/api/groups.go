package api

import (
	"errors"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// setGroup changes title, picture and description of a group, those that are given, all at once.
func (s *Server) setGroup(c *call) (answer, error) {
	id, err := c.chat()
	if err != nil {
		return answer{}, err
	}
	var in struct {
		Title       *string `json:"title"`
		Picture     *string `json:"picture"`
		Description *string `json:"description"`
	}
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	if in.Title == nil && in.Picture == nil && in.Description == nil {
		return answer{}, chat.Errorf(chat.BadRequest, "one of title, picture and description is required")
	}
	if err := errors.Join(checkGiven(in.Title, chat.CheckTitle), checkGiven(in.Picture, chat.CheckPicture),
		checkGiven(in.Description, chat.CheckDescription)); err != nil {
		return answer{}, err
	}
	return s.change(c, id, chat.SetGroup{By: c.who.User, Title: in.Title, Picture: in.Picture, Description: in.Description})
}

// checkGiven checks a field that may be missing.
func checkGiven(field *string, check func(string) error) error {
	if field == nil {
		return nil
	}
	return check(*field)
}
