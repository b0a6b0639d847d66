package relay

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"kin/internal/disk"
	"kin/protocol"
)

// altered has a file changed, and put back.
func altered(name string, change func(b []byte) []byte) (spoil, mend func(dir string) error) {
	var was []byte
	spoil = func(dir string) (err error) {
		if was, err = os.ReadFile(filepath.Join(dir, name)); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, name), change(bytes.Clone(was)), 0o600)
	}
	return spoil, func(dir string) error { return os.WriteFile(filepath.Join(dir, name), was, 0o600) }
}

// flipNumber flips the lowest bit of the first number in each list of this name in relay.db;
// of a record that was written several times only the last counts.
func flipNumber(field string) func([]byte) []byte {
	return func(b []byte) []byte {
		for _, at := range regexp.MustCompile(`"`+field+`":\[\d+`).FindAllIndex(b, -1) {
			b[at[1]-1] ^= 1
		}
		return b
	}
}

// TestAStartDestroysNothingThatWaits: with keys in memory on a folder that has some on the
// disk, with epochs of another length, or with a relay.db or epochs that is missing, empty,
// altered or another's, and what waits is there behind it.
func TestAStartDestroysNothingThatWaits(t *testing.T) {
	type trial struct {
		config Config
		spoil  func(dir string) error
		mend   func(dir string) error
		want   error // ErrFolder if nil
	}
	with := func(want error, file string, change func([]byte) []byte) trial {
		spoil, mend := altered(file, change)
		return trial{spoil: spoil, mend: mend, want: want}
	}
	without := func(file string, config Config) trial {
		return trial{
			config: config,
			spoil:  func(dir string) error { return os.Rename(filepath.Join(dir, file), filepath.Join(dir, "x")) },
			mend:   func(dir string) error { return os.Rename(filepath.Join(dir, "x"), filepath.Join(dir, file)) },
		}
	}
	for name, c := range map[string]trial{
		"keys in memory":              {config: Config{KeysInRAM: true}},
		"shorter epochs":              {config: Config{Epoch: 10 * time.Minute}},
		"longer epochs":               {config: Config{Epoch: 2 * time.Hour}},
		"no relay.db":                 without("relay.db", Config{}),
		"an empty relay.db":           with(ErrFolder, "relay.db", func([]byte) []byte { return nil }),
		"no epochs":                   without("epochs", Config{}),
		"no epochs, keys in memory":   without("epochs", Config{KeysInRAM: true}),
		"empty epochs":                with(ErrFolder, "epochs", func([]byte) []byte { return nil }),
		"blank epochs":                with(ErrFolder, "epochs", func(b []byte) []byte { return make([]byte, len(b)) }),
		"a bit of the spool's key":    with(ErrDamaged, "relay.db", flipNumber("Spool")),
		"a bit of a queue's hash":     with(ErrDamaged, "relay.db", flipNumber("Receiver")),
		"another's relay.db":          with(ErrFolder, "relay.db", func([]byte) []byte { return anothers(t) }),
		"a relay.db without its keys": with(ErrFolder, "relay.db", withoutKeys),
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t, nil)
			p := s.dial()
			b := s.queue(p, true)
			s.want(p.code(p.putCmd(b, 1, sealed(1))), protocol.CodeOK)
			dir := s.relay.cfg.Dir
			p.ws.Close()
			if err := s.relay.Shutdown(context.Background()); err != nil {
				t.Fatal(err)
			}
			if c.spoil != nil {
				if err := c.spoil(dir); err != nil {
					t.Fatal(err)
				}
			}
			c.config.Dir = dir
			if c.want == nil {
				c.want = ErrFolder
			}
			if _, err := Open(c.config); !errors.Is(err, c.want) {
				t.Fatalf("it starts: %v", err)
			}
			if c.mend != nil {
				if err := c.mend(dir); err != nil {
					t.Fatal(err)
				}
			}
			r, err := Open(Config{Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			if n := r.Status().Envelopes; n != 2 {
				t.Errorf("%d envelopes are there", n)
			}
			if err := r.Shutdown(context.Background()); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// anothers is the relay.db of another relay.
func anothers(t *testing.T) []byte {
	dir := t.TempDir()
	found(t, dir)
	b, err := os.ReadFile(filepath.Join(dir, "relay.db"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// withoutKeys is a database in which the keys' record has gone.
func withoutKeys(b []byte) []byte {
	f, err := os.CreateTemp("", "")
	if err != nil {
		panic(err)
	}
	f.Close()
	defer os.Remove(f.Name())
	if err := os.WriteFile(f.Name(), b, 0o600); err != nil {
		panic(err)
	}
	db, err := bbolt.Open(f.Name(), 0o600, nil)
	if err != nil {
		panic(err)
	}
	if err := db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(bucketKeys).Delete(bucketKeys) }); err != nil {
		panic(err)
	}
	db.Close()
	b, err = os.ReadFile(f.Name())
	if err != nil {
		panic(err)
	}
	return b
}

// TestAnEmptyFolderTakesAnyEpoch: with nothing there is nothing to lose.
func TestAnEmptyFolderTakesAnyEpoch(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []Config{{Dir: dir}, {Dir: dir, Epoch: time.Minute}, {Dir: dir, KeysInRAM: true}, {Dir: dir}} {
		r, err := Open(c)
		if err != nil {
			t.Fatalf("%+v: %v", c, err)
		}
		if err := r.Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestADatabaseThatWasCutOffIsRefused: four pages are the least that bbolt makes, and behind
// those that it uses the file may end anywhere.
func TestADatabaseThatWasCutOffIsRefused(t *testing.T) {
	s := newStand(t, nil)
	p := s.dial()
	for range 30 {
		s.bare(p)
	}
	dir := s.relay.cfg.Dir
	p.ws.Close()
	if err := s.relay.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "relay.db")
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for size := 100; size < len(whole); size += 2048 {
		if err := os.WriteFile(name, whole[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := Open(Config{Dir: dir})
		if err == nil && size > 4*os.Getpagesize() {
			if n := r.Status().Queues; n != 30 {
				t.Errorf("of %d bytes: %d of 30 queues", size, n)
			}
			r.Shutdown(context.Background())
			continue
		}
		if !errors.Is(err, ErrDamaged) {
			t.Errorf("of %d bytes: %v", size, err)
		}
	}
}

// noted is a disk that notes which folders are synced.
type noted struct {
	disk.OS
	synced []string
	fail   error
}

func (n *noted) SyncDir(dir string) error {
	n.synced = append(n.synced, dir)
	if n.fail != nil && len(n.synced) == 1 {
		return n.fail
	}
	return n.OS.SyncDir(dir)
}

// TestTheFoldersOwnNameIsSynced: unless that is not this user's to do.
func TestTheFoldersOwnNameIsSynced(t *testing.T) {
	for _, c := range []struct {
		fail  error
		opens bool
	}{{nil, true}, {&fs.PathError{Op: "open", Err: syscall.EACCES}, true}, {&fs.PathError{Op: "sync", Err: syscall.EINVAL}, true}, {syscall.EIO, false}} {
		around := t.TempDir()
		fsys := &noted{fail: c.fail}
		r, err := Open(Config{Dir: filepath.Join(around, "data") + "/", FS: fsys})
		if (err == nil) != c.opens {
			t.Errorf("a sync that says %v: %v", c.fail, err)
		}
		if err == nil {
			r.Shutdown(context.Background())
		}
		if fsys.synced[0] != around {
			t.Errorf("synced: %q; want %q first", fsys.synced, around)
		}
	}
}
