package auth

import (
	"context"
	"crypto/ed25519"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// asked is somebody who knows some keys, and counts the questions.
type asked struct {
	mu   sync.Mutex // guards the following fields
	keys map[string]ed25519.PublicKey
	n    int
	err  error
}

func (a *asked) ask(_ context.Context, kid string) (ed25519.PublicKey, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.n++
	return a.keys[kid], a.err
}

func (a *asked) asks() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.n
}

func TestATokenOfAKeyThatHasNotComeYetIsAskedForAndTaken(t *testing.T) {
	_, v := pair(t)
	other, _ := pair(t)
	token := sign(t, other, "ann", "s1")
	a := &asked{keys: map[string]ed25519.PublicKey{other.KeyID(): other.PublicKey()}}
	for range 3 {
		if id, err := v.Identify(t.Context(), token, a.ask); err != nil || id.User != "ann" {
			t.Fatalf("got %+v, %v; want ann", id, err)
		}
	}
	if a.n != 1 {
		t.Errorf("asked %d times; want once", a.n)
	}
}

func TestAKeyIsFoundThatTheCopyWhichAnswersGetsAMomentLater(t *testing.T) {
	_, v := pair(t)
	other, _ := pair(t)
	n := 0
	id, err := v.Identify(t.Context(), sign(t, other, "ann", "s1"), func(context.Context, string) (ed25519.PublicKey, error) {
		if n++; n < 3 {
			return nil, nil
		}
		return other.PublicKey(), nil
	})
	if err != nil || id.User != "ann" {
		t.Errorf("got %+v, %v; want ann", id, err)
	}
}

func TestAKeyThatNobodyHasIsRefusedAndNotAskedForAgainForAWhile(t *testing.T) {
	_, v := pair(t)
	other, _ := pair(t)
	token, a := sign(t, other, "ann", "s1"), &asked{}
	for range 5 {
		if _, err := v.Identify(t.Context(), token, a.ask); !chat.Is(err, chat.Unauthorized) {
			t.Fatalf("got %v; want unauthorized", err)
		}
	}
	if a.n != len(askAfter) {
		t.Errorf("asked %d times; want %d, for the first token only", a.n, len(askAfter))
	}
	v.now = func() time.Time { return start().Add(missFor) }
	if _, err := v.Identify(t.Context(), token, a.ask); !chat.Is(err, chat.Unauthorized) || a.n != 2*len(askAfter) {
		t.Errorf("after a while: got %v, asked %d times; want it asked for again", err, a.n)
	}
}

func TestAKeyOfAnotherNameIsNotBelieved(t *testing.T) {
	known, v := pair(t)
	other, _ := pair(t)
	_, err := v.Identify(t.Context(), sign(t, other, "ann", "s1"), func(context.Context, string) (ed25519.PublicKey, error) {
		return known.PublicKey(), nil
	})
	if !chat.Is(err, chat.Unauthorized) {
		t.Errorf("got %v; want unauthorized", err)
	}
}

func TestWhereNobodyCanBeAskedATokenIsNotRefused(t *testing.T) {
	_, v := pair(t)
	other, _ := pair(t)
	a := &asked{err: errors.New("away")}
	if _, err := v.Identify(t.Context(), sign(t, other, "ann", "s1"), a.ask); !chat.Is(err, chat.Unavailable) {
		t.Errorf("got %v; want unavailable", err)
	}
}

func TestOnlyAWellFormedNameIsAskedFor(t *testing.T) {
	s, v := pair(t)
	a := &asked{}
	for _, kid := range []any{"", "a.>", "*", "AAAAAAAAAAAAA", "AAAAAAAAAAA=", 7, nil} {
		token := forge(t, s.key, map[string]any{"alg": "EdDSA", "typ": "JWT", "kid": kid}, map[string]any{"sub": "ann", "sid": "s1"})
		if _, err := v.Identify(t.Context(), token, a.ask); !chat.Is(err, chat.Unauthorized) {
			t.Errorf("kid %v: got %v; want unauthorized", kid, err)
		}
	}
	for _, token := range []string{"", "a.b.c", sign(t, s, "ann", "s1") + "x"} {
		if _, err := v.Identify(t.Context(), token, a.ask); !chat.Is(err, chat.Unauthorized) {
			t.Errorf("token %q: got %v; want unauthorized", token, err)
		}
	}
	if a.n != 0 {
		t.Errorf("asked %d times; want never", a.n)
	}
}

func TestManyUnknownKeysAtOnceAreNotAllAskedFor(t *testing.T) {
	_, v := pair(t)
	release, a := make(chan struct{}), &asked{}
	var wg sync.WaitGroup
	for range asksAtOnce {
		other, _ := pair(t)
		token := sign(t, other, "ann", "s1")
		wg.Go(func() {
			_, _ = v.Identify(t.Context(), token, func(ctx context.Context, kid string) (ed25519.PublicKey, error) {
				_, _ = a.ask(ctx, kid)
				<-release
				return nil, nil
			})
		})
	}
	for deadline := time.Now().Add(time.Minute); a.asks() < asksAtOnce; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not all ask")
		}
	}
	other, _ := pair(t)
	if _, err := v.Identify(t.Context(), sign(t, other, "ann", "s1"), a.ask); !chat.Is(err, chat.Unavailable) {
		t.Errorf("got %v; want unavailable", err)
	}
	close(release)
	wg.Wait()
}
