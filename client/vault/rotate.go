package vault

import (
	"slices"
	"time"

	"kin/internal/slots"
)

// Day is the retention day that a time belongs to: days since 1970, UTC; 0 for
// what lies before.
func Day(t time.Time) uint32 {
	return uint32(max(t.Unix(), 0) / 86400)
}

// due tells whether something waits for a rotation, and for long enough. A clock
// that went back makes it due too.
func (r *root) due(now time.Time) bool {
	d := now.Sub(time.Unix(int64(r.rotated), 0))
	if d < rotateEvery && -d < rotateEvery {
		return false
	}
	for _, e := range r.slots {
		if e.stale {
			return true
		}
	}
	return false
}

// Rotate gives the profile a new data key, and each retention day one under
// which a record was replaced or deleted; reseals what is under them; and
// destroys the old keys. After it nobody can read what was replaced or deleted
// before. It is to be called hourly, when the profile is locked, and after
// Disappear. What PutRotating stored needs no more than it had: each state has a
// key of its own, which died with it.
func (v *Vault) Rotate(now time.Time) error {
	return v.locked(func(s *slots.File) error { return v.rotate(s, now) })
}

// rotate makes one commit a key, so that a profile with few free slots can
// rotate all of them. The last one notes the time: a rotation that was cut off is
// due again.
func (v *Vault) rotate(s *slots.File, now time.Time) error {
	var days []uint32
	err := v.commitTo(s, func(tx *Tx) error {
		for _, e := range tx.root.slots {
			if e.use == useDay && e.stale {
				days = append(days, e.day)
			}
		}
		return tx.clean()
	})
	for _, day := range days {
		if err != nil {
			return err
		}
		err = v.commitTo(s, func(tx *Tx) error { return tx.rekey(ref{useDay, day}) })
	}
	if err != nil {
		return err
	}
	return v.commitTo(s, func(tx *Tx) error {
		tx.root.rotated = uint64(max(now.Unix(), 0))
		return tx.rekey(ref{use: useData})
	})
}

// rekey moves all records under one key to a new one.
func (tx *Tx) rekey(f ref) error {
	oldKey, err := tx.keyOf(f)
	if err != nil {
		return err
	}
	if oldKey == nil {
		_, err := tx.dropDay(f.number)
		return err
	}
	old := tx.root.slotOf(f)
	e := tx.root.slots[old]
	e.stale = false
	tx.root.slots[old] = entry{}
	i, err := tx.takeKey(e)
	if err != nil {
		return err
	}
	ring := &tx.v.ring
	for _, name := range tx.names(nil) {
		stored := tx.bucket.Get(name)
		if g, err := ring.refOf(stored); err != nil {
			return err
		} else if g != f {
			continue
		}
		id, value, err := ring.openRecord(oldKey, name, f, stored)
		if err != nil {
			return err
		}
		if err := tx.release(name); err != nil {
			return err
		}
		if err := tx.store(name, ring.sealRecord(tx.keys[i], name, f, id, value)); err != nil {
			return err
		}
		clear(value)
	}
	tx.root.slots[i].stale = false // release marked it; nothing under it is old
	return nil
}

// Disappear destroys the keys of the retention days that are past keep, then
// deletes their records and rotates. A record of a day is kept until that day and
// keep are over. It returns how many records went; with
// an error, keys may be gone whose records are not.
func (v *Vault) Disappear(now time.Time) (n int, err error) {
	err = v.locked(func(s *slots.File) error {
		err := v.commitTo(s, func(tx *Tx) error {
			var days []uint32
			var dead []int
			for i, e := range tx.root.slots {
				if e.use == useDay && tx.Over(e.day, now) {
					days, dead = append(days, e.day), append(dead, i)
				}
			}
			if days == nil {
				return nil
			}
			// The keys die first: a full disk must not keep a message.
			if err := tx.slots.Destroy(dead...); err != nil {
				return err
			}
			v.at(stepDestroyed)
			for _, day := range days {
				gone, err := tx.dropDay(day)
				if err != nil {
					return err
				}
				n += gone
			}
			return nil
		})
		if err != nil || n == 0 {
			return err
		}
		return v.rotate(s, now)
	})
	return n, err
}

// Over tells whether a retention day is past keep: its records disappear, or have.
func (tx *Tx) Over(day uint32, now time.Time) bool {
	return uint64(day)+uint64(tx.root.keepDays) < uint64(Day(now))
}

// Past tells whether there is a day that is over.
func (tx *Tx) Past(now time.Time) bool {
	return slices.ContainsFunc(tx.root.slots[:], func(e entry) bool { return e.use == useDay && tx.Over(e.day, now) })
}

// dropDay deletes the records of a day and frees its slot.
func (tx *Tx) dropDay(day uint32) (n int, err error) {
	f := ref{useDay, day}
	i := tx.root.slotOf(f)
	if i < 0 {
		return 0, nil
	}
	for _, name := range tx.names(nil) {
		g, err := tx.v.ring.refOf(tx.bucket.Get(name))
		if err != nil {
			return n, err
		}
		if g != f {
			continue
		}
		if err := tx.delete(name); err != nil {
			return n, err
		}
		n++
	}
	tx.root.slots[i] = entry{}
	delete(tx.keys, i)
	delete(tx.fresh, i)
	tx.changed = true
	return n, nil
}
