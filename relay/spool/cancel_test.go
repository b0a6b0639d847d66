package spool

import (
	"errors"
	"syscall"
	"testing"
)

// watchedStand is a stand whose disk is watched.
func watchedStand(t *testing.T, max int) (*stand, *watched) {
	w := &watched{}
	s := &stand{t: t, dir: t.TempDir(), fs: w, max: max}
	s.open()
	t.Cleanup(func() { s.spool.Close(); s.slots.Close() })
	return s, w
}

// cancel takes an envelope back; the channel gets the answer.
func (s *stand) cancel(q, id byte) <-chan error {
	told := make(chan error, 1)
	s.spool.Cancel(QueueID{q}, MessageID{id}, func(err error) { told <- err })
	return told
}

// TestACancelHasItsTurnWhilePutsCome: at each sync somebody puts again.
func TestACancelHasItsTurnWhilePutsCome(t *testing.T) {
	s, w := watchedStand(t, 1000)
	s.mustPut(1, envelope(200))
	const all = 100
	batches := 0
	w.fail = func(op string) error {
		if op == "sync" && batches < all {
			batches++
			s.spool.Put(QueueID{2}, envelope(byte(batches)), func(error) {})
		}
		return nil
	}
	told := make(chan int, 1)
	s.spool.writing.Lock()
	s.spool.Put(QueueID{2}, envelope(0), func(error) {})
	s.spool.Cancel(QueueID{1}, MessageID{200}, func(err error) {
		if err != nil {
			t.Error(err)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		told <- batches
	})
	s.spool.writing.Unlock()
	if n := <-told; n == all {
		t.Error("it was answered when nobody put any more")
	}
}

// TestNothingOvertakesABatchThatFails: what was put behind it, for the same queue and as
// urgent, fails as it does.
func TestNothingOvertakesABatchThatFails(t *testing.T) {
	s, w := watchedStand(t, 100)
	s.mustPut(1, envelope(0)) // the first segment is there
	behind := make(chan [2]error, 3)
	put := func(i int, q byte, urgent bool, want error) {
		p := envelope(byte(i))
		p.Urgent = urgent
		s.spool.Put(QueueID{q}, p, func(err error) { behind <- [2]error{err, want} })
	}
	failed := false
	w.mu.Lock()
	w.fail = func(op string) error {
		if op != "sync" || failed {
			return nil
		}
		failed = true
		put(2, 1, false, syscall.EIO)
		put(3, 1, true, nil)
		put(4, 2, false, nil)
		return syscall.EIO
	}
	w.mu.Unlock()
	if err := s.put(1, envelope(1)); err != syscall.EIO {
		t.Fatalf("%v", err)
	}
	for range 3 {
		if got := <-behind; got[0] != got[1] {
			t.Errorf("%v; want %v", got[0], got[1])
		}
	}
	if n, m := s.spool.Waiting(QueueID{1}), s.spool.Waiting(QueueID{2}); n != 2 || m != 1 {
		t.Errorf("%d and %d wait; want 2 and 1", n, m)
	}
	s.mustPut(1, envelope(2)) // nothing of it is left
}

// TestNothingOvertakesWhatIsBeingRefused: of a batch that failed, others are told first,
// and the sender goes on meanwhile.
func TestNothingOvertakesWhatIsBeingRefused(t *testing.T) {
	s, w := watchedStand(t, 100)
	s.mustPut(1, envelope(0))
	w.mu.Lock()
	w.fail = func(op string) error { w.fail = nil; return syscall.EIO }
	w.mu.Unlock()
	heard, told, second := make(chan bool), make(chan error, 1), make(chan error, 1)
	known := s.spool.Told()
	s.spool.writing.Lock() // one batch
	s.spool.Put(QueueID{2}, envelope(1), func(error) { heard <- true; <-heard })
	s.spool.Put(QueueID{1}, envelope(2), func(err error) { told <- err })
	s.spool.writing.Unlock()
	<-heard
	for _, now := range []uint64{known, s.spool.Told()} {
		p := envelope(3)
		p.Told = now
		s.spool.Put(QueueID{1}, p, func(err error) { second <- err })
		if err := <-second; err != ErrBehind {
			t.Errorf("while others are told: %v", err)
		}
	}
	heard <- true
	if err := <-told; err != syscall.EIO {
		t.Fatalf("%v", err)
	}
	p := envelope(3)
	p.Told = known // it was looked before
	s.spool.Put(QueueID{1}, p, func(err error) { second <- err })
	if err := <-second; err != ErrBehind {
		t.Errorf("of who does not know: %v", err)
	}
	s.mustPut(1, envelope(2))
	s.mustPut(1, envelope(3))
}

// TestAFaultInATurnIsTold: between two syncs a turn tries the second one, which fails; the
// kernel then takes the third try for good.
func TestAFaultInATurnIsTold(t *testing.T) {
	s, w := watchedStand(t, 100)
	for id := range byte(2) { // each in a segment of its own
		s.mustPut(1, envelope(id))
		s.spool.writing.Lock()
		s.spool.open = nil
		s.spool.writing.Unlock()
	}
	s.spool.writing.Lock()
	first, second := s.cancel(1, 0), s.cancel(1, 1)
	turn := false
	err := s.spool.syncZeros(func() error {
		if !turn {
			turn = true
			w.mu.Lock()
			w.fail = func(op string) error { w.fail = nil; return syscall.EIO }
			w.mu.Unlock()
			s.spool.sync(s.spool.inOrder()[1])
		}
		return nil
	})
	s.spool.writing.Unlock()
	if one, two := <-first, <-second; err != nil || one != errMayReturn || two != errMayReturn {
		t.Fatalf("%v; %v, %v; want errMayReturn of both", err, one, two)
	}
	if err := errors.Join(<-s.cancel(1, 0), <-s.cancel(1, 1)); err != nil {
		t.Fatalf("the next time: %v", err)
	}
}

// TestStatsWhilePuttingIsNoRace: for the race detector.
func TestStatsWhilePuttingIsNoRace(t *testing.T) {
	s := newStand(t)
	done := make(chan int64)
	go func() {
		var bytes int64
		for range 2000 {
			bytes = max(bytes, s.spool.Stats().Bytes)
		}
		done <- bytes
	}()
	for i := range byte(100) {
		s.mustPut(1, envelope(i))
	}
	<-done
	if st := s.spool.Stats(); st.Messages != 100 || st.Bytes < 100*boundary {
		t.Errorf("%+v", st)
	}
}

// TestDropTakesBackWhatIsOnItsWay: a queue is deleted while something is written for it; it
// may be a copy. The answer comes when neither can come back.
func TestDropTakesBackWhatIsOnItsWay(t *testing.T) {
	s, w := watchedStand(t, 100)
	for id := range byte(2) {
		s.mustPut(1, envelope(0))
		p := envelope(1)
		if id == 0 {
			p = s.again(1, 0)
		}
		dropped := make(chan error, 1)
		w.mu.Lock()
		w.fail = func(op string) error {
			if op == "sync" {
				w.fail = nil
				s.spool.Drop(QueueID{1}, func(err error) { dropped <- err })
			}
			return nil
		}
		w.mu.Unlock()
		s.mustPut(1, p)
		if err := <-dropped; err != nil {
			t.Fatal(err)
		}
		s.want(0)
		s.crash()
		s.want(0)
	}
}

// again is a stored envelope, to be put for an hour more.
func (s *stand) again(q, id byte) Put {
	e := s.spool.index.find(QueueID{q}, MessageID{id})
	body, err := s.spool.body(e)
	if err != nil {
		s.t.Fatal(err)
	}
	return Put{ID: e.id, Expiry: e.epoch + 1, Body: body}
}

// TestWhatCouldNotBeDroppedIsTold: the sync of its erasure fails.
func TestWhatCouldNotBeDroppedIsTold(t *testing.T) {
	s, w := watchedStand(t, 100)
	s.mustPut(1, envelope(0))
	w.mu.Lock()
	w.fail = func(op string) error {
		if op != "sync" {
			return nil
		}
		w.fail = nil
		return syscall.EIO
	}
	w.mu.Unlock()
	for _, want := range []error{errMayReturn, nil} {
		dropped := make(chan error, 1)
		s.spool.Drop(QueueID{1}, func(err error) { dropped <- err })
		if err := <-dropped; err != want {
			t.Errorf("%v; want %v", err, want)
		}
	}
}
