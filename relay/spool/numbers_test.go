package spool

import "testing"

// TestNumbersThatWereUsedAreNotUsedAgain: whoever counts them has forgotten the last. What is
// stored then is there behind a start.
func TestNumbersThatWereUsedAreNotUsedAgain(t *testing.T) {
	s := newStand(t)
	for i := range byte(3) { // three segments
		s.mustPut(1, envelope(i))
		s.crash()
	}
	highest := s.spool.Highest()
	for i := range byte(3) {
		s.numbers = 0
		s.mustPut(1, envelope(10+i))
		if id := s.spool.open.id; id <= highest {
			t.Errorf("a segment has the number %d; %d was used", id, highest)
		}
		s.crash()
		s.want(4 + int(i))
	}
}
