package relay

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"go.etcd.io/bbolt"

	"kin/internal/disk"
	"kin/internal/slots"
)

// ErrFolder is returned by Open for a data folder in which envelopes wait that this relay
// would destroy.
var ErrFolder = errors.New("envelopes wait in this data folder that would be lost")

// makeFolder makes the data folder, if there is none. Its name is made durable, unless the
// folder around it can't be opened, or its file system syncs no folders: then others made it.
func makeFolder(fsys disk.FS, dir string) error {
	if err := fsys.MkdirAll(dir); err != nil {
		return err
	}
	err := fsys.SyncDir(filepath.Dir(filepath.Clean(dir)))
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EINVAL) {
		return nil
	}
	return err
}

// nothingWaits tells whether keys may be made anew: others would open nothing of a spool
// that is there.
func nothingWaits(fsys disk.FS, dir string) (bool, error) {
	segments, err := fsys.List(filepath.Join(dir, "spool"))
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	return len(segments) == 0, err
}

var errNoKeys = fmt.Errorf("%w: it is missing or has no keys; put it back, or use another folder", ErrFolder)

// hasContent refuses a relay.db that is missing or has lost all it held, before anything is
// written there.
func hasContent(name string) error {
	st, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && st.Size() == 0 {
		return fmt.Errorf("relay.db: %w", errNoKeys)
	}
	return err
}

// openSlots opens the file with the keys of epochs, or makes it if it may.
func openSlots(fsys disk.FS, name string, mayMake bool) (*slots.File, error) {
	f, err := slots.Open(fsys, name)
	if !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	if !mayMake {
		return nil, errNoSlots
	}
	return slots.Create(fsys, name, epochSlots)
}

var errNoSlots = fmt.Errorf("%w: the file epochs, with their keys, is missing or empty; put it back, or use another folder", ErrFolder)

// leavesNoKeys refuses keys in memory while there are some on the disk: what they are for
// would be dropped, and nobody would destroy them. mayMiss tells whether their file may be
// missing.
func leavesNoKeys(fsys disk.FS, name string, mayMiss bool) error {
	f, err := slots.Open(fsys, name)
	if errors.Is(err, fs.ErrNotExist) {
		if !mayMiss {
			return errNoSlots
		}
		return nil
	}
	if err != nil {
		return err
	}
	any, err := anyKey(f)
	if any {
		err = fmt.Errorf("%w: their keys are on the disk; use --keys disk until all have expired", ErrFolder)
	}
	return errors.Join(err, f.Close())
}

// keepEpoch notes the length of epochs, and whether their keys are on the disk. It refuses
// another length while there are keys: by it they would be destroyed early, or never.
func (s *store) keepEpoch(epoch time.Duration, f *slots.File, onDisk bool) error {
	next := s.keys
	next.Epoch, next.Slots = epoch, onDisk
	if next == s.keys {
		return nil
	}
	if was := s.keys.Epoch; was != epoch && was != 0 {
		any, err := anyKey(f)
		if err != nil {
			return err
		}
		if any {
			return fmt.Errorf("%w: their epochs have %v; use --epoch %v until all have expired", ErrFolder, was, was)
		}
	}
	s.keys = next
	return s.update(func(tx *bbolt.Tx) error { return s.putKeys(tx) })
}

func anyKey(f *slots.File) (bool, error) {
	for i := range f.Len() {
		key, err := f.Get(i)
		if some := key != nil; some || err != nil {
			clear(key)
			return some, err
		}
	}
	return false, nil
}
