package spool

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"kin/internal/slots"
)

// epochs are the keys of the epochs that something expires in. A key is in its
// slot, durably, before anything is sealed under it.
type epochs struct {
	slots *slots.File
	keys  map[uint32]*epochKey
	used  map[int]bool
	torn  []int  // of these, slots of which it is not known what they hold
	over  uint32 // the keys of the epochs before could not be destroyed: the disk may lack them
}

var errOver = errors.New("the epoch's key is being destroyed")

type epochKey struct {
	slot int
	key  [32]byte
}

func loadEpochs(f *slots.File) (*epochs, error) {
	e := &epochs{slots: f, keys: map[uint32]*epochKey{}, used: map[int]bool{}}
	if err := f.Renew(); err != nil {
		return nil, err
	}
	for i := range f.Len() {
		p, err := f.Get(i)
		if err != nil {
			return nil, err
		}
		if p == nil {
			blank, err := f.Blank(i)
			if err == nil && !blank { // torn: nothing was sealed under it
				err = f.Destroy(i)
			}
			if err != nil {
				return nil, err
			}
			continue
		}
		if len(p) != 4+32 {
			return nil, fmt.Errorf("epoch slot %d holds %d bytes", i, len(p))
		}
		e.keys[binary.BigEndian.Uint32(p)] = &epochKey{i, [32]byte(p[4:])}
		e.used[i] = true
		clear(p)
	}
	return e, nil
}

// take returns the key of an epoch, making it first if there is none.
func (e *epochs) take(n uint32) (*epochKey, error) {
	if n < e.over {
		return nil, errOver
	}
	if k := e.keys[n]; k != nil {
		return k, nil
	}
	if err := e.mend(); err != nil { // a start must not find two keys of an epoch
		return nil, err
	}
	for i := range e.slots.Len() {
		if e.used[i] {
			continue
		}
		k := &epochKey{slot: i}
		rand.Read(k.key[:])
		p := append(binary.BigEndian.AppendUint32(nil, n), k.key[:]...)
		err := e.slots.Set(i, p)
		clear(p)
		if err != nil {
			e.used[i], e.torn = true, append(e.torn, i)
			return nil, errors.Join(err, e.mend())
		}
		e.keys[n], e.used[i] = k, true
		return k, nil
	}
	return nil, ErrFull
}

// mend destroys what is in torn slots.
func (e *epochs) mend() error {
	if len(e.torn) == 0 {
		return nil
	}
	if err := e.slots.Destroy(e.torn...); err != nil {
		return err
	}
	for _, i := range e.torn {
		delete(e.used, i)
	}
	e.torn = nil
	return nil
}

// destroy destroys the keys of the epochs before n, at a cost that does not depend
// on what was sealed under them.
func (e *epochs) destroy(n uint32) (gone bool, err error) {
	var at []int
	for epoch, k := range e.keys {
		if epoch < n {
			at = append(at, k.slot)
		}
	}
	if len(at) == 0 {
		return false, nil
	}
	slices.Sort(at)
	if err := e.slots.Destroy(at...); err != nil {
		e.over = n
		return false, err // tried again at the next sweep
	}
	e.over = 0
	for epoch, k := range e.keys {
		if epoch < n {
			clear(k.key[:])
			delete(e.keys, epoch)
			delete(e.used, k.slot)
		}
	}
	return true, nil
}

// forget overwrites the keys in RAM.
func (e *epochs) forget() {
	for _, k := range e.keys {
		clear(k.key[:])
	}
}
