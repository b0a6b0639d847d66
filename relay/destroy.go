package relay

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"kin/internal/disk"
	"kin/internal/slots"
	"kin/relay/spool"
)

// Exists tells whether a relay's data is in dir, or what a Destroy left of it.
func Exists(dir string) bool {
	for _, name := range []string{"relay.db", "epochs"} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	names, _ := disk.OS{}.List(filepath.Join(dir, "spool"))
	return slices.ContainsFunc(names, func(n string) bool { return strings.HasSuffix(n, ".seg") })
}

// Destroy destroys the data folder of a relay that does not run, with all that is in it: the
// keys of epochs first, for what waits is then unreadable, whatever becomes of the rest. It
// goes on past what fails, and may be repeated. ErrInUse if the relay runs. The folder's name
// may be a link to it.
func Destroy(link string) error {
	dir, err := filepath.EvalSymlinks(link)
	if err != nil {
		return err
	}
	name := filepath.Join(dir, "relay.db")
	lock, err := bbolt.Open(name, 0o600, &bbolt.Options{ReadOnly: true, Timeout: time.Second})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return ErrInUse
	}
	// What can't be overwritten stays, for another try.
	stays := map[string]error{"epochs": wipe(filepath.Join(dir, "epochs")), "relay.db": overwrite(name)}
	err = errors.Join(stays["epochs"], stays["relay.db"])
	if e := spool.Destroy(disk.OS{}, filepath.Join(dir, "spool")); !errors.Is(e, fs.ErrNotExist) {
		err = errors.Join(err, e)
	}
	entries, listErr := os.ReadDir(dir)
	err = errors.Join(err, listErr)
	for _, e := range entries {
		if path := filepath.Join(dir, e.Name()); path != name && stays[e.Name()] == nil {
			err = errors.Join(err, os.RemoveAll(path))
		}
	}
	if lock != nil { // Windows removes no open file
		err = errors.Join(err, lock.Close())
	}
	if stays["relay.db"] == nil { // the last, for no relay starts while it is there
		err = errors.Join(err, os.RemoveAll(name))
	}
	if err == nil {
		os.Remove(dir) // an empty folder may stay where something is mounted, or others made it
		os.Remove(link)
	}
	return err
}

// wipe destroys the keys of epochs, if there are any.
func wipe(name string) error {
	if err := slots.Wipe(disk.OS{}, name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// overwrite overwrites the whole of a file, if there is one, and is durable on return.
func overwrite(name string) error {
	f, err := disk.OS{}.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	size, err := f.Size()
	zeros := make([]byte, 64<<10)
	for at := int64(0); at < size; at += int64(len(zeros)) {
		_, e := f.WriteAt(zeros[:min(int64(len(zeros)), size-at)], at)
		err = errors.Join(err, e)
	}
	return errors.Join(err, f.Sync(), f.Close())
}
