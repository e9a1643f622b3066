package api

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// write tries to send to a chat.
func (p *person) write(id chat.ID, client string) reply {
	p.w.t.Helper()
	return p.call("POST", chatPath(id, "messages"), map[string]any{"client_id": client, "text": "hello"})
}

func blockPath(p *person) string { return "/v1/blocks/" + string(p.id) }

func TestWhoIsBlockedNeitherWritesNorSeesThePresenceOfWhoBlocked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.people("ann", "ben", "cat")
	ann, ben, cat := p[0], p[1], p[2]
	id, group := ann.direct(ben), cat.group(ann, ben)
	ben.send(id, "hello")
	w.servePresence()
	edges, err := w.bus.Conn().SubscribeSync(subject.User(ben.id))
	check(t, err)
	check(t, w.bus.Conn().Flush())
	shows := func(p *person, other *person) bool {
		t.Helper()
		a, err := w.api.microShares(t.Context(), wire.SharesRequest{User: string(p.id), Others: []string{string(other.id)}})
		check(t, err)
		var v struct {
			Presence []struct {
				UserID chat.UserID `json:"user_id"`
			}
		}
		p.call("GET", "/v1/presence?user="+string(other.id), nil).want(t, 200, "").into(t, &v)
		shared := len(a.(wire.SharesAnswer).Users) == 1
		if shared != (len(v.Presence) == 1) {
			t.Errorf("the edge is told %v, HTTP says %v; want the same", a, v)
		}
		return shared
	}
	ann.call("PUT", blockPath(ben), nil).want(t, 204, "")
	ann.call("PUT", blockPath(ben), nil).want(t, 204, "")
	m, err := edges.NextMsg(5 * time.Second)
	if err != nil || string(m.Data) != `{"type":"recheck"}` {
		t.Errorf("got %v, %v; want the edges to look again at what ben may see", m, err)
	}
	for _, p := range []*person{ann, ben} {
		p.write(id, "after the block").want(t, 400, chat.BadRequest) // no client id
		p.write(id, "after").want(t, 403, chat.Forbidden)
		p.write(group, "after").want(t, 201, "")
		p.call("POST", "/v1/chats", map[string]any{"kind": "direct", "members": ids(map[*person]*person{ann: ben, ben: ann}[p])}).want(t, 200, "")
	}
	if shows(ben, ann) || !shows(ann, ben) || !shows(cat, ann) {
		t.Errorf("ben sees ann: %v, ann sees ben: %v, cat sees ann: %v; want only ben not to", shows(ben, ann), shows(ann, ben), shows(cat, ann))
	}
	var seen struct{ Users []userView }
	ben.call("GET", "/v1/users?id="+string(ann.id), nil).want(t, 200, "").into(t, &seen)
	if len(seen.Users) != 1 {
		t.Error("ben does not know ann's name any more; want only her presence to be hidden")
	}
	var list struct {
		Blocks []struct {
			UserID chat.UserID `json:"user_id"`
		}
	}
	ann.call("GET", "/v1/blocks", nil).want(t, 200, "").into(t, &list)
	if len(list.Blocks) != 1 || list.Blocks[0].UserID != ben.id {
		t.Errorf("got %+v; want ben", list)
	}
	ben.call("DELETE", blockPath(ann), nil).want(t, 204, "") // it is not his to take back
	ben.write(id, "still").want(t, 403, chat.Forbidden)
	ann.call("DELETE", blockPath(ben), nil).want(t, 204, "")
	ben.write(id, "again").want(t, 201, "")
	if !shows(ben, ann) {
		t.Error("ben does not see ann after the block was taken back")
	}
	var changes []chat.Change
	page, err := w.log.Page(t.Context(), id, pageOfAll)
	check(t, err)
	for _, it := range page.Items {
		e, err := wire.DecodeEvent(it.Body)
		check(t, err)
		changes = append(changes, e.Change)
	}
	if want := []chat.Change{chat.Created, "", chat.Blocked, chat.Unblocked, ""}; !slices.Equal(changes, want) {
		t.Errorf("got %q; want %q", changes, want)
	}
	ann.call("PUT", blockPath(ann), nil).want(t, 400, chat.BadRequest)
	ann.call("PUT", "/v1/blocks/nobody", nil).want(t, 404, chat.NotFound)
	ann.call("PUT", "/v1/blocks/a.b", nil).want(t, 404, chat.NotFound)
}

func TestNoDirectChatIsMadeWithWhoIsBlocked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.people("ann", "ben")
	ann, ben := p[0], p[1]
	ann.call("PUT", blockPath(ben), nil).want(t, 204, "")
	make := func(by, other *person) reply {
		return by.call("POST", "/v1/chats", map[string]any{"kind": "direct", "members": ids(other)})
	}
	make(ben, ann).want(t, 403, chat.Forbidden)
	make(ann, ben).want(t, 403, chat.Forbidden)
	if chats, _ := ann.list(""); len(chats) > 0 {
		t.Errorf("got %+v; want no chat", chats)
	}
	ann.call("DELETE", blockPath(ben), nil).want(t, 204, "")
	make(ben, ann).want(t, 201, "")
}

func TestABlockThatRacesWithTheMakingOfTheChatHolds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for round := range 10 {
		p := w.people("ann", "ben")
		ann, ben := p[0], p[1]
		var wg sync.WaitGroup
		wg.Go(func() { ann.call("PUT", blockPath(ben), nil).want(t, 204, "") })
		made := 0
		wg.Go(func() {
			made = ben.call("POST", "/v1/chats", map[string]any{"kind": "direct", "members": ids(ann)}).status
		})
		wg.Wait()
		if made == 403 {
			continue
		}
		if made != 201 {
			t.Fatalf("round %d: got %d; want the chat, or a refusal", round, made)
		}
		ben.write(DirectID(ann.id, ben.id), "x").want(t, 403, chat.Forbidden)
	}
}

func TestTheLastOfRacingBlocksAndUnblocksStandsInTheChatToo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.people("ann", "ben")
	ann, ben := p[0], p[1]
	id := ann.direct(ben)
	for round := range 8 {
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				ann.call([]string{"PUT", "DELETE"}[i%2], blockPath(ben), nil).want(t, 204, "")
			})
		}
		wg.Wait()
		stored, err := w.store.IsBlocked(t.Context(), ann.id, ben.id)
		check(t, err)
		snap, err := w.log.Snapshot(t.Context(), id)
		check(t, err)
		if slices.Contains(snap.State.Blocks, ann.id) != stored {
			t.Fatalf("round %d: the store says %v, the chat %v", round, stored, snap.State.Blocks)
		}
	}
}

func TestAThousandPeopleAreBlockedAtMost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.people("ann", "ben", "cat")
	ann, ben, cat := p[0], p[1], p[2]
	ann.call("PUT", blockPath(ben), nil).want(t, 204, "")
	for i := range maxBlocks - 1 {
		check(t, w.store.Block(t.Context(), ann.id, chat.UserID(fmt.Sprint("u", i))))
	}
	ann.call("PUT", blockPath(cat), nil).want(t, 409, chat.Conflict)
	ann.call("PUT", blockPath(ben), nil).want(t, 204, "")
	ann.call("DELETE", blockPath(ben), nil).want(t, 204, "")
	ann.call("PUT", blockPath(cat), nil).want(t, 204, "")
}
