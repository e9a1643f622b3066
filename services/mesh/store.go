package mesh

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chatmesh/chatmesh/pkg/auth"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/store/pebble"
)

// keeper is a store of any kind, with its figures.
type keeper interface {
	store.Store
	Collectors() []prometheus.Collector
}

// needsStore tells whether this process reads or writes the store: nobody else opens it.
func (m *Mesh) needsStore() bool { return m.has(API) || m.has(Persister) }

// embedsStore tells whether the store of the mesh is a folder, which one process holds.
func (m *Mesh) embedsStore() bool { return len(m.c.Scylla) == 0 }

// openStore opens what this process keeps: the data folder, if it embeds the broker or the store, and the store.
func (m *Mesh) openStore() (err error) {
	if len(m.c.NATSURL) == 0 || m.needsStore() && m.embedsStore() {
		if err := os.MkdirAll(m.c.Data, 0o700); err != nil {
			return fmt.Errorf("the data folder %s cannot be used: %w; --data sets another", m.c.Data, cause(err))
		}
	}
	if !m.needsStore() {
		return nil
	}
	var k keeper
	if m.embedsStore() {
		k, err = m.openFolder()
	} else {
		k, err = m.openScylla()
	}
	if err != nil {
		return err
	}
	m.store = &gate{Store: k, opened: make(chan struct{})}
	m.metrics.MustRegister(k.Collectors()...)
	m.health.Check("store", k.Ping)
	if !m.has(API) {
		return nil
	}
	key, err := m.authKey()
	if err != nil {
		return err
	}
	if m.signer, err = auth.NewSigner(key, m.c.AccessTokenTTL); err != nil {
		return fmt.Errorf("access tokens: %w", err)
	}
	return nil
}

// openFolder opens the store in the data folder, whose lock keeps other processes out.
func (m *Mesh) openFolder() (keeper, error) {
	s, err := pebble.Open(filepath.Join(m.c.Data, "store"), pebble.Options{Log: m.log.With("service", "store")})
	switch {
	case errors.Is(err, pebble.ErrHeld):
		return nil, fmt.Errorf("the data folder %s is held by another process; end that one or set another with --data", m.c.Data)
	case err != nil:
		return nil, fmt.Errorf("the data folder %s cannot be used: %w; --data sets another", m.c.Data, cause(err))
	}
	return s, nil
}

// authKey is the key that this process signs access tokens with.
func (m *Mesh) authKey() (ed25519.PrivateKey, error) {
	switch {
	case m.c.AuthKey != "":
		key, err := auth.LoadOrCreateKey(m.c.AuthKey)
		if err != nil {
			return nil, fmt.Errorf("the key of access tokens: %w; see --auth-key", err)
		}
		return key, nil
	case m.embedsStore():
		key, err := auth.LoadOrCreateKey(filepath.Join(m.c.Data, "auth.key"))
		if err != nil {
			return nil, fmt.Errorf("the key of access tokens: %w; it lies under --data", err)
		}
		return key, nil
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("the key of access tokens: %w", err)
	}
	return key, nil
}

// gate lets nobody at the store before it is known that it is the one of this broker's mesh.
type gate struct {
	store.Store
	opened chan struct{} // closed when it is known
}

// errClosedGate says that calls cannot go to the store yet.
var errClosedGate = errors.New("it is not known yet whether the store belongs to this broker")

func (g *gate) err() error {
	select {
	case <-g.opened:
		return nil
	default:
		return errClosedGate
	}
}

// after runs f once the gate is open.
func (g *gate) after(f func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return nil
		case <-g.opened:
			return f(ctx)
		}
	}
}
