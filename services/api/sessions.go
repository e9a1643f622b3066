package api

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/chatmesh/chatmesh/pkg/auth"
	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// revoked are the sessions that ended while access tokens of theirs may be valid. An entry is forgotten when they cannot be
// any more, so that the set is as large as what ends within the life of a token.
type revoked struct {
	keep time.Duration

	mu    sync.RWMutex // guards until
	until map[string]time.Time
}

// slack covers clocks that differ.
const slack = time.Minute

func newRevoked(tokenTTL time.Duration) *revoked {
	return &revoked{keep: tokenTTL + slack, until: make(map[string]time.Time)}
}

func (r *revoked) add(session string, ended time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if until := ended.Add(r.keep); until.After(r.until[session]) {
		r.until[session] = until
	}
}

func (r *revoked) has(session string) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	_, ended := r.until[session]
	return ended
}

func (r *revoked) prune(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.until, func(_ string, until time.Time) bool { return now.After(until) })
}

func (r *revoked) pruneUntil(ctx context.Context) {
	for bus.Sleep(ctx, time.Minute) == nil {
		r.prune(time.Now())
	}
}

// ending is what the bucket of ended sessions holds; its key is the session.
type ending struct {
	User chat.UserID `json:"user"`
	At   chat.Time   `json:"at"`
}

// revoke makes the access tokens of a session worthless, here at once and everywhere when the word has spread. It is durable
// when it returns.
func (s *Server) revoke(ctx context.Context, user chat.UserID, session string) error {
	now := chat.Now()
	if err := s.bus.Keep(ctx, subject.Revoked, session, wire.Encode(ending{User: user, At: now})); err != nil {
		return err
	}
	s.revoked.add(session, now.Time)
	return nil
}

// followRevoked learns which sessions end on other nodes. What was known stays known when the watch begins anew: there
// must be no moment in which an ended session is let in.
func (s *Server) followRevoked(ctx context.Context) {
	s.bus.Watch(ctx, subject.Revoked, nil, func() { s.knowsRevoked.Store(true) }, func(k bus.KeyChange) {
		if k.Value != nil {
			s.revoked.add(k.Key, k.At)
		}
	})
}

// keyLook is how often it is made sure that the key is still published: a bucket can be lost.
const keyLook = time.Minute

// keyLife is how long the public key of a node stays published that is gone: longer than its last token is good. keyBeat is how
// often a node that lives publishes it anew.
func keyLife(tokens time.Duration) time.Duration { return tokens + slack + 2*keyBeat(tokens) }

func keyBeat(tokens time.Duration) time.Duration {
	return min(max(tokens/4, time.Second), 10*time.Minute)
}

// publishKey puts the public key of the signer where whoever checks tokens looks for it.
func (s *Server) publishKey(ctx context.Context) {
	kid, value := s.signer.KeyID(), auth.EncodePublicKey(s.signer.PublicKey())
	life, beat := keyLife(s.signer.TTL()), keyBeat(s.signer.TTL())
	failed, put := false, time.Time{}
	for n := 0; ctx.Err() == nil; {
		have, err := s.bus.Key(ctx, subject.Keys, kid)
		if err != nil || !bytes.Equal(have, value) || time.Since(put) >= beat {
			if err = s.bus.PutFor(ctx, subject.Keys, kid, value, life); err == nil {
				put = time.Now()
			}
		}
		wait := min(keyLook, beat)
		if err != nil {
			if !failed {
				s.logger.Warn("key of access tokens not published", "error", err)
			}
			wait, n, failed = bus.Backoff(n), n+1, true
		} else {
			if failed {
				s.logger.Info("key of access tokens published")
			}
			n, failed = 0, false
			s.published.Store(true)
		}
		_ = bus.Sleep(ctx, wait)
	}
}

// askKey asks the broker for a key that has not come yet.
func (s *Server) askKey(ctx context.Context, kid string) (ed25519.PublicKey, error) {
	text, err := s.bus.Key(ctx, subject.Keys, kid)
	if errors.Is(err, bus.ErrNotFound) {
		return nil, nil
	}
	key, _ := auth.DecodePublicKey(kid, text)
	return key, err
}

// followKeys keeps the verifier supplied with the keys of all nodes, its own among them whatever the bucket says.
func (s *Server) followKeys(ctx context.Context) {
	own := map[string]ed25519.PublicKey{s.signer.KeyID(): s.signer.PublicKey()}
	keys := maps.Clone(own)
	ready := false
	set := func() {
		if err := s.verifier.SetKeys(keys); err != nil {
			s.logger.Warn("a published key is none", "error", err)
		}
	}
	set()
	s.bus.Watch(ctx, subject.Keys,
		func() { keys, ready = maps.Clone(own), false },
		func() {
			ready = true
			set()
			s.knowsKeys.Store(true)
		},
		func(k bus.KeyChange) {
			key, ok := auth.DecodePublicKey(k.Key, k.Value)
			switch {
			case own[k.Key] != nil:
				return
			case k.Value == nil:
				delete(keys, k.Key)
			case !ok:
				s.logger.Warn("a published key is none", "kid", k.Key)
				return
			case key.Equal(keys[k.Key]):
				return // published again
			default:
				keys[k.Key] = key
			}
			if ready {
				set()
			}
		})
}
