package vault

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"go.etcd.io/bbolt"

	"kin/internal/disk"
	"kin/internal/slots"
)

// Create makes a profile in dir, which need not exist, and opens it. Messages
// are kept for keep, in whole days rounded up, MinKeep to MaxKeep. What first does, if it
// isn't nil, is in the profile from its beginning: a crash leaves no profile without it.
// Create makes nothing if it fails; where there is a profile it returns ErrExists, where
// there are somebody else's files of the same names, ErrForeign.
func Create(dir string, passphrase []byte, p Params, keep time.Duration, first func(*Tx) error) (v *Vault, err error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	if keep < MinKeep || keep > MaxKeep {
		return nil, fmt.Errorf("keep %v is not in %v to %v", keep, MinKeep, MaxKeep)
	}
	if err := foreign(dir); err != nil {
		return nil, err
	}
	undo, err := makeFolder(dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			undo()
		}
	}()
	unlock, err := lock(dir, true)
	if err != nil {
		return nil, err
	}
	if Exists(dir) && !errors.Is(missing(dir), ErrWiped) {
		unlock()
		return nil, ErrExists
	}
	v = &Vault{dir: dir, ring: newRing(newKey())}
	if err = v.create(passphrase, p, keep, first); err != nil {
		v.Close()
		removeFiles(dir, recordsName, newName, lockName, slotsName)
	}
	unlock()
	if err == nil {
		return v, nil
	}
	if runtime.GOOS == "windows" {
		remove(v.path(lockName)) // not while it is open; and if another has it open, it stays
	}
	return nil, err
}

// create writes the files of a new profile, recordsName last: with its name the
// profile exists.
func (v *Vault) create(passphrase []byte, p Params, keep time.Duration, first func(*Tx) error) error {
	// What an unfinished Create or Wipe left.
	if err := errors.Join(remove(v.path(recordsName)), remove(v.path(newName)), remove(v.path(slotsName))); err != nil {
		return err
	}
	s, err := slots.Create(disk.OS{}, v.path(slotsName), slotCount)
	if err != nil {
		return err
	}
	defer s.Close()
	const passphraseSlot, dataSlot = 0, 1
	r := root{keepDays: uint32((keep + MinKeep - 1) / MinKeep)}
	r.slots[passphraseSlot] = entry{use: usePassphrase}
	r.slots[dataSlot] = entry{use: useData}
	data := newKey()
	defer clear(data)
	if err := s.SetAll(map[int][]byte{
		passphraseSlot: wrapMaster(v.ring.master, passphrase, p),
		dataSlot:       v.ring.wrap(dataSlot, r.slots[dataSlot], data),
	}); err != nil {
		return err
	}
	db, err := openBolt(v.path(newName), false, os.O_CREATE)
	if err != nil {
		return err
	}
	err = v.begun(s, db, head{passphraseSlot}, &r, first)
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	for _, name := range []string{slotsName, newName, lockName} {
		if err := os.Chmod(v.path(name), 0o600); err != nil {
			return err
		}
	}
	if err := os.Rename(v.path(newName), v.path(recordsName)); err != nil {
		return err
	}
	return disk.OS{}.SyncDir(v.dir)
}

// begun makes the first commit.
func (v *Vault) begun(s *slots.File, db *bbolt.DB, h head, r *root, first func(*Tx) error) error {
	bolt, err := db.Begin(true)
	if err != nil {
		return err
	}
	defer bolt.Rollback() // an error after a commit, and nothing else
	b, err := bolt.CreateBucket(bucketName)
	if err != nil {
		return err
	}
	if err := errors.Join(b.Put(headKey, h.marshal()), b.Put(rootKey, v.ring.sealRoot(r))); err != nil {
		return err
	}
	tx, err := v.begin(s, bolt)
	if err != nil {
		return err
	}
	defer tx.end()
	if first != nil {
		if err := first(tx); err != nil {
			return err
		}
	}
	return tx.commit()
}

// makeFolder makes dir and its missing parents, and returns what takes them
// away again. A folder of its own, or an empty one, becomes 0700.
func makeFolder(dir string) (undo func(), err error) {
	var made []string
	undo = func() {
		for _, d := range made {
			os.Remove(d)
		}
	}
	var missing []string
	for d := filepath.Clean(dir); ; d = filepath.Dir(d) {
		if _, err := os.Stat(d); err == nil || d == filepath.Dir(d) {
			break
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		missing = append(missing, d)
	}
	for i := len(missing) - 1; i >= 0; i-- {
		if err := os.Mkdir(missing[i], 0o700); err != nil {
			undo()
			return nil, err
		}
		made = append([]string{missing[i]}, made...)
		if err := (disk.OS{}).SyncDir(filepath.Dir(missing[i])); err != nil {
			undo()
			return nil, err
		}
	}
	names, err := os.ReadDir(dir)
	if err == nil && len(names) == 0 {
		err = os.Chmod(dir, 0o700)
	}
	if err != nil {
		undo()
		return nil, err
	}
	return undo, nil
}
