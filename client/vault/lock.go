package vault

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"kin/internal/slots"
)

// lock waits for the profile's exclusive lock, which dies with its process. The
// lock is on an open file, so it also keeps goroutines apart. If there is no
// profile, create decides between making the file and ErrNotFound.
func lock(dir string, create bool) (unlock func(), err error) {
	path := filepath.Join(dir, lockName)
	for {
		flags := os.O_RDWR
		if create || Exists(dir) { // a copied profile may lack the file
			flags |= os.O_CREATE
		}
		f, err := os.OpenFile(path, flags, 0o600)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, missing(dir)
		}
		if err != nil {
			return nil, err
		}
		if err := lockFile(f); err != nil {
			f.Close()
			return nil, err
		}
		// Whoever held it may have removed it: then it locks nothing.
		if held, err := f.Stat(); err == nil {
			if named, err := os.Stat(path); err == nil && os.SameFile(held, named) {
				return func() { f.Close() }, nil
			}
		}
		f.Close()
	}
}

// locked runs f with the profile's slot file, under the lock. Whatever became of
// f, a profile that was wiped meanwhile is ErrWiped.
func locked(dir string, f func(*slots.File) error) error {
	unlock, err := lock(dir, false)
	if err != nil {
		return err
	}
	defer unlock()
	if !Exists(dir) {
		return missing(dir)
	}
	s, err := openSlots(dir)
	if err != nil {
		return err
	}
	defer s.Close()
	err = f(s)
	if errors.Is(s.Wiped(), slots.ErrWiped) {
		return ErrWiped
	}
	return err
}
