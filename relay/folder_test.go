package relay

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"kin/protocol"
)

// TestAStartDestroysNothingThatWaits: with keys in memory on a folder that has some on the
// disk, with epochs of another length, or without relay.db, and what waits is there behind it.
func TestAStartDestroysNothingThatWaits(t *testing.T) {
	for name, c := range map[string]struct {
		config Config
		spoil  func(dir string) error
		mend   func(dir string) error
	}{
		"keys in memory": {config: Config{KeysInRAM: true}},
		"shorter epochs": {config: Config{Epoch: 10 * time.Minute}},
		"longer epochs":  {config: Config{Epoch: 2 * time.Hour}},
		"no relay.db": {
			spoil: func(dir string) error { return os.Rename(filepath.Join(dir, "relay.db"), filepath.Join(dir, "x")) },
			mend:  func(dir string) error { return os.Rename(filepath.Join(dir, "x"), filepath.Join(dir, "relay.db")) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t, nil)
			p := s.dial()
			b := s.queue(p, true)
			s.want(p.code(p.putCmd(b, 1, sealed(1))), protocol.CodeOK)
			dir := s.relay.cfg.Dir
			if err := s.relay.Shutdown(context.Background()); err != nil {
				t.Fatal(err)
			}
			if c.spoil != nil {
				if err := c.spoil(dir); err != nil {
					t.Fatal(err)
				}
			}
			c.config.Dir = dir
			if _, err := Open(c.config); !errors.Is(err, ErrFolder) {
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
