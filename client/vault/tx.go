package vault

import (
	"bytes"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"

	"kin/internal/slots"
)

// MaxRecord is the most bytes that an id and a value have together.
const MaxRecord = 16 << 20

var errReadOnly = errors.New("View can only read")

// Tx is a profile inside Update or View; it ends with them. A record has a
// table and an id, any bytes; neither stands readable on the disk.
type Tx struct {
	v      *Vault
	slots  *slots.File
	bolt   *bbolt.Tx
	bucket *bbolt.Bucket

	old     root           // as it was committed
	root    root           // as this commit will leave it
	keys    map[int][]byte // keys of slots, as far as they were needed
	fresh   map[int][]byte // payloads that this commit writes into free slots
	changed bool
}

func (tx *Tx) end() {
	for _, k := range tx.keys {
		clear(k)
	}
}

// Put stores a record under the profile's data key. What it replaces can be
// read with the disk and the passphrase until the key is next rotated.
func (tx *Tx) Put(table string, id, value []byte) error {
	return tx.put(ref{use: useData}, table, id, value)
}

// PutUntil stores a record under the key of a retention day (Day), with which
// it disappears.
func (tx *Tx) PutUntil(table string, id, value []byte, day uint32) error {
	if !tx.bolt.Writable() {
		return errReadOnly
	}
	f := ref{useDay, day}
	if key, err := tx.keyOf(f); err != nil {
		return err
	} else if key == nil {
		if _, err := tx.dropDay(day); err != nil {
			return err
		}
		if _, err := tx.takeKey(entry{use: useDay, day: day}); err != nil {
			return err
		}
	}
	return tx.put(f, table, id, value)
}

// PutRotating stores a record under a key of its own, new with every call: once
// Update has returned, what it replaced can be read by nobody.
func (tx *Tx) PutRotating(table string, id, value []byte) error {
	if !tx.bolt.Writable() {
		return errReadOnly
	}
	i, err := tx.takeKey(entry{use: useRotating})
	if err != nil {
		return err
	}
	return tx.put(ref{useRotating, uint32(i)}, table, id, value)
}

func (tx *Tx) put(f ref, table string, id, value []byte) error {
	if !tx.bolt.Writable() {
		return errReadOnly
	}
	if len(id)+len(value) > MaxRecord {
		return fmt.Errorf("record of %d bytes; at most %d", len(id)+len(value), MaxRecord)
	}
	key, err := tx.keyOf(f)
	if err != nil {
		return err
	}
	name := tx.v.ring.name(table, id)
	if err := tx.release(name); err != nil {
		return err
	}
	return tx.store(name, tx.v.ring.sealRecord(key, name, f, id, value))
}

// Get returns a record's value, nil if there is none or it has disappeared.
func (tx *Tx) Get(table string, id []byte) ([]byte, error) {
	_, value, err := tx.get(tx.v.ring.name(table, id))
	return value, err
}

func (tx *Tx) get(name []byte) (id, value []byte, err error) {
	stored := tx.bucket.Get(name)
	if stored == nil {
		return nil, nil, nil
	}
	f, err := tx.v.ring.refOf(stored)
	if err != nil {
		return nil, nil, err
	}
	key, err := tx.keyOf(f)
	if err != nil || key == nil {
		return nil, nil, err
	}
	return tx.v.ring.openRecord(key, name, f, stored)
}

// Delete removes a record, if there is one. It can be read with the disk and the
// passphrase until its key is rotated; one that PutRotating stored, by nobody
// once Update has returned.
func (tx *Tx) Delete(table string, id []byte) error {
	return tx.delete(tx.v.ring.name(table, id))
}

func (tx *Tx) delete(name []byte) error {
	if !tx.bolt.Writable() {
		return errReadOnly
	}
	if tx.bucket.Get(name) == nil {
		return nil
	}
	if err := tx.release(name); err != nil {
		return err
	}
	return tx.bucket.Delete(name)
}

// Each calls f for every record of a table, in any order, with ids as they were
// given. f may change the table; records that it adds may or may not come.
func (tx *Tx) Each(table string, f func(id, value []byte) error) error {
	for _, name := range tx.names(tx.v.ring.prefix(table)) {
		id, value, err := tx.get(name)
		if err != nil {
			return err
		}
		if value == nil {
			continue
		}
		if err := f(id, value); err != nil {
			return err
		}
	}
	return nil
}

// names copies the names that begin with prefix.
func (tx *Tx) names(prefix []byte) [][]byte {
	var names [][]byte
	c := tx.bucket.Cursor()
	for k, _ := c.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, _ = c.Next() {
		if len(k) == nameSize {
			names = append(names, bytes.Clone(k))
		}
	}
	return names
}

// keyOf returns the key that a ref means. For a day that has disappeared it is
// nil; any other key that is not there was lost.
func (tx *Tx) keyOf(f ref) ([]byte, error) {
	i := tx.root.slotOf(f)
	if i < 0 {
		if f.use == useDay {
			return nil, nil
		}
		return nil, damaged("record of use %d refers to slot %d", f.use, f.number)
	}
	if k := tx.keys[i]; k != nil {
		return k, nil
	}
	payload, err := tx.slots.Get(i)
	if err != nil {
		return nil, err
	}
	if payload == nil {
		if f.use == useDay {
			return nil, nil
		}
		return nil, damaged("slot %d is empty", i)
	}
	k, err := tx.v.ring.unwrap(i, tx.root.slots[i], payload)
	if err != nil {
		return nil, err
	}
	tx.keys[i] = k
	return k, nil
}

// take finds a slot that neither the last commit nor this one uses.
func (tx *Tx) take() (int, error) {
	for i := range tx.root.slots {
		if tx.old.slots[i].use != useNone || tx.root.slots[i].use != useNone {
			continue
		}
		blank, err := tx.slots.Blank(i)
		if err == nil && !blank {
			err = tx.clean() // another process was killed before its commit
		}
		return i, err
	}
	return 0, ErrFull
}

// takeKey gives a new key to a slot.
func (tx *Tx) takeKey(e entry) (int, error) {
	i, err := tx.take()
	if err != nil {
		return 0, err
	}
	key := newKey()
	tx.root.slots[i] = e
	tx.keys[i] = key
	tx.fresh[i] = tx.v.ring.wrap(i, e, key)
	tx.changed = true
	return i, nil
}

// release notes that the record of this name, if there is one, is about to be
// replaced or deleted: its rotating slot is free, or another key is stale.
func (tx *Tx) release(name []byte) error {
	stored := tx.bucket.Get(name)
	if stored == nil {
		return nil
	}
	f, err := tx.v.ring.refOf(stored)
	if err != nil {
		return err
	}
	tx.root.count--
	tx.root.add(tx.v.ring.sumPart(name, stored))
	tx.changed = true
	i := tx.root.slotOf(f)
	switch {
	case i < 0:
	case f.use == useRotating:
		tx.root.slots[i] = entry{}
		delete(tx.fresh, i)
		delete(tx.keys, i)
	default:
		tx.root.slots[i].stale = true
	}
	return nil
}

// store adds a record under a name that release was called for.
func (tx *Tx) store(name, stored []byte) error {
	tx.root.count++
	tx.root.add(tx.v.ring.sumPart(name, stored))
	tx.changed = true
	return tx.bucket.Put(name, stored)
}
