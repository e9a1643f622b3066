package api

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

const (
	// maxBlocks is how many people one person blocks.
	maxBlocks = 1000
	// blocksAtOnce is how many people are looked up at the same time.
	blocksAtOnce = 16
)

var (
	errBlocks    = chat.Errorf(chat.Conflict, "at most %d people are blocked at once", maxBlocks)
	errBlocked   = chat.Errorf(chat.Forbidden, "you cannot write to this person")
	errYouBlock  = chat.Errorf(chat.Forbidden, "you have blocked this person")
	errBlockSelf = chat.Errorf(chat.BadRequest, "nobody blocks themselves")
)

// listBlocks returns whom the caller has blocked.
func (s *Server) listBlocks(c *call) (answer, error) {
	blocked, err := s.store.Blocks(c.ctx, c.who.User)
	if err := s.stored(err); err != nil {
		return answer{}, err
	}
	type view struct {
		UserID chat.UserID `json:"user_id"`
	}
	out := struct {
		Blocks []view `json:"blocks"`
	}{make([]view, 0, len(blocked))}
	for _, u := range blocked {
		out.Blocks = append(out.Blocks, view{u})
	}
	return answer{http.StatusOK, out}, nil
}

// block keeps somebody from writing to the caller in their direct chat, and from seeing whether the caller is online.
func (s *Server) block(c *call) (answer, error) {
	other, err := c.other()
	if err != nil {
		return answer{}, err
	}
	blocked, err := s.store.Blocks(c.ctx, c.who.User)
	if err := s.stored(err); err != nil {
		return answer{}, err
	}
	if !slices.Contains(blocked, other) {
		if len(blocked) >= maxBlocks {
			return answer{}, errBlocks
		}
		if err := s.exist(c.ctx, other); err != nil {
			return answer{}, err
		}
		if err := s.stored(s.store.Block(c.ctx, c.who.User, other)); err != nil {
			return answer{}, err
		}
	}
	if err := s.settleBlock(c.ctx, c.who.User, other); err != nil {
		return answer{}, err
	}
	s.tell(other, wire.Recheck{Type: wire.TypeRecheck}) // whoever shares no direct chat with the caller hears of it by this only
	return answer{status: http.StatusNoContent}, nil
}

// unblock takes a block back.
func (s *Server) unblock(c *call) (answer, error) {
	other, err := c.other()
	if err != nil {
		return answer{}, err
	}
	if err := s.stored(s.store.Unblock(c.ctx, c.who.User, other)); err != nil {
		return answer{}, err
	}
	return answer{status: http.StatusNoContent}, s.settleBlock(c.ctx, c.who.User, other)
}

// other returns the person of the path, who is not the caller.
func (c *call) other() (chat.UserID, error) {
	user, err := chat.ParseUserID(c.r.PathValue("user"))
	switch {
	case err != nil:
		return "", errNoUser
	case user == c.who.User:
		return "", errBlockSelf
	}
	return user, nil
}

// settleTries bounds how often the log is brought to what the store says while that changes.
const settleTries = 10

// settleBlock brings the direct chat of two people, if there is one, to what the store says of by's block. What is stored is read
// again after each event: of all who block and unblock at the same time the last one to append has seen what was stored last.
func (s *Server) settleBlock(ctx context.Context, by, other chat.UserID) error {
	id := DirectID(by, other)
	for range settleTries {
		want, err := s.store.IsBlocked(ctx, by, other)
		if err := s.stored(err); err != nil {
			return err
		}
		var cmd chat.Command = chat.Unblock{By: by}
		if want {
			cmd = chat.Block{By: by}
		}
		r, err := s.log.Append(ctx, id, cmd)
		switch {
		case chat.Is(err, chat.NotFound): // they have no chat
			return nil
		case err != nil:
			return err
		case r.Seq == 0: // it is so already
			return nil
		}
	}
	return unavailable("others change this at the same time", errors.New("api: block does not settle"))
}

// settleBlocks is settleBlock for the blocks of both.
func (s *Server) settleBlocks(ctx context.Context, a, b chat.UserID) error {
	if err := s.settleBlock(ctx, a, b); err != nil {
		return err
	}
	return s.settleBlock(ctx, b, a)
}

// mayMeet refuses a direct chat of two people of whom one has blocked the other.
func (s *Server) mayMeet(ctx context.Context, caller, other chat.UserID) error {
	own, err := s.store.IsBlocked(ctx, caller, other)
	if err := s.stored(err); err != nil {
		return err
	}
	theirs, err := s.store.IsBlocked(ctx, other, caller)
	switch err := s.stored(err); {
	case err != nil:
		return err
	case own:
		return errYouBlock
	case theirs:
		return errBlocked
	}
	return nil
}

// shown returns those of the others whose presence the caller may see, in the order given: who shares a chat with the caller and has
// not blocked them.
func (s *Server) shown(ctx context.Context, caller chat.UserID, others []chat.UserID) ([]chat.UserID, error) {
	others, err := s.shares(ctx, caller, others)
	if err != nil {
		return nil, err
	}
	hidden := make([]bool, len(others))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(blocksAtOnce)
	for i, u := range others {
		if u == caller {
			continue
		}
		g.Go(func() (err error) {
			hidden[i], err = s.store.IsBlocked(ctx, u, caller)
			return s.stored(err)
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	out := make([]chat.UserID, 0, len(others))
	for i, u := range others {
		if !hidden[i] {
			out = append(out, u)
		}
	}
	return out, nil
}
