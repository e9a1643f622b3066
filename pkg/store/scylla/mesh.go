package scylla

import (
	"context"
	"errors"

	"github.com/gocql/gocql"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// meshKey is the key of the one row of the table mesh.
const meshKey = "mesh"

// maxMeshID bounds the id of a mesh, in bytes.
const maxMeshID = 256

// MeshID returns the id of the mesh whose history is in the keyspace, empty where none was set.
func (s *Store) MeshID(ctx context.Context) (id string, err error) {
	err = s.do(ctx, "mesh id", func(c call) error {
		err := c.settled("SELECT id FROM mesh WHERE key = ?", nil).Bind(meshKey).GetRelease(&id)
		if errors.Is(err, gocql.ErrNotFound) {
			return nil
		}
		return err
	})
	return id, err
}

// SetMeshID makes the history that of a mesh if it is nobody's yet, and returns the id that it has then: of all who call it one
// wins. Where it fails, the id may be set or not: ask again.
func (s *Store) SetMeshID(ctx context.Context, id string) (kept string, err error) {
	err = s.do(ctx, "set mesh id", func(c call) error {
		if id == "" || len(id) > maxMeshID {
			return chat.Errorf(chat.BadRequest, "the id of a mesh has 1 to %d bytes", maxMeshID)
		}
		if _, err := c.ContextQuery(c.ctx, "INSERT INTO mesh (key, id) VALUES (?, ?) IF NOT EXISTS", nil).Bind(meshKey, id).ExecCASRelease(); err != nil {
			return err
		}
		return c.settled("SELECT id FROM mesh WHERE key = ?", nil).Bind(meshKey).GetRelease(&kept)
	})
	return kept, err
}
