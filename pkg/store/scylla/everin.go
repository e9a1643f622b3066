package scylla

import (
	"context"

	"github.com/scylladb/gocqlx/v2/qb"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

var getEverIn = cql(qb.Select("user_chats").Columns("chat_id").Where(qb.Eq("user_id")).ToCql())

// EverIn returns the chats that a person is or was in, in the order of their ids: a membership that ended keeps its row.
func (s *Store) EverIn(ctx context.Context, user chat.UserID) (out []chat.ID, err error) {
	err = s.do(ctx, "ever in", func(c call) error {
		if err := checkIDs("user", user); err != nil {
			return err
		}
		it := c.query(c.ctx, getEverIn, string(user)).Iter()
		for id := ""; it.Scan(&id); {
			out = append(out, chat.ID(id))
		}
		return it.Close()
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
