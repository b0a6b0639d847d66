package relay

import (
	"context"
	"os"
	"path/filepath"
	"strings"
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
	p.ws.Close()
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

// collect takes all that waits in a queue, and returns when it is erased from what waits.
func (s *stand) collect(p *peer, b *box) {
	s.t.Helper()
	p.send(p.subCmd(b))
	ack := &protocol.Ack{}
	for left := s.relay.Status().Envelopes; left > 0; {
		as, err := p.frames()
		if err != nil {
			s.t.Fatal(err)
		}
		for _, a := range as {
			switch a := a.(type) {
			case *protocol.Subbed:
				ack.Handle = a.Queues[0].Handle
			case *protocol.Msg:
				left--
				ack.Sequences = append(ack.Sequences, a.Sequence)
				if len(ack.Sequences) == protocol.Window || left == 0 {
					p.send(ack)
					ack.Sequences = nil
				}
			}
		}
	}
	s.want(p.code(&protocol.Fetch{Corr: p.corr()}), protocol.CodeUnknown) // answered behind the ACKs
}

// TestAnOlderDatabaseGivesNoNumberTwice: it says so, and what is put over it is there behind
// the next start, though the file that it went to was used before.
func TestAnOlderDatabaseGivesNoNumberTwice(t *testing.T) {
	dir := t.TempDir()
	var s *stand
	var p *peer
	start := func() {
		s = newStand(t, func(c *Config) { c.Dir = dir })
		p = s.dial()
	}
	stop := func() {
		p.ws.Close()
		s.server.Close()
		if err := s.relay.Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	start()
	b := s.queue(p, true)
	s.collect(p, b)
	stop()
	db, older := filepath.Join(dir, "relay.db"), filepath.Join(t.TempDir(), "older")
	copyFile(t, db, older)
	start() // a start begins a segment, with numbers
	s.want(p.code(p.putCmd(b, 1, sealed(1))), protocol.CodeOK)
	s.collect(p, b)
	stop()
	if strings.Contains(s.log.String(), "older than the spool") {
		t.Error("a relay.db that is not older is called so")
	}
	start()                  // and another
	for n := range byte(6) { // several batches, each of so many that no sweep moves them
		for i := range byte(16) {
			p.send(p.putCmd(b, 16*(n+1)+i, sealed(1)))
		}
		for answered := 0; answered < 16; {
			as, err := p.frames()
			if err != nil {
				t.Fatal(err)
			}
			answered += len(as)
		}
	}
	stop()
	copyFile(t, older, db)
	start()
	if !strings.Contains(s.log.String(), "older than the spool") {
		t.Error("nobody is told that relay.db is older")
	}
	s.collect(p, b)
	s.want(p.code(p.putCmd(b, 9, sealed(2))), protocol.CodeOK)
	stop()
	if n := found(t, dir); n != 1 {
		t.Errorf("%d of the 1 envelope are there that was acknowledged over the older relay.db", n)
	}
}
