package relay

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"kin/internal/disk"
	"kin/internal/slots"
	"kin/protocol"
)

// stopped is the folder of a relay that has stopped, with an envelope that waits.
func stopped(t *testing.T) string {
	t.Helper()
	s := newStand(t, nil)
	p := s.dial()
	s.queue(p, true)
	p.ws.Close()
	s.server.Close()
	if err := s.relay.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	return s.relay.cfg.Dir
}

// isGone tells whether nothing has a name.
func isGone(name string) bool {
	_, err := os.Lstat(name)
	return errors.Is(err, os.ErrNotExist)
}

// TestDestroyFollowsALink: a data folder that is a link to one is destroyed there.
func TestDestroyFollowsALink(t *testing.T) {
	dir := stopped(t)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Skip("NOT RUN:", err)
	}
	if err := Destroy(link); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{dir, link} {
		if !isGone(name) {
			t.Errorf("%s is still there", name)
		}
	}
}

// TestDestroyOverwritesTheRelaysKey: the file with it is overwritten where it lies, not only
// unlinked.
func TestDestroyOverwritesTheRelaysKey(t *testing.T) {
	dir := stopped(t)
	other := filepath.Join(t.TempDir(), "other")
	if err := os.Link(filepath.Join(dir, "relay.db"), other); err != nil {
		t.Skip("NOT RUN:", err)
	}
	if err := Destroy(dir); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(other)
	if err != nil || len(b) == 0 || len(bytes.Trim(b, "\x00")) > 0 {
		t.Errorf("%d bytes, %d of them not overwritten, %v", len(b), len(bytes.Trim(b, "\x00")), err)
	}
}

// TestARelayThatRunsIsNotDestroyed: whether it answers its operator or not.
func TestARelayThatRunsIsNotDestroyed(t *testing.T) {
	s := newStand(t, nil)
	p := s.dial()
	b := s.queue(p, true)
	if err := Destroy(s.relay.cfg.Dir); !errors.Is(err, ErrInUse) {
		t.Errorf("%v, want ErrInUse", err)
	}
	s.want(p.code(p.putCmd(b, 1, sealed(1))), protocol.CodeOK)
	if n := s.left(); n != 2 {
		t.Errorf("%d of 2 envelopes are left", n)
	}
}

// TestDestroyGoesOn: past what is missing, wiped already, or can't be opened; what fails is
// told, and another try finishes.
func TestDestroyGoesOn(t *testing.T) {
	remove := func(name string) func(string) error {
		return func(dir string) error { return os.RemoveAll(filepath.Join(dir, name)) }
	}
	for name, x := range map[string]struct {
		spoil func(dir string) error
		stays string
	}{
		"relay.db missing":    {spoil: remove("relay.db")},
		"relay.db damaged":    {spoil: func(dir string) error { return os.Truncate(filepath.Join(dir, "relay.db"), 100) }},
		"epochs missing":      {spoil: remove("epochs")},
		"spool missing":       {spoil: remove("spool")},
		"only the spool":      {spoil: func(dir string) error { return errors.Join(remove("relay.db")(dir), remove("epochs")(dir)) }},
		"cut off":             {spoil: func(dir string) error { return slots.Wipe(disk.OS{}, filepath.Join(dir, "epochs")) }},
		"epochs not opened":   {stays: "epochs", spoil: func(dir string) error { return becomesFolder(filepath.Join(dir, "epochs")) }},
		"relay.db not opened": {stays: "relay.db", spoil: func(dir string) error { return becomesFolder(filepath.Join(dir, "relay.db")) }},
	} {
		t.Run(name, func(t *testing.T) {
			dir := stopped(t)
			if err := x.spoil(dir); err != nil {
				t.Fatal(err)
			}
			err := Destroy(dir)
			if (err == nil) != (x.stays == "") {
				t.Errorf("it said %v", err)
			}
			if x.stays == "" {
				if !isGone(dir) {
					t.Error("the folder is still there")
				}
				return
			}
			left, err := os.ReadDir(dir)
			if err != nil || len(left) != 1 || left[0].Name() != x.stays || !Exists(dir) {
				t.Errorf("%v are left, %v, not %s alone", left, err, x.stays)
			}
			if err := remove(x.stays)(dir); err != nil {
				t.Fatal(err)
			}
			if err := Destroy(dir); err != nil || !isGone(dir) {
				t.Errorf("another try: %v", err)
			}
		})
	}
}

func becomesFolder(name string) error { return errors.Join(os.Remove(name), os.Mkdir(name, 0o700)) }
