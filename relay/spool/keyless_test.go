package spool

import (
	"testing"

	"kin/internal/slots"
)

// TestWhatHasNoKeyRefusesNobodyElse: all slots are taken but one. What is behind it in its
// queue, and as urgent, must not overtake it.
func TestWhatHasNoKeyRefusesNobodyElse(t *testing.T) {
	s := newStand(t)
	s.spool.epochs.slots = slots.Memory(1)
	s.mustPut(1, envelope(0))
	puts := []struct {
		queue  byte
		later  uint32
		urgent bool
		want   error
	}{{1, 0, false, nil}, {1, 9, false, ErrFull}, {1, 0, false, ErrFull}, {1, 0, true, nil}, {2, 0, false, nil}}
	told := make([]chan error, len(puts))
	s.spool.writing.Lock() // one batch
	for i, c := range puts {
		p := envelope(byte(i + 1))
		p.Expiry += c.later
		p.Urgent = c.urgent
		told[i] = make(chan error, 1)
		s.spool.Put(QueueID{c.queue}, p, func(err error) { told[i] <- err })
	}
	s.spool.writing.Unlock()
	for i, c := range puts {
		if err := <-told[i]; err != c.want {
			t.Errorf("put %d: %v; want %v", i, err, c.want)
		}
	}
	s.want(3)
}
