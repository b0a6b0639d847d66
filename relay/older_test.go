package relay

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"kin/protocol"
)

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// found is how many envelopes a relay finds that starts in a folder.
func found(t *testing.T, dir string) int {
	t.Helper()
	r, err := Open(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Shutdown(context.Background())
	return r.Status().Envelopes
}

// TestAnOlderDatabaseErasesNothing: a copy of relay.db from before a queue was made is put
// back, and then the right one.
func TestAnOlderDatabaseErasesNothing(t *testing.T) {
	s := newStand(t, nil)
	p := s.dial()
	s.queue(p, true) // with a first envelope
	dir := s.relay.cfg.Dir
	db, kept := filepath.Join(dir, "relay.db"), t.TempDir()
	older, right := filepath.Join(kept, "older"), filepath.Join(kept, "right")
	copyFile(t, db, older)
	b := s.queue(p, true)
	s.want(p.code(p.putCmd(b, 1, sealed(1))), protocol.CodeOK)
	if err := s.relay.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	copyFile(t, db, right)
	for _, c := range []struct{ what, db string }{{"older", older}, {"right", right}} {
		copyFile(t, c.db, db)
		if n := found(t, dir); n != 3 {
			t.Errorf("over the %s relay.db %d of 3 envelopes are there", c.what, n)
		}
	}
}

// TestAFolderCopiedWhileTheRelayServesHoldsWhatItHolds: relay.db first, as cp copies it, and
// a queue is made meanwhile.
func TestAFolderCopiedWhileTheRelayServesHoldsWhatItHolds(t *testing.T) {
	s := newStand(t, nil)
	p := s.dial()
	s.queue(p, true) // with a first envelope
	dir, to := s.relay.cfg.Dir, t.TempDir()
	copyFile(t, filepath.Join(dir, "relay.db"), filepath.Join(to, "relay.db"))
	b := s.queue(p, true)
	s.want(p.code(p.putCmd(b, 1, sealed(1))), protocol.CodeOK)
	copyFile(t, filepath.Join(dir, "epochs"), filepath.Join(to, "epochs"))
	if err := os.CopyFS(filepath.Join(to, "spool"), os.DirFS(filepath.Join(dir, "spool"))); err != nil {
		t.Fatal(err)
	}
	if n := found(t, to); n != 3 {
		t.Errorf("%d of the 3 envelopes that the copy holds are there", n)
	}
}
