// Package disktest is a disk in memory that stops at any operation. It stands where
// disk.OS does. A power loss forgets whatever was not synced: of every sector that
// was written since the last sync it keeps any version, old or new, each for itself;
// of a file's size, any that it had; of names made or removed since the folder's
// last sync, any. A kill forgets nothing, but makes nothing durable either.
//
// StopAt, FailAt and FailReadAt choose an operation by its number, so that a test can crash
// at each in turn; AfterKill and AfterPowerLoss are what a program then finds.
//
// A program that knows no disk.FS is crashed too: Trace records what it does to a
// folder of the operating system, and Replay does the same to a disk in memory.
package disktest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"kin/internal/disk"
)

// ErrStopped is what every operation answers from the chosen one on.
var ErrStopped = errors.New("disktest: stopped")

const sectorSize = 512

// FS is the disk. It may be used by several goroutines.
type FS struct {
	mu     sync.Mutex
	names  map[string]*node // as a program sees them
	synced map[string]*node // as they are after a crash, but for changed
	change []change
	dirs   map[string]bool // whether the folder's own name is synced

	ops    int
	stopAt int
	failAt int
	fails  int // from there on
	fault  error
	dead   bool

	reads      int
	failReadAt int
	readFault  error
}

// change is a name that was made (to a node) or removed (nil) and not synced.
type change struct {
	name string
	to   *node
	from string // the name that it had before a rename
}

// in makes the change.
func (c change) in(names map[string]*node) {
	delete(names, c.from)
	if c.to == nil {
		delete(names, c.name)
	} else {
		names[c.name] = c.to
	}
}

// New is an empty disk.
func New() *FS {
	return &FS{names: map[string]*node{}, synced: map[string]*node{}, dirs: map[string]bool{}}
}

// Ops is how many operations that change something there have been.
func (d *FS) Ops() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ops
}

// Stopped tells whether the disk has stopped: the program that used it is dead.
func (d *FS) Stopped() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.dead
}

// StopAt stops the disk at operation n, counted from 1 for its first: that one may
// happen in part, and answers ErrStopped, as all after it do.
func (d *FS) StopAt(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopAt = n
}

// FailAt lets operation n alone fail with err, FailFrom it and those behind it, times in all. A failed write may have been done
// in part; after a failed sync nobody knows what is on the disk, and a later sync
// doesn't change that.
func (d *FS) FailAt(n int, err error) { d.FailFrom(n, 1, err) }

// FailFrom is told of at FailAt.
func (d *FS) FailFrom(n, times int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failAt, d.fails, d.fault = n, times, err
}

// Reads is how many reads there have been.
func (d *FS) Reads() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.reads
}

// FailReadAt lets read n alone fail with err, counted from 1 for the first.
func (d *FS) FailReadAt(n int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failReadAt, d.readFault = n, err
}

// step counts an operation and tells what becomes of it.
func (d *FS) step() error {
	if d.dead {
		return ErrStopped
	}
	d.ops++
	if d.ops == d.stopAt {
		d.dead = true
		return ErrStopped
	}
	if d.failAt > 0 && d.ops >= d.failAt && d.ops < d.failAt+d.fails {
		return d.fault
	}
	return nil
}

// AfterKill is the disk that a program finds which starts after another one died.
func (d *FS) AfterKill() *FS {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dead, d.stopAt, d.failAt, d.failReadAt = false, 0, 0, 0
	return d
}

// AfterPowerLoss is one disk that may be found after a crash at this moment; r
// chooses which.
func (d *FS) AfterPowerLoss(r *rand.Rand) *FS {
	d.mu.Lock()
	defer d.mu.Unlock()
	after := New()
	for dir, synced := range d.dirs {
		if synced || r.IntN(2) == 0 {
			after.dirs[dir] = true
		}
	}
	names := maps.Clone(d.synced)
	for _, c := range d.change {
		if r.IntN(2) == 0 {
			c.in(names)
		}
	}
	// In order, so that the same r finds the same disk.
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if !after.hasDir(filepath.Dir(name)) {
			continue
		}
		b := names[name].afterPowerLoss(r)
		n := &node{data: b, durable: slices.Clone(b), dirty: map[int]*sector{}}
		after.names[name], after.synced[name] = n, n
	}
	return after
}

// hasDir tells whether a folder and those above it exist.
func (d *FS) hasDir(dir string) bool {
	for ; dir != "." && dir != "/"; dir = filepath.Dir(dir) {
		if _, ok := d.dirs[dir]; !ok {
			return false
		}
	}
	return true
}

// Create implements disk.FS.
func (d *FS) Create(name string) (disk.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.names[name] != nil {
		return nil, fmt.Errorf("create %s: %w", name, fs.ErrExist)
	}
	if !d.hasDir(filepath.Dir(name)) {
		return nil, fmt.Errorf("create %s: no folder: %w", name, fs.ErrNotExist)
	}
	err := d.step()
	if err != nil && !errors.Is(err, ErrStopped) {
		return nil, err
	}
	n := &node{dirty: map[int]*sector{}}
	d.names[name] = n
	d.change = append(d.change, change{name: name, to: n})
	if err != nil {
		return nil, err
	}
	return &file{d, n}, nil
}

// Open implements disk.FS.
func (d *FS) Open(name string) (disk.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dead {
		return nil, ErrStopped
	}
	n := d.names[name]
	if n == nil {
		return nil, fmt.Errorf("open %s: %w", name, fs.ErrNotExist)
	}
	return &file{d, n}, nil
}

// Remove implements disk.FS.
func (d *FS) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.names[name] == nil {
		return fmt.Errorf("remove %s: %w", name, fs.ErrNotExist)
	}
	err := d.step()
	if err != nil && !errors.Is(err, ErrStopped) {
		return err
	}
	delete(d.names, name)
	d.change = append(d.change, change{name: name})
	return err
}

// List implements disk.FS.
func (d *FS) List(dir string) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dead {
		return nil, ErrStopped
	}
	var names []string
	for name := range d.names {
		if filepath.Dir(name) == filepath.Clean(dir) {
			names = append(names, filepath.Base(name))
		}
	}
	slices.Sort(names)
	return names, nil
}

// MkdirAll implements disk.FS.
func (d *FS) MkdirAll(dir string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for dir = filepath.Clean(dir); dir != "." && dir != "/"; dir = filepath.Dir(dir) {
		if _, ok := d.dirs[dir]; ok {
			continue
		}
		if err := d.step(); err != nil {
			return err
		}
		d.dirs[dir] = false
	}
	return nil
}

// SyncDir implements disk.FS.
func (d *FS) SyncDir(dir string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.step(); err != nil {
		return err
	}
	dir = filepath.Clean(dir)
	for sub := range d.dirs {
		if filepath.Dir(sub) == dir {
			d.dirs[sub] = true
		}
	}
	d.change = slices.DeleteFunc(d.change, func(c change) bool {
		if filepath.Dir(c.name) != dir {
			return false
		}
		c.in(d.synced)
		return true
	})
	return nil
}

// Contains tells whether the durable or any other version of what the disk may
// hold has these bytes within one sector, in a file whose name ends so.
func (d *FS) Contains(suffix string, b []byte) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := map[*node]bool{}
	for _, names := range []map[string]*node{d.names, d.synced} {
		for name, n := range names {
			if strings.HasSuffix(name, suffix) {
				all[n] = true
			}
		}
	}
	for n := range all {
		if bytes.Contains(n.durable, b) {
			return true
		}
		for _, s := range n.dirty {
			for _, v := range s.versions {
				if bytes.Contains(v, b) {
					return true
				}
			}
		}
	}
	return false
}

// file is an open file.
type file struct {
	d *FS
	n *node
}

func (f *file) ReadAt(b []byte, at int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.d.dead {
		return 0, ErrStopped
	}
	if f.d.reads++; f.d.reads == f.d.failReadAt {
		return 0, f.d.readFault
	}
	if at >= int64(len(f.n.data)) {
		return 0, io.EOF
	}
	n := copy(b, f.n.data[at:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *file) WriteAt(b []byte, at int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.d.dead {
		return 0, ErrStopped
	}
	err := f.d.step()
	if err != nil && !errors.Is(err, ErrStopped) { // a part of it
		b = b[:len(b)/2]
	}
	f.n.write(b, int(at))
	return len(b), err
}

func (f *file) Truncate(size int64) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.d.step(); err != nil {
		return err
	}
	f.n.resize(int(size))
	return nil
}

func (f *file) Sync() error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	err := f.d.step()
	if err != nil {
		for _, s := range f.n.dirty {
			s.lost = s.lost || !errors.Is(err, ErrStopped)
		}
		return err
	}
	f.n.sync()
	return nil
}

func (f *file) Size() (int64, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.d.dead {
		return 0, ErrStopped
	}
	return int64(len(f.n.data)), nil
}

func (f *file) Close() error { return nil }
