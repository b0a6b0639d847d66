// Package disk is the little that Kin's stores ask of a file system. It stands
// between them and the operating system so that a test can crash it at any
// operation: what was written but not synced may then be gone, torn, or there.
//
// A program calls OS; tests of the stores use disktest.
package disk

import (
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
)

// File is an open file. WriteAt beyond the end extends it.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Truncate sets the size in bytes; new bytes read as zeros.
	Truncate(size int64) error
	// Sync returns when everything written before is durable, the size included.
	Sync() error
	// Size is the current length in bytes.
	Size() (int64, error)
}

// FS names files by path. Every file it makes has mode 0600, every folder 0700,
// whatever the umask allows beyond that.
type FS interface {
	// Create makes a new file for reading and writing; it fails if there is one.
	// The name is durable only after SyncDir of its folder.
	Create(name string) (File, error)
	// Open opens an existing file for reading and writing.
	Open(name string) (File, error)
	// Remove unlinks a file. It is durable only after SyncDir.
	Remove(name string) error
	// List returns the base names of the files in a folder, in any order.
	List(dir string) ([]string, error)
	// MkdirAll makes a folder and its parents.
	MkdirAll(dir string) error
	// SyncDir makes the names in a folder durable.
	SyncDir(dir string) error
}

// OS is the operating system's file system.
type OS struct{}

// away counts the threads in operations of OS's files.
var away atomic.Int32

// Away tells whether a thread of this process reads, writes or syncs a file of OS's: when
// it comes back, the processor may be another's.
func Away() bool { return away.Load() > 0 }

type osFile struct{ *os.File }

func (f osFile) ReadAt(b []byte, at int64) (int, error) {
	away.Add(1)
	defer away.Add(-1)
	return f.File.ReadAt(b, at)
}

func (f osFile) WriteAt(b []byte, at int64) (int, error) {
	away.Add(1)
	defer away.Add(-1)
	return f.File.WriteAt(b, at)
}

func (f osFile) Sync() error {
	away.Add(1)
	defer away.Add(-1)
	return datasync(f.File)
}

func (f osFile) Size() (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

func (OS) Create(name string) (File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (OS) Open(name string) (File, error) {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (OS) Remove(name string) error { return os.Remove(name) }

func (OS) List(dir string) ([]string, error) {
	es, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range es {
		if e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

func (OS) MkdirAll(dir string) error { return os.MkdirAll(filepath.Clean(dir), 0o700) }
