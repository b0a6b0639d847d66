package disktest

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// Load is a disk that durably holds what a folder holds.
func Load(root string) (*FS, error) {
	d := New()
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if e.IsDir() {
			d.dirs[name] = true
			return nil
		}
		b, err := os.ReadFile(path)
		n := &node{data: b, durable: slices.Clone(b), dirty: map[int]*sector{}}
		d.names[name], d.synced[name] = n, n
		return err
	})
	return d, err
}

// Store writes what a program finds on the disk into a folder, over what is there.
func (d *FS) Store(root string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, dir := range slices.Sorted(maps.Keys(d.dirs)) {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o700); err != nil {
			return err
		}
	}
	for name, n := range d.names {
		if err := n.store(filepath.Join(root, name)); err != nil {
			return err
		}
	}
	return nil
}

// store leaves holes where there are zeros: that is faster.
func (n *node) store(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(int64(len(n.data))); err != nil {
		return err
	}
	var zeros [4096]byte
	for at := 0; at < len(n.data); at += len(zeros) {
		b := n.data[at:min(at+len(zeros), len(n.data))]
		if bytes.Equal(b, zeros[:len(b)]) {
			continue
		}
		if _, err := f.WriteAt(b, int64(at)); err != nil {
			return err
		}
	}
	return f.Close()
}

// Equal tells whether a program finds in the folder what it finds on the disk, the
// check that a trace missed nothing.
func (d *FS) Equal(root string) error {
	real, err := Load(root)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(d.names)) {
		if n := real.names[name]; n == nil {
			return fmt.Errorf("%s is not in the folder", name)
		} else if !bytes.Equal(n.data, d.names[name].data) {
			return fmt.Errorf("%s is another", name)
		}
	}
	for name := range real.names {
		if d.names[name] == nil {
			return fmt.Errorf("%s is not on the disk", name)
		}
	}
	return nil
}

// Replay does what a traced program did, and calls look while each operation is
// under way: of what changes something, any part may then be done, and a sync is not
// over. The disk must be as the folder was when the program began.
func (d *FS) Replay(ops []Op, look func(op Op) error) error {
	for i, op := range ops {
		if op.Kind == Make && d.has(op.Name) { // it is only opened
			continue
		}
		after := op.Kind != Sync && op.Kind != Mark
		if after {
			if err := d.do(op); err != nil {
				return fmt.Errorf("operation %d: %w", i, err)
			}
		}
		if err := look(op); err != nil {
			return fmt.Errorf("operation %d, %s %s%s: %w", i, op.Kind, op.Name, op.Text, err)
		}
		if !after {
			if err := d.do(op); err != nil {
				return fmt.Errorf("operation %d: %w", i, err)
			}
		}
	}
	return nil
}

func (d *FS) has(name string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.names[name] != nil
}

// do does an operation as the operating system did it.
func (d *FS) do(op Op) error {
	d.mu.Lock()
	n := d.names[op.Name]
	d.mu.Unlock()
	f := &file{d, n}
	if n == nil && (op.Kind == Write || op.Kind == Resize || op.Kind == Sync && op.Name != "." && !d.hasDir(op.Name)) {
		return fmt.Errorf("there is no %s", op.Name)
	}
	switch op.Kind {
	case Make:
		_, err := d.Create(op.Name)
		return err
	case Write:
		if op.Failed {
			return nil
		}
		_, err := f.WriteAt(op.Data, op.At)
		return err
	case Resize:
		if op.Failed {
			return nil
		}
		return f.Truncate(op.At)
	case Sync:
		if n == nil { // of a folder
			if op.Failed {
				return nil
			}
			return d.SyncDir(op.Name)
		}
		if op.Failed {
			d.mu.Lock()
			defer d.mu.Unlock()
			for _, s := range n.dirty {
				s.lost = true
			}
			return nil
		}
		return f.Sync()
	case Rename:
		d.mu.Lock()
		defer d.mu.Unlock()
		c := change{name: op.To, to: n, from: op.Name}
		c.in(d.names)
		d.change = append(d.change, c)
		return nil
	case Remove:
		return d.Remove(op.Name)
	case Folder:
		return d.MkdirAll(op.Name)
	}
	return nil
}
