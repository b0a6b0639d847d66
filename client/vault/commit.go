package vault

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"kin/internal/slots"
)

// Steps is how many records that PutRotating stored a commit can replace, however full
// the profile is: new ones, and days, leave so many free slots.
const Steps = 8

// rotateEvery is how long replaced and deleted records can stay readable to
// somebody who has the disk and the passphrase.
const rotateEvery = time.Hour

// Update runs f under the profile's lock, then makes all that f did durable in
// one commit, or, if f returns an error, none of it. Every key that f replaced is
// destroyed before it returns, or, if the disk refuses that, before the next commit.
// f must not use v or another process that needs this profile.
//
// Once an hour by now, a commit is followed by what Rotate does. If that fails,
// the next commit tries again.
//
// If the disk fails in the commit itself, Update returns its error, and the next
// Update shows whether the commit was made.
func (v *Vault) Update(now time.Time, f func(*Tx) error) error {
	return v.locked(func(s *slots.File) error {
		var due bool
		err := v.commitTo(s, func(tx *Tx) error {
			err := f(tx)
			due = tx.root.due(now)
			return err
		})
		if err == nil && due {
			v.rotate(s, now)
		}
		return err
	})
}

// View runs f under the profile's lock; f can only read.
func (v *Vault) View(f func(*Tx) error) error {
	return v.locked(func(s *slots.File) (err error) {
		db, err := openBolt(v.path(recordsName), true, 0)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, db.Close()) }()
		return db.View(func(bolt *bbolt.Tx) error {
			tx, err := v.begin(s, bolt)
			if err != nil {
				return err
			}
			defer tx.end()
			return f(tx)
		})
	})
}

func (v *Vault) commit(f func(*Tx) error) error {
	return v.locked(func(s *slots.File) error { return v.commitTo(s, f) })
}

func (v *Vault) locked(f func(*slots.File) error) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.ring.master == nil {
		return errClosed
	}
	err := locked(v.dir, f)
	if errors.Is(err, ErrNotFound) && v.seen > 0 {
		return ErrWiped // for it was there
	}
	return err
}

func (v *Vault) commitTo(s *slots.File, f func(*Tx) error) (err error) {
	db, err := openBolt(v.path(recordsName), false, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	bolt, err := db.Begin(true)
	if err != nil {
		return err
	}
	defer bolt.Rollback() // an error after a commit, and nothing else
	tx, err := v.begin(s, bolt)
	if err != nil {
		return err
	}
	defer tx.end()
	if v.unclean {
		if err := tx.clean(); err != nil {
			return err
		}
		v.unclean = false
	}
	if err := f(tx); err != nil || !tx.changed {
		return err
	}
	return tx.commit()
}

// begin reads the root.
func (v *Vault) begin(s *slots.File, bolt *bbolt.Tx) (*Tx, error) {
	bucket := bolt.Bucket(bucketName)
	if bucket == nil {
		return nil, damaged("no bucket")
	}
	root, err := v.ring.openRoot(bucket.Get(rootKey))
	if errors.Is(err, errCommitment) {
		err = damaged("root is sealed under another key")
	}
	if err != nil {
		return nil, err
	}
	if root.generation < v.seen {
		return nil, damaged("generation %d after %d", root.generation, v.seen)
	}
	if root.generation > v.seen {
		v.unclean = true // another process has committed, and may have been killed while it did
	}
	v.seen = root.generation
	return &Tx{
		v: v, slots: s, bolt: bolt, bucket: bucket, old: *root, root: *root,
		keys: map[int][]byte{}, fresh: map[int][]byte{},
	}, nil
}

// commit takes the three steps: new keys, the commit that names them, the end of
// the old keys. A crash between any two leaves a profile that opens.
func (tx *Tx) commit() error {
	v := tx.v
	if n := tx.root.spare(); n < tx.old.spare() && n < Steps {
		return ErrFull
	}
	tx.root.generation++
	if err := tx.bucket.Put(rootKey, v.ring.sealRoot(&tx.root)); err != nil {
		return err
	}
	err := tx.slots.SetAll(tx.fresh)
	if err == nil {
		v.at(stepKeys)
		err = tx.slots.Wiped()
	}
	if err != nil {
		return errors.Join(err, tx.slots.Destroy(slices.Collect(maps.Keys(tx.fresh))...))
	}
	if err := tx.bolt.Commit(); err != nil {
		// On the disk it may have been made: no slot is touched until a root is
		// known to be durable.
		v.unclean = true
		return fmt.Errorf("commit: %w", err)
	}
	v.seen = tx.root.generation
	v.at(stepCommitted)
	var dead []int
	for i, e := range tx.old.slots {
		if e.use != useNone && tx.root.slots[i].use == useNone {
			dead = append(dead, i)
		}
	}
	if err := tx.slots.Destroy(dead...); err != nil {
		v.unclean, v.doomed = true, dead // the commit is made; the next one does this first, or fails
	}
	v.at(stepDestroyed)
	return nil
}

// clean destroys the slots that no commit names. A crash can leave a root that
// is read but not yet durable: it is made so first, for the root before it names
// slots that this one does not, and pages that this one takes for free.
func (tx *Tx) clean() error {
	if err := tx.settle(); err != nil {
		return err
	}
	blank, err := tx.slots.Blanks()
	if err != nil {
		return err
	}
	var dead []int
	for i, e := range tx.old.slots {
		if e.use == useNone && (!blank[i] || slices.Contains(tx.v.doomed, i)) {
			dead = append(dead, i)
		}
	}
	tx.v.doomed = dead
	if err := tx.slots.Destroy(dead...); err != nil {
		return err
	}
	tx.v.doomed = nil
	return nil
}

// settle makes durable what is read. The meta pages are written again as they are:
// after a sync that failed, the kernel takes for written what is not on the disk.
// What they point to was durable before they were written.
func (tx *Tx) settle() error {
	f, err := os.OpenFile(tx.v.path(recordsName), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	metas := make([]byte, 2*pageSize)
	if _, err := f.ReadAt(metas, 0); err != nil {
		return err
	}
	if _, err := f.WriteAt(metas, 0); err != nil {
		return err
	}
	return tx.bolt.DB().Sync()
}

// verify checks the whole profile and cleans it.
func (v *Vault) verify() error {
	return v.locked(func(s *slots.File) error {
		var sealed, plain []byte
		var found root // count and sum
		err := scan(v.path(recordsName), func(key, value []byte) error {
			switch {
			case string(key) == string(headKey):
				plain = append(plain, value...)
			case string(key) == string(rootKey):
				sealed = append(sealed, value...)
			default:
				found.count++
				found.add(v.ring.sumPart(key, value))
			}
			return nil
		})
		if err != nil {
			return err
		}
		head, err := parseHead(plain)
		if err != nil {
			return err
		}
		root, err := v.ring.openRoot(sealed)
		if errors.Is(err, errCommitment) {
			err = ErrPassphrase
		}
		if err != nil {
			return err
		}
		if root.count != found.count || root.sum != found.sum {
			return damaged("%d records where %d were committed, or others", found.count, root.count)
		}
		if root.slots[head.slot].use != usePassphrase {
			return damaged("head names slot %d", head.slot)
		}
		return v.commitTo(s, func(tx *Tx) error {
			_, err := tx.keyOf(ref{use: useData})
			return err
		})
	})
}

// openBolt opens the database; it never makes one unless flags has os.O_CREATE.
func openBolt(path string, readOnly bool, flags int) (*bbolt.DB, error) {
	return bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout:      time.Minute, // our own lock keeps everybody else away
		ReadOnly:     readOnly,
		PageSize:     pageSize,
		FreelistType: bbolt.FreelistMapType,
		OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
			f, err := os.OpenFile(name, flag&^os.O_CREATE|flags, mode)
			if err != nil || flags&os.O_CREATE != 0 {
				return f, err
			}
			// What is cut short would be formatted anew, or read past its end.
			if _, err := readMeta(f); err != nil {
				f.Close()
				return nil, err
			}
			return f, nil
		},
	})
}
