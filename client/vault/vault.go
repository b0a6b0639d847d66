// Package vault is the encrypted profile: a folder in which a program keeps
// records that nobody can read without the passphrase, and in which a record
// that is deleted, has disappeared or was replaced can be read by nobody at all.
//
// Create makes a profile and Open opens one; all else happens inside Update and
// View. Each takes the profile's lock, so that several processes may use one
// profile, and reads everything again: nothing that a program kept from an
// earlier call is worth more than what Get says inside this one.
//
//	v, err := vault.Open(dir, passphrase)
//	err = v.Update(time.Now(), func(tx *vault.Tx) error {
//		state, err := tx.Get("sessions", id)
//		…
//		return tx.PutRotating("sessions", id, next)
//	})
//
// The format is docs/vault-format.md. A version 1 profile stays readable by
// every later release; an older release says ErrNewer.
package vault

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"kin/internal/disk"
	"kin/internal/slots"
)

var (
	// ErrPassphrase is returned by Open for a wrong passphrase, and by OpenKey for
	// a key that is not this profile's.
	ErrPassphrase = errors.New("wrong passphrase")
	// ErrNotFound is returned where there is no profile.
	ErrNotFound = errors.New("no profile here")
	// ErrExists is returned by Create where there is one.
	ErrExists = errors.New("there is a profile already")
	// ErrNewer is returned for a profile that a later version made.
	ErrNewer = errors.New("profile was made by a newer version")
	// ErrDamaged is returned for a profile whose files were cut or altered.
	// Nothing was changed.
	ErrDamaged = errors.New("profile is damaged")
	// ErrWiped is returned for a profile that was wiped, under whoever had it open.
	ErrWiped = errors.New("profile is wiped")
	// ErrFull is returned when no slot is left for another key.
	ErrFull = errors.New("profile is full")

	errClosed = errors.New("profile is closed")
)

// The files of a profile. newName is recordsName until it is whole.
const (
	slotsName   = "keys"
	recordsName = "records"
	newName     = "records.new"
	lockName    = "lock"
)

// slotCount is the length of the slot file, in slots.
const slotCount = 1024

// Bounds of Create's keep.
const (
	MinKeep = 24 * time.Hour
	MaxKeep = 366 * 24 * time.Hour
)

// Vault is an open profile. Its methods may be called by several goroutines.
type Vault struct {
	dir  string
	ring ring

	// hook is called by tests between the steps of a commit.
	hook func(step)

	mu      sync.Mutex // held with the lock file
	seen    uint64     // the highest generation read, 0 before the first
	unclean bool       // slots may hold keys that no commit names, and what is read may not be durable
	doomed  []int      // slots that look blank and may not be so on the disk: their sync failed
}

// step is a moment at which a test crashes a commit.
type step string

const (
	stepKeys      step = "new keys are in their slots"
	stepCommitted step = "the commit names them"
	stepDestroyed step = "the old keys are destroyed"
)

func (v *Vault) at(s step) {
	if v.hook != nil {
		v.hook(s)
	}
}

// Exists tells whether there is a profile in dir, whole or not.
func Exists(dir string) bool {
	_, err := os.Lstat(filepath.Join(dir, recordsName))
	return err == nil
}

// Open opens the profile in dir. Every byte that the profile's keys and records
// depend on is checked first; then slots that no commit names, left by a crash,
// are destroyed. Errors: ErrNotFound, ErrPassphrase, ErrNewer, ErrDamaged,
// ErrWiped.
func Open(dir string, passphrase []byte) (*Vault, error) {
	wrapped, err := readWrapped(dir)
	if err != nil {
		return nil, err
	}
	// Without the lock: this takes long, and the master key never changes.
	master, err := unwrapMaster(wrapped, passphrase)
	if err != nil {
		return nil, err
	}
	defer clear(master)
	v, err := OpenKey(dir, master)
	if errors.Is(err, ErrPassphrase) {
		err = ErrDamaged
	}
	return v, err
}

// OpenKey opens the profile with the master key, 32 bytes, that Key returned to
// another process.
func OpenKey(dir string, key []byte) (*Vault, error) {
	if len(key) != keySize {
		return nil, ErrPassphrase
	}
	v := &Vault{dir: dir, ring: newRing(bytes.Clone(key)), unclean: true}
	if err := v.verify(); err != nil {
		v.Close()
		return nil, err
	}
	return v, nil
}

// readWrapped reads the slot with the wrapped master key.
func readWrapped(dir string) (payload []byte, err error) {
	err = locked(dir, func(s *slots.File) error {
		var h head
		err := scan(filepath.Join(dir, recordsName), func(key, value []byte) (err error) {
			if bytes.Equal(key, headKey) {
				h, err = parseHead(value)
			}
			return err
		})
		if err != nil {
			return err
		}
		payload, err = s.Get(h.slot)
		if err == nil && payload == nil {
			err = damaged("the passphrase's slot is empty")
		}
		return err
	})
	return payload, err
}

// missing is the error for a folder without a profile.
func missing(dir string) error {
	s, err := openSlots(dir)
	if err == nil {
		s.Close()
	} else if errors.Is(err, ErrWiped) {
		return err
	}
	return ErrNotFound
}

// Key returns a copy of the master key, 32 bytes, for a process that keeps the
// profile unlocked. It opens the profile whatever the passphrase becomes. After
// Close it is nil.
func (v *Vault) Key() []byte {
	v.mu.Lock()
	defer v.mu.Unlock()
	return bytes.Clone(v.ring.master)
}

// Close overwrites the keys in RAM. What is called after it fails.
func (v *Vault) Close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.ring.clear()
}

func (v *Vault) path(name string) string { return filepath.Join(v.dir, name) }

// openSlots opens the slot file, with the errors of this package.
func openSlots(dir string) (*slots.File, error) {
	s, err := slots.Open(disk.OS{}, filepath.Join(dir, slotsName))
	switch {
	case err == nil && s.Len() != slotCount:
		s.Close()
		return nil, damaged("slot file of %d slots", s.Len())
	case errors.Is(err, fs.ErrNotExist):
		return nil, damaged("no slot file")
	case errors.Is(err, slots.ErrDamaged):
		return nil, damaged("%v", err)
	case errors.Is(err, slots.ErrWiped):
		return nil, ErrWiped
	case errors.Is(err, slots.ErrNewer):
		return nil, ErrNewer
	}
	return s, err
}

func damaged(format string, a ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, a...))
}
