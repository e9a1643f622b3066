package mesh

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/config"
	"github.com/chatmesh/chatmesh/pkg/subject"
)

// streamsWait and bindingWait are the names under which /readyz shows what a start waits for.
const (
	streamsWait = "streams"
	bindingWait = "binding of store and broker"
)

// Layout is what the settings want of the broker.
func Layout(c *config.Settings) bus.Layout {
	return bus.Layout{Partitions: c.Partitions, Replicas: c.Replicas, Retention: c.LogRetention, PresenceTTL: presenceBackstop,
		TokenTTL: c.AccessTokenTTL}
}

// makesLayout tells whether this process makes the streams: the api's does, but not on a broker with accounts, where that is for
// operators (chatmesh nats init).
func (m *Mesh) makesLayout() bool { return m.has(API) && !m.asIs && m.c.NATSNKey == "" }

// layout makes the streams, or waits for them. It returns nil when they are there or ctx has ended.
func (m *Mesh) layout(ctx context.Context) error {
	l := Layout(m.c)
	l.MaxBytes = m.logBytes()
	for n := 0; ; n++ {
		var err error
		if m.makesLayout() {
			err = m.first.Ensure(ctx, l)
		} else if err = m.first.Expect(ctx, l); errors.Is(err, bus.ErrNotFound) {
			err = fmt.Errorf("they are missing: run chatmesh nats init, or the api on a broker without accounts: %w", err)
		}
		if err == nil && m.has(API) && !m.asIs && m.embedsStore() {
			err = m.bindFolder(ctx)
		}
		switch {
		case err == nil:
			if n > 0 {
				m.log.Info("the broker's streams are there")
			}
			m.health.Set(streamsWait, nil)
			if m.needsStore() && (m.embedsStore() || m.asIs) {
				close(m.store.opened)
			}
			return nil
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, bus.ErrLayout), errors.Is(err, errOtherStore), m.asIs && n > 5:
			return err
		}
		if denied := m.first.Denied(); denied != "" {
			err = fmt.Errorf("%w; the broker denies: %s", err, denied)
		}
		m.health.Set(streamsWait, err)
		if n == 10 {
			m.log.Warn("waits for the broker's streams", "error", err)
		}
		if bus.Sleep(ctx, bus.Backoff(n)) != nil {
			return nil
		}
	}
}

// logPart is the part of the embedded broker's disk limit (three quarters of what was free) that the logs may take: what is left is
// for cursors, buckets and the broker itself. A log that is full refuses; a disk that is full stops the broker.
const logPart = 0.8

// logBytes bounds the logs on an embedded broker; an external one is bounded by its operators.
func (m *Mesh) logBytes() int64 {
	if m.broker == nil {
		return 0
	}
	return int64(float64(m.broker.JetStreamConfig().MaxStore) * logPart)
}

// errOtherStore says that the history of this mesh is kept elsewhere, or that the store keeps that of another mesh.
var errOtherStore = errors.New("the broker and the store belong to different meshes")

// storeKey is where the broker keeps, in the bucket of leases, the id of the store that has its history.
const storeKey = subject.StoreLease

// bindFolder binds the broker to this process's store, so that no second one takes a part of the history. The id is that of the
// data folder.
func (m *Mesh) bindFolder(ctx context.Context) error {
	file := filepath.Join(m.c.Data, "store.id")
	id, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		id = []byte(rand.Text())
		err = writeDurable(file, id) // before anything is bound to it
	}
	if err != nil {
		return fmt.Errorf("%w: %w; see --data", errOtherStore, cause(err))
	}
	_, err = m.first.Create(ctx, subject.Leases, storeKey, id)
	if !errors.Is(err, bus.ErrHeld) {
		return err
	}
	bound, err := m.first.Key(ctx, subject.Leases, storeKey)
	if err == nil && string(bound) != string(id) {
		return fmt.Errorf("%w: the broker's history is in another data folder; --data and --nats-url do not go together", errOtherStore)
	}
	return err
}

// idStore is a store that many processes open, and that keeps the id of the mesh whose history it has.
type idStore interface {
	// MeshID returns the id, empty where there is none yet.
	MeshID(ctx context.Context) (string, error)
	// SetMeshID keeps id where there is none, and returns the one that there is then.
	SetMeshID(ctx context.Context, id string) (string, error)
}

// claimed stands before the id in the broker as long as it is not sure that the store has it too.
const claimed = "claimed "

// sureAfter is how often broker and store must be seen to be of different meshes, one after the other, before it is believed.
const sureAfter = 4

var (
	errNotBound = errors.New("waits for an api to bind the store to the broker")
	errRace     = errors.New("another api binds the store to the broker")
)

// bindShared finds out whether a store that many processes open is that of this broker, and opens the gate. A new store and a new
// broker are bound to each other by an api. It returns nil when that is done or ctx has ended.
func (m *Mesh) bindShared(ctx context.Context, s idStore) error {
	others := 0
	for n := 0; ; n++ {
		err := m.bindOnce(ctx, s)
		if errors.Is(err, errOtherStore) {
			// The two are not read at the same moment, and an api may bind them just now.
			if others++; others == sureAfter {
				return err
			}
			n = 3
		} else {
			others = 0
		}
		switch {
		case err == nil:
			m.health.Set(bindingWait, nil)
			close(m.store.opened)
			return nil
		case ctx.Err() != nil:
			return nil
		}
		m.health.Set(bindingWait, err)
		if bus.Sleep(ctx, bus.Backoff(n)) != nil {
			return nil
		}
	}
}

// bindOnce tries it once. The broker claims an id, the store takes it, the broker confirms: so a crash in between is told from a store
// or a broker that is somebody else's.
func (m *Mesh) bindOnce(ctx context.Context, s idStore) error {
	b := m.first
	value, err := b.Key(ctx, subject.Leases, storeKey)
	if err != nil && !errors.Is(err, bus.ErrNotFound) {
		return err
	}
	kept, err := s.MeshID(ctx)
	if err != nil {
		return err
	}
	id, isClaim := strings.CutPrefix(string(value), claimed)
	switch {
	case id == "" && kept != "":
		// Another api may have bound both between the two questions: the broker was first.
		if _, err := b.Key(ctx, subject.Leases, storeKey); !errors.Is(err, bus.ErrNotFound) {
			return cmp.Or(err, errRace)
		}
		return fmt.Errorf("%w: the keyspace has the history of another mesh; see --scylla-keyspace", errOtherStore)
	case id != "" && !isClaim && kept != id:
		return fmt.Errorf("%w: the broker's history is in another store; --scylla, --scylla-keyspace and --nats-url do not go together", errOtherStore)
	case id != "" && !isClaim:
		return nil
	case !m.has(API):
		return errNotBound
	case id == "":
		id = rand.Text()
		if _, err := b.Create(ctx, subject.Leases, storeKey, []byte(claimed+id)); err != nil {
			if errors.Is(err, bus.ErrHeld) {
				err = errRace
			}
			return err
		}
	}
	if kept, err = s.SetMeshID(ctx, id); err != nil {
		return err
	}
	if kept != id {
		return fmt.Errorf("%w: the keyspace has the history of another mesh; see --scylla-keyspace", errOtherStore)
	}
	m.log.Info("store and broker are bound to each other")
	return b.Keep(ctx, subject.Leases, storeKey, []byte(id))
}

// writeDurable writes a small file so that it is there whole after a power cut, or not at all.
func writeDurable(file string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone already where all went well
	if _, err = f.Write(data); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), file); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(file))
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	return dir.Sync()
}
