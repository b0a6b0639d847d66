package relay

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"

	"kin/protocol"
)

// A relay with nothing to forget does not write to its disk every minute; one with
// old tickets forgets them.
func TestIdleSweepLeavesTheDiskAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)))
		dir := t.TempDir()
		r, err := Open(Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Shutdown(t.Context())
		text, err := r.NewGrant(10, 48*time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		grant, err := protocol.ParseGrant(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, code, err := r.store.issue(grant, [][32]byte{{1}, {2}}, time.Now()); code != protocol.CodeOK || err != nil {
			t.Fatal(code, err)
		}
		read := func() []byte {
			b, err := os.ReadFile(filepath.Join(dir, "relay.db"))
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		time.Sleep(2 * time.Minute) // what the grant took the place of is overwritten once
		synctest.Wait()
		before := read()
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if !bytes.Equal(read(), before) {
			t.Error("relay.db was written in two idle hours")
		}
		time.Sleep(ticketLife)
		synctest.Wait()
		r.store.db.View(func(tx *bbolt.Tx) error {
			if n := tx.Bucket(bucketTickets).Stats().KeyN; n != 0 {
				t.Errorf("%d tickets after their life", n)
			}
			return nil
		})
	})
}

// TestAMinutesKeysDieWithIt: at its end, also between two sweeps, and where nobody else comes.
func TestAMinutesKeysDieWithIt(t *testing.T) {
	inBubble(t, func(s *stand, p *peer) {
		time.Sleep(90 * time.Second)
		m, err := s.relay.current()
		if err != nil {
			t.Fatal(err)
		}
		s.relay.mu.Lock()
		m.ek.release() // its link is up
		s.relay.mu.Unlock()
		time.Sleep(time.Minute)
		synctest.Wait()
		if m.ek.dk != nil {
			t.Error("its key of the link is there after a minute")
		}
	})
}
