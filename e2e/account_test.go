package e2e

import (
	"bytes"
	"net/http"
	"testing"

	"github.com/chatmesh/chatmesh/e2e/program"
	"github.com/chatmesh/chatmesh/e2e/raw"
)

// proven is a call that costs hashes of passwords, repeated while the server says that it is busy with others.
func (p *person) proven(method, path string, body raw.Object) raw.Answer {
	p.t.Helper()
	hashing <- struct{}{}
	defer func() { <-hashing }()
	var a raw.Answer
	eventually(p.t, raw.Patience, method+" "+path+" is answered", func() bool {
		a = p.call(method, path, body)
		return a.Status != http.StatusServiceUnavailable
	})
	return a
}

// profileOf is what others see of a person.
type profileOf struct {
	ID          string `json:"id"`
	Username    string `json:"username"`
	DisplayName string `json:"display_name"`
	Status      string `json:"status"`
	Picture     string `json:"picture"`
	Deleted     bool   `json:"deleted"`
}

// byID asks for a person whom the caller shares a chat with.
func (p *person) byID(other *person) profileOf {
	p.t.Helper()
	var a struct{ Users []profileOf }
	p.must(http.StatusOK, http.MethodGet, "/v1/users?id="+other.id, nil, &a)
	if len(a.Users) != 1 {
		p.t.Fatalf("%s asks for %s: got %d people; want one", p.name, other.name, len(a.Users))
	}
	return a.Users[0]
}

func TestAProfileIsToldToOwnDevicesAndSeenByOthersWhoAsk(t *testing.T) {
	t.Parallel()
	srv := server(t)
	alice, bob := newPerson(t, srv, "alice"), newPerson(t, srv, "bob")
	alice.direct(bob)
	phone, laptop, others := alice.device(nil), alice.login().device(nil), bob.device(nil)
	var got profileOf
	const picture = "https://pictures.example/alice.png"
	alice.must(http.StatusOK, http.MethodPatch, "/v1/users/me", raw.Object{"status": "at tea", "picture": picture}, &got)
	for _, s := range []*raw.Socket{phone, laptop} {
		f, err := s.Await(raw.Patience, func(f raw.Frame) bool { return f.Type == "profile" })
		if err != nil || f.User() != alice.id || !bytes.Contains(f.Raw, []byte("at tea")) {
			t.Errorf("a device of alice: got %s, %v; want the profile", f.Raw, err)
		}
	}
	if want := (profileOf{alice.id, alice.name, "The alice", "at tea", picture, false}); got != want || bob.byID(alice) != want {
		t.Errorf("alice gets %+v, bob sees %+v; want %+v", got, bob.byID(alice), want)
	}
	if told := others.Frames(func(f raw.Frame) bool { return f.Type == "profile" }); len(told) > 0 {
		t.Errorf("bob's device is told %s; want him to ask", told[0].Raw)
	}
	alice.refused("bad_request", http.MethodPatch, "/v1/users/me", raw.Object{"picture": "http://pictures.example/alice.png"})
}

func TestANewPasswordEndsTheSessionsOfAllOtherDevices(t *testing.T) {
	t.Parallel()
	srv := server(t)
	alice := newPerson(t, srv, "alice")
	lost, away, third := alice.login(), alice.login(), alice.login()
	own, theirs, ended := alice.device(nil), lost.device(nil), third.device(nil)
	var list struct {
		Sessions []struct {
			ID      string
			Current bool
		}
	}
	third.must(http.StatusOK, http.MethodGet, "/v1/sessions", nil, &list)
	if len(list.Sessions) != 4 {
		t.Fatalf("got %d sessions; want 4", len(list.Sessions))
	}
	for _, s := range list.Sessions {
		if s.Current {
			alice.must(http.StatusNoContent, http.MethodDelete, "/v1/sessions/"+s.ID, nil, nil)
		}
	}
	closedAs(t, "the connection of the session that was ended by its id", ended, raw.Patience, 3501)
	next := canary + "-" + random(6)
	srv.Guard(next)
	change := raw.Object{"old_password": canary + "-wrong", "new_password": next}
	if a := alice.proven(http.MethodPut, "/v1/users/me/password", change); refusedWith(a, "invalid_credentials") != "" {
		t.Errorf("a wrong password: %s", refusedWith(a, "invalid_credentials"))
	}
	change["old_password"] = alice.password
	if a := alice.proven(http.MethodPut, "/v1/users/me/password", change); a.Status != http.StatusNoContent {
		t.Fatalf("got %d %.200s; want the password to be changed", a.Status, a.Body)
	}
	closedAs(t, "the connection of another session", theirs, raw.Patience, 3501)
	lost.tokensEnd()
	away.tokensEnd() // a device that was not connected
	if _, err := own.Ask(raw.Object{"type": "ping"}); err != nil {
		t.Errorf("the session that changed the password: %v", err)
	}
	alice.rotate()
	alice.password = next
	alice.login()
}

func TestABlockHoldsOnAllDevicesAndEndsWhatTheBlockedOneSees(t *testing.T) {
	t.Parallel()
	srv := server(t)
	alice, bob, carol := newPerson(t, srv, "alice"), newPerson(t, srv, "bob"), newPerson(t, srv, "carol")
	direct, group := alice.direct(bob), carol.group("goes on", alice, bob)
	phone := bob.device(nil)
	first := bob.post(direct, text("before the block"))
	awaitSeq(t, "bob's phone", phone, direct, first)
	if err := phone.Send(raw.Object{"type": "watch", "id": "w", "users": []string{alice.id}}); err != nil {
		t.Fatal(err)
	}
	toldOnline(t, phone, alice, false)

	alice.must(http.StatusNoContent, http.MethodPut, "/v1/blocks/"+bob.id, nil, nil)
	blocked := change(t, "bob's phone", phone, direct, "blocked", "")
	laptop := bob.device(map[string]uint64{direct: first}) // it was away
	if f := change(t, "bob's laptop", laptop, direct, "blocked", ""); f.Seq != blocked.Seq || f.By != alice.id {
		t.Errorf("got %s; want the block at %d", f.Raw, blocked.Seq)
	}
	desk := alice.device(nil)
	for _, s := range []*raw.Socket{phone, laptop, desk} {
		askRefused(t, s, "a message to a blocked chat", "forbidden",
			raw.Object{"type": "send", "chat": direct, "client_id": newClientID(), "text": text("after the block")})
	}
	if _, shown := bob.presenceOf(alice); shown {
		t.Error("bob is told of alice's presence; want her to be left out")
	}
	seen := carol.device(nil)
	if err := seen.Send(raw.Object{"type": "watch", "id": "w", "users": []string{alice.id}}); err != nil {
		t.Fatal(err)
	}
	desk.Close()
	eventually(t, 4*raw.Patience, "bob's phone is not told of alice any more", func() bool {
		before := len(presenceFrames(phone, alice))
		here := alice.device(nil)
		toldOnline(t, seen, alice, true)
		here.Close()
		toldOnline(t, seen, alice, false)
		return len(presenceFrames(phone, alice)) == before
	})
	said := bob.post(group, text("groups go on"))
	awaitSeq(t, "alice", alice.device(map[string]uint64{group: said - 1}), group, said)

	alice.must(http.StatusNoContent, http.MethodDelete, "/v1/blocks/"+bob.id, nil, nil)
	change(t, "bob's phone", phone, direct, "unblocked", "")
	awaitSeq(t, "bob's laptop", laptop, direct, bob.post(direct, text("again")))
}

func TestADeletedAccountTakesItsTextsAlsoOverARestart(t *testing.T) {
	t.Parallel()
	cfg := program.Config{Data: t.TempDir()}
	srv := program.Start(t, cfg)
	alice, bob := newPerson(t, srv, "alice"), newPerson(t, srv, "bob")
	direct, owned, left := alice.direct(bob), alice.group("hers", bob), bob.group("his", alice)
	secret := "taken back " + random(6)
	for _, chat := range []string{direct, owned, left} {
		for range 5 {
			alice.post(chat, text("%s", secret))
		}
	}
	kept := bob.post(direct, text("kept"))
	alice.must(http.StatusOK, http.MethodDelete, "/v1/chats/"+left+"/members/"+alice.id, nil, nil)
	away := map[string]uint64{direct: kept}
	s := alice.device(nil)
	if a := alice.proven(http.MethodDelete, "/v1/users/me", raw.Object{"password": canary + "-wrong"}); refusedWith(a, "invalid_credentials") != "" {
		t.Errorf("a wrong password: %s", refusedWith(a, "invalid_credentials"))
	}
	if a := alice.proven(http.MethodDelete, "/v1/users/me", raw.Object{"password": alice.password}); a.Status != http.StatusNoContent {
		t.Fatalf("got %d %.200s; want the account to be deleted", a.Status, a.Body)
	}
	closedAs(t, "alice's connection", s, raw.Patience, 3501)
	alice.tokensEnd()
	srv.Kill()
	srv = again(t, cfg, alice, bob)
	bob = bob.login()

	device := bob.device(away) // it was away the whole time
	erased := change(t, "bob", device, direct, "erased", alice.id)
	if erased.Seq <= kept {
		t.Errorf("got %s; want it behind what was there", erased.Raw)
	}
	texts := func() (n int) {
		for _, chat := range []string{direct, owned, left} {
			for _, f := range bob.history(chat) {
				if bytes.Contains(f.Raw, []byte(secret)) {
					n++
				}
			}
		}
		return n
	}
	eventually(t, 2*raw.Patience, "all of alice's texts are gone", func() bool { return texts() == 0 })
	stubs := 0
	for _, f := range bob.history(direct) {
		if f.Sender == alice.id && f.Text == "" && bytes.Contains(f.Raw, []byte(`"deleted"`)) {
			stubs++
		}
		if f.Seq == kept && f.Text == "" {
			t.Error("what bob wrote is gone")
		}
	}
	if stubs != 5 {
		t.Errorf("got %d stubs; want 5 in their places", stubs)
	}
	eventually(t, raw.Patience, "the group is handed over", func() bool { return bob.info(owned).role(bob.id) == "owner" })
	askRefused(t, device, "a message to nobody", "forbidden",
		raw.Object{"type": "send", "chat": direct, "client_id": newClientID(), "text": text("to nobody")})
	if got, want := bob.byID(alice), (profileOf{ID: alice.id, Username: alice.name, Deleted: true}); got != want {
		t.Errorf("got %+v; want %+v", got, want)
	}
	for _, name := range []string{alice.name, "nobody_" + random(6)} {
		a := bob.proven(http.MethodPost, "/v1/sessions", raw.Object{"username": name, "password": alice.password})
		if why := refusedWith(a, "invalid_credentials"); why != "" {
			t.Errorf("%s: %s", name, why)
		}
	}
	if a := bob.proven(http.MethodPost, "/v1/users", raw.Object{"username": alice.name, "password": alice.password}); refusedWith(a, "username_taken") != "" {
		t.Errorf("her name: %s", refusedWith(a, "username_taken"))
	}
}
