package relay

import (
	"bytes"
	"errors"

	"go.etcd.io/bbolt"

	"kin/internal/disk"
)

// overwriteFree overwrites the pages of relay.db that hold nothing any more, and is durable
// on return: the blob of a used invite, or the record of a deleted queue, would stay there
// until something else takes its place. Where nothing was committed since it was called, or
// somebody reads what was there before, it leaves the disk alone.
func (s *store) overwriteFree() error {
	if !s.leftovers.Load() {
		return nil
	}
	tx, err := s.db.Begin(true)
	if err != nil {
		return err
	}
	id := tx.ID()
	if err := tx.Rollback(); err != nil { // which counts the free pages that are still read
		return err
	}
	if s.db.Stats().PendingPageN > 0 {
		return nil
	}
	if tx, err = s.db.Begin(true); err != nil { // nobody commits meanwhile
		return err
	}
	defer tx.Rollback()
	if tx.ID() != id {
		return nil
	}
	f, err := disk.OS{}.Open(s.db.Path())
	if err != nil {
		return err
	}
	defer f.Close()
	size := int64(s.db.Info().PageSize)
	if err := renewMetas(f, 2*size); err != nil {
		return err
	}
	b := make([]byte, freeRun*size)
	defer clear(b)
	for at := 2 * size; at < tx.Size(); at += int64(len(b)) {
		if err := overwriteRun(f, tx, b[:min(int64(len(b)), tx.Size()-at)], at, size); err != nil {
			return err
		}
	}
	if err := f.Sync(); err != nil {
		return err
	}
	s.leftovers.Store(false)
	return nil
}

// freeRun is how many pages are read at once: everybody waits meanwhile.
const freeRun = 64

// overwriteRun overwrites those pages that are free, of as many as b has room for, and that
// are not overwritten yet.
func overwriteRun(f disk.File, tx *bbolt.Tx, b []byte, at, size int64) error {
	var free []int64
	for i := int64(0); i < int64(len(b)); i += size {
		page, err := tx.Page(int((at + i) / size))
		if err != nil {
			return err
		}
		if page.Type == "free" {
			free = append(free, i)
		}
	}
	if len(free) == 0 {
		return nil
	}
	if _, err := f.ReadAt(b, at); err != nil {
		return err
	}
	for _, i := range free {
		page := b[i : i+size]
		if bytes.Count(page, []byte{0}) == len(page) {
			continue
		}
		clear(page)
		if _, err := f.WriteAt(page, at+i); err != nil {
			return err
		}
	}
	return nil
}

// renewMetas writes both metas of a bbolt file again as they are: after a sync that failed,
// the disk may have an older one, which leads to pages that are free by the newer.
func renewMetas(f disk.File, size int64) error {
	b := make([]byte, size)
	if _, err := f.ReadAt(b, 0); err != nil {
		return err
	}
	_, err := f.WriteAt(b, 0)
	return errors.Join(err, f.Sync())
}
