//go:build linux

package sim

import (
	"errors"
	"sync"
	"syscall"

	"kin/internal/disk"
	"kin/internal/disk/disktest"
)

// hardDisk is the disk of one life of the relay.
type hardDisk struct {
	*disktest.FS
	stopped func() // called once, when the chosen operation stops everything

	mu   sync.Mutex // guards what follows
	dead bool
	full bool
}

// stop ends the life of whoever uses the disk, between two operations.
func (d *hardDisk) stop() {
	d.mu.Lock()
	was := d.dead
	d.dead = true
	d.mu.Unlock()
	if !was {
		d.stopped()
	}
}

// do runs one operation. grows: it needs room.
func (d *hardDisk) do(grows bool, op func() error) error {
	d.mu.Lock()
	dead, full := d.dead, d.full
	d.mu.Unlock()
	switch {
	case dead:
		return disktest.ErrStopped
	case full && grows:
		return syscall.ENOSPC
	}
	err := op()
	if errors.Is(err, disktest.ErrStopped) {
		d.stop()
	}
	return err
}

func (d *hardDisk) fill(full bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.full = full
}

func (d *hardDisk) Create(name string) (f disk.File, err error) {
	err = d.do(true, func() (err error) { f, err = d.FS.Create(name); return err })
	return &hardFile{f, d}, err
}

func (d *hardDisk) Open(name string) (f disk.File, err error) {
	err = d.do(false, func() (err error) { f, err = d.FS.Open(name); return err })
	return &hardFile{f, d}, err
}

func (d *hardDisk) Remove(name string) error {
	return d.do(false, func() error { return d.FS.Remove(name) })
}

func (d *hardDisk) List(dir string) (names []string, err error) {
	err = d.do(false, func() (err error) { names, err = d.FS.List(dir); return err })
	return names, err
}

func (d *hardDisk) MkdirAll(dir string) error {
	return d.do(false, func() error { return d.FS.MkdirAll(dir) })
}

func (d *hardDisk) SyncDir(dir string) error {
	return d.do(false, func() error { return d.FS.SyncDir(dir) })
}

type hardFile struct {
	disk.File
	d *hardDisk
}

func (f *hardFile) ReadAt(b []byte, at int64) (n int, err error) {
	err = f.d.do(false, func() (err error) { n, err = f.File.ReadAt(b, at); return err })
	return n, err
}

func (f *hardFile) WriteAt(b []byte, at int64) (n int, err error) {
	size, err := f.File.Size()
	grows := err == nil && at+int64(len(b)) > size
	err = f.d.do(grows, func() (err error) { n, err = f.File.WriteAt(b, at); return err })
	return n, err
}

func (f *hardFile) Truncate(size int64) error {
	return f.d.do(true, func() error { return f.File.Truncate(size) })
}

func (f *hardFile) Sync() error { return f.d.do(false, f.File.Sync) }

func (f *hardFile) Size() (n int64, err error) {
	err = f.d.do(false, func() (err error) { n, err = f.File.Size(); return err })
	return n, err
}
