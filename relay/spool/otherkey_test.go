package spool

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"kin/internal/disk"
)

// as opens the files as they are with another spool key.
func (s *stand) as(key byte) error {
	s.spool.Close()
	cfg := s.spool.Config
	cfg.Key = [32]byte{key}
	spool, err := Open(cfg)
	if err == nil {
		s.spool = spool
	}
	return err
}

// TestAStartWithAnotherKeyDestroysNothing: it is refused.
func TestAStartWithAnotherKeyDestroysNothing(t *testing.T) {
	s := newStand(t)
	s.mustPut(1, envelope(1))
	s.mustPut(1, envelope(2))
	if err := s.as(2); !errors.Is(err, ErrKey) {
		t.Errorf("with another key: %v", err)
	}
	if err := s.as(1); err != nil {
		t.Fatal(err)
	}
	s.want(2)
}

// TestASegmentOfAnotherKeyIsKeptUntilItHasExpired: beside one of its own. It is neither
// unlinked nor used again.
func TestASegmentOfAnotherKeyIsKeptUntilItHasExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin()
		s := &stand{t: t, dir: t.TempDir(), fs: disk.OS{}, max: 1000}
		s.open()
		defer s.slots.Close()
		s.mustPut(1, envelope(1))
		if err := s.as(2); err != nil { // one batch alone may be damaged
			t.Fatal(err)
		}
		s.want(0)
		for range 2 {
			s.mustPut(1, envelope(2))
			for _, r := range s.spool.Next(QueueID{1}, 0, 9) {
				s.spool.Ack(QueueID{1}, r.Sequence)
			}
			if err := s.spool.Sweep(time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.as(1); err != nil {
			t.Fatal(err)
		}
		s.want(1)
		if err := s.as(2); err != nil {
			t.Fatal(err)
		}
		time.Sleep(4 * time.Hour) // envelope gives it three more epochs
		if err := s.spool.Sweep(time.Now()); err != nil {
			t.Fatal(err)
		}
		if err := s.as(2); err != nil {
			t.Fatal(err)
		}
		if n := s.spool.Stats().Segments; n != 0 {
			t.Errorf("%d segments are kept of which all has expired", n)
		}
		s.spool.Close()
	})
}
