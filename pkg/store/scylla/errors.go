package scylla

import (
	"errors"
	"fmt"
	"net"

	"github.com/gocql/gocql"

	"github.com/chatmesh/chatmesh/pkg/store"
)

// Errors of this implementation, wrapped with the operation.
var (
	// ErrClosed says that the store was closed.
	ErrClosed = errors.New("store closed")
	// ErrUnreachable says that no host of the cluster answers.
	ErrUnreachable = errors.New("no CQL host answers")
	// ErrOlder says that the schema lacks migrations of this program: run chatmesh migrate.
	ErrOlder = errors.New("the schema is older than this program; run chatmesh migrate")
	// ErrNewer says that the schema has migrations that this program does not know. Schemas only grow, so calls go on.
	ErrNewer = errors.New("the schema is newer than this program")
	// ErrChanged says that a migration which was run has another content in this program.
	ErrChanged = errors.New("a migration that was run has changed since")
	// ErrLocked says that somebody else runs the migrations.
	ErrLocked = errors.New("somebody else runs the migrations")
)

// errDamaged says that a row does not have the form that this package writes.
var errDamaged = errors.New("a row is damaged")

// fail wraps err with the operation. It returns nil for nil.
func fail(op string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("scylla: %s: %w", op, quiet(err))
}

// plain are the errors of this package and of the driver whose text is known to be a constant, or to name versions, files and hosts only.
var plain = []error{
	ErrClosed, ErrUnreachable, ErrOlder, ErrNewer, ErrChanged, ErrLocked, errDamaged,
	gocql.ErrNoConnections, gocql.ErrTimeoutNoResponse, gocql.ErrConnectionClosed, gocql.ErrSessionClosed, gocql.ErrUnavailable,
}

// quiet hides what the server may put into the text of an error: a failed request can quote keys and values.
func quiet(err error) error {
	if store.Plain(err, plain) {
		return err
	}
	return redacted{err}
}

// redacted is an error of the driver, the server or the network that shows only its kind.
type redacted struct{ error }

// Error names the kind.
func (r redacted) Error() string {
	var answered gocql.RequestError
	var network net.Error
	switch {
	case errors.As(r.error, &answered):
		return fmt.Sprintf("the CQL server refused: code 0x%04x", answered.Code())
	case errors.As(r.error, &network) && network.Timeout():
		return "the CQL server did not answer in time"
	case errors.As(r.error, &network):
		return "the connection to the CQL server failed"
	}
	return fmt.Sprintf("the CQL driver failed: %T", r.error)
}

// Unwrap returns the cause.
func (r redacted) Unwrap() error { return r.error }
