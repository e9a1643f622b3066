package prefs

import (
	"fmt"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/meshtest/leaks"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leaks.Patient(m)) }

func mesh(t *testing.T) *bus.Bus {
	t.Helper()
	b := meshtest.NewBroker(t).Bus(t)
	meshtest.Ensure(t, b, meshtest.Layout(1))
	return b
}

func of(t *testing.T, b *bus.Bus, user chat.UserID) Preferences {
	t.Helper()
	all, err := Of(t.Context(), b, user)
	if err != nil {
		t.Fatal(err)
	}
	return all[user]
}

func TestWhoHasSaidNothingHasTheDefaultsAndAChangeIsKeptAndTold(t *testing.T) {
	t.Parallel()
	b := mesh(t)
	if got := of(t, b, "ann"); got != Default() || !got.ReadReceipts || !got.Typing || got.Invisible {
		t.Fatalf("got %+v; want the defaults", got)
	}
	sub, err := b.Conn().SubscribeSync(subject.User("ann"))
	if err != nil {
		t.Fatal(err)
	}
	first, err := Change(t.Context(), b, "ann", func(p *Preferences) { p.Invisible = true })
	if err != nil {
		t.Fatal(err)
	}
	second, err := Change(t.Context(), b, "ann", func(p *Preferences) { p.ReadReceipts = false })
	if err != nil {
		t.Fatal(err)
	}
	if second.Revision <= first.Revision || second.ReadReceipts || !second.Invisible || !second.Typing {
		t.Errorf("got %+v after %+v; want a later revision with both changes", second, first)
	}
	if got := of(t, b, "ann"); got != second {
		t.Errorf("got %+v; want %+v", got, second)
	}
	for _, want := range []Preferences{first, second} {
		m, err := sub.NextMsgWithContext(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := FromFrame(m.Data); !ok || got != want {
			t.Errorf("got %+v, %v of %s; want %+v", got, ok, m.Data, want)
		}
	}
}

func TestOfTwoChangesAtOnceNoneIsLost(t *testing.T) {
	t.Parallel()
	b := mesh(t)
	var wg sync.WaitGroup
	for _, change := range []func(*Preferences){
		func(p *Preferences) { p.Invisible = true }, func(p *Preferences) { p.Typing = false }, func(p *Preferences) { p.ReadReceipts = false },
	} {
		wg.Go(func() {
			if _, err := Change(t.Context(), b, "ann", change); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := of(t, b, "ann"); !got.Invisible || got.Typing || got.ReadReceipts {
		t.Errorf("got %+v; want all three changes", got)
	}
}

func TestManyAreReadTogetherAndWhatIsDamagedTellsNothing(t *testing.T) {
	t.Parallel()
	b := mesh(t)
	users := make([]chat.UserID, 2*asked+1)
	for i := range users {
		users[i] = chat.UserID(fmt.Sprintf("u%d", i))
	}
	last := users[len(users)-1]
	if _, err := Change(t.Context(), b, last, func(p *Preferences) { p.Typing = false }); err != nil {
		t.Fatal(err)
	}
	for user, value := range map[chat.UserID]string{"u1": "no JSON", "u2": `{"typing":false}`, "u3": `{"invisible":true}`} {
		if err := b.Keep(t.Context(), subject.Preferences, string(user), []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.DeleteKey(t.Context(), subject.Preferences, "u3"); err != nil {
		t.Fatal(err)
	}
	all, err := Of(t.Context(), b, users...)
	if err != nil || len(all) != len(users) {
		t.Fatalf("got %d, %v; want %d", len(all), err, len(users))
	}
	for user, want := range map[chat.UserID]Preferences{
		"u0": Default(), "u1": {Invisible: true}, "u2": {ReadReceipts: true}, "u3": Default(), last: {ReadReceipts: true},
	} {
		got := all[user]
		if got.Revision == 0 != (user == "u0") {
			t.Errorf("%s: got revision %d", user, got.Revision)
		}
		if got.Revision = 0; got != want {
			t.Errorf("%s: got %+v; want %+v", user, got, want)
		}
	}
}

func TestAFrameOfAnotherKindIsNone(t *testing.T) {
	for _, data := range []string{"", "{}", `{"type":"typing","revision":1}`, `{"type":"preferences"}`} {
		if p, ok := FromFrame([]byte(data)); ok {
			t.Errorf("%s: got %+v; want none", data, p)
		}
	}
	p, ok := FromFrame(wire.Encode(Preferences{Invisible: true, Revision: 3}.Frame()))
	if !ok || p != (Preferences{Invisible: true, Revision: 3}) {
		t.Errorf("got %+v, %v; want what was made a frame", p, ok)
	}
}
