package spool

import (
	"encoding/binary"
	"testing"
	"testing/synctest"
	"time"
)

// TestAPutBehindItsCancelIsNotStored: another process of its sender had sent it, on a line
// that was slower.
func TestAPutBehindItsCancelIsNotStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(26 * 365 * 24 * time.Hour) // a bubble begins in 2000
		s := newStand(t)
		taken := func() {
			t.Helper()
			told := make(chan error, 1)
			s.spool.Cancel(QueueID{1}, MessageID{7}, func(err error) { told <- err })
			if err := <-told; err != nil {
				t.Fatal(err)
			}
		}
		put := func(q byte, want int) {
			t.Helper()
			s.mustPut(q, envelope(7))
			if n := s.spool.Waiting(QueueID{q}); n != want {
				t.Fatalf("%d envelopes wait, want %d", n, want)
			}
		}
		taken()
		put(1, 0)
		put(2, 1) // somebody else's
		time.Sleep(rememberFor - time.Second)
		if err := s.spool.Sweep(time.Now()); err != nil {
			t.Fatal(err)
		}
		put(1, 0)
		for range 2 { // sweeps forget it in the end
			time.Sleep(rememberFor)
			if err := s.spool.Sweep(time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		put(1, 1)
		taken() // it waits
		put(1, 0)
		s.crash() // no connection of before is left
		put(1, 1)
		s.spool.Close()
	})
}

// TestTakenBackIsBounded: whoever takes back without end costs no memory.
func TestTakenBackIsBounded(t *testing.T) {
	var b takenBack
	key := func(i int) (k pendingKey) {
		binary.BigEndian.PutUint32(k.id[:], uint32(i))
		return k
	}
	const n = 5 * rememberMax / 2
	for i := range n {
		b.add(key(i))
	}
	if got := len(b.now) + len(b.before); got > 2*rememberMax {
		t.Fatalf("%d are remembered", got)
	}
	for i := n - rememberMax; i < n; i++ {
		if !b.has(key(i)) {
			t.Fatalf("%d of %d is forgotten", i, n)
		}
	}
}
