package pebble

import (
	"errors"
	"fmt"
	"io/fs"

	lsm "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/redact"

	"github.com/chatmesh/chatmesh/pkg/store"
)

// Errors of this implementation, wrapped with the operation.
var (
	// ErrHeld says that another process, or another Store of this one, holds the data folder.
	ErrHeld = errors.New("another process holds the data folder")
	// ErrClosed says that the store was closed.
	ErrClosed = errors.New("store closed")
	// ErrFull says that the disk has less room left than Options.Reserve: nothing was written, and reads go on.
	ErrFull = errors.New("too little room left on the disk")
	// ErrFailed says that the disk refused a sync. What is on disk is then unknown until the folder is opened anew, so
	// every further call fails.
	ErrFailed = errors.New("the disk refused a sync; open the store anew")
	// ErrVersion says that the data folder was written by a program with another layout of keys.
	ErrVersion = errors.New("the data folder has another layout")
)

// errDamaged says that a row does not have the form that this package writes.
var errDamaged = errors.New("a row is damaged")

// fail wraps err with the operation. It returns nil for nil.
func fail(op string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("pebble: %s: %w", op, quiet(err))
}

// plain are the errors of this package whose text is known to be a constant.
var plain = []error{
	ErrHeld, ErrClosed, ErrFull, ErrFailed, ErrVersion, errDamaged,
}

// quiet hides what the engine may put into the text of an error: keys, and with them names and ids.
func quiet(err error) error {
	if store.Plain(err, plain) {
		return err
	}
	return redacted{err}
}

// redacted is an error of the engine or the system whose text shows what went wrong and where on disk, but of all else
// only the parts that the engine marks as safe.
type redacted struct{ error }

func (r redacted) Error() string {
	text := string(redact.Sprint(r.error).Redact())
	if e := (*fs.PathError)(nil); errors.As(r.error, &e) {
		text = e.Error()
	}
	if lsm.IsCorruptionError(r.error) {
		text = "damaged data on disk: " + text
	}
	return text
}

func (r redacted) Unwrap() error { return r.error }
