package spool

import (
	"bytes"
	"math/rand/v2"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"kin/internal/disk/disktest"
)

// inWorlds runs f in so many worlds, each on a disk of its own.
func inWorlds(t *testing.T, n uint64, f func(t *testing.T, w *world)) {
	for seed := range n {
		synctest.Test(t, func(t *testing.T) {
			begin()
			w := newWorld(rand.New(rand.NewPCG(seed, 5)), disktest.New())
			if err := w.open(); err != nil {
				t.Fatal(err)
			}
			defer func() { w.stop() }()
			f(t, w)
		})
	}
}

// until is a new envelope.
func (w *world) until(epoch uint32) *promised {
	p := w.envelope()
	p.queue, p.Expiry, p.Urgent = QueueID{}, epoch, false
	return p
}

// putAll puts some in one batch and returns what was answered.
func (w *world) putAll(ps ...*promised) (answers []error) {
	w.spool.writing.Lock()
	for _, p := range ps {
		w.spool.Put(p.queue, Put{p.ID, p.Expiry, p.Urgent, bytes.Clone(p.Body), w.spool.Told()}, func(err error) { answers = append(answers, err) })
	}
	w.spool.writing.Unlock()
	synctest.Wait()
	return answers
}

func (w *world) mustPutAll(t *testing.T, ps ...*promised) {
	t.Helper()
	for _, err := range w.putAll(ps...) {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// reopen starts again on the disk that is left.
func (w *world) reopen(t *testing.T, fs *disktest.FS) {
	t.Helper()
	w.stop()
	w.fs = fs
	if err := w.open(); err != nil {
		t.Fatal(err)
	}
}

// TestAnEpochHasOneKey: one that could be neither written nor destroyed may be on the disk
// all the same, beside the one that was made in its place.
func TestAnEpochHasOneKey(t *testing.T) {
	inWorlds(t, 40, func(t *testing.T, w *world) {
		now := EpochOf(time.Now(), time.Hour)
		w.mustPutAll(t, w.until(now))
		w.mustPutAll(t, w.until(now+1))
		p := w.until(now + 2)
		w.fs.FailFrom(w.fs.Ops()+2, 3, syscall.EIO) // the key's sync, and its destruction
		if err := w.putAll(p)[0]; err == nil {
			t.Fatal("it was stored")
		}
		time.Sleep(time.Hour)
		if err := w.spool.Sweep(time.Now()); err != nil { // a slot before that one is free
			t.Fatal(err)
		}
		w.mustPutAll(t, p)
		w.stop()
		w.reopen(t, w.fs.AfterPowerLoss(w.r))
		if !w.there(p) {
			t.Error("what had an OK is lost")
		}
	})
}

// TestAKeyThatIsBeingDestroyedTakesNothing: a sweep by a clock that was ahead could not
// destroy it; the clock was set right, and it was in RAM alone.
func TestAKeyThatIsBeingDestroyedTakesNothing(t *testing.T) {
	inWorlds(t, 10, func(t *testing.T, w *world) {
		last := EpochOf(time.Now(), time.Hour) + 3
		before, p := w.until(last), w.until(last)
		w.mustPutAll(t, before)
		w.fs.FailAt(w.fs.Ops()+2, syscall.EIO) // the slots' sync
		if err := w.spool.Sweep(time.Now().Add(24 * time.Hour)); err == nil {
			t.Fatal("the key was destroyed")
		}
		for _, p := range []*promised{before, p} {
			if err := w.putAll(p)[0]; err == nil {
				t.Fatal("what may have no key was called stored")
			}
		}
		if err := w.spool.Sweep(time.Now()); err != nil {
			t.Fatal(err)
		}
		w.mustPutAll(t, before, p)
		w.stop()
		w.reopen(t, w.fs.AfterKill())
		if !w.there(before) || !w.there(p) {
			t.Error("what had an OK when the clock was right again is lost")
		}
	})
}

// TestWhatWasRefusedOvertakesNothing: a batch whose sync failed may be on the disk, and the
// power fails when its first envelope was put again, to live longer.
func TestWhatWasRefusedOvertakesNothing(t *testing.T) {
	inWorlds(t, 200, func(t *testing.T, w *world) {
		now := EpochOf(time.Now(), time.Hour)
		w.mustPutAll(t, w.until(now+1))
		first, second := w.until(now+1), w.until(now+1)
		w.fs.FailAt(w.fs.Ops()+2, syscall.EIO) // behind the write, the sync
		for _, err := range w.putAll(first, second) {
			if err == nil {
				t.Fatal("it was stored")
			}
		}
		first.Expiry++
		w.mustPutAll(t, first)
		w.stop()
		w.reopen(t, w.fs.AfterPowerLoss(w.r))
		w.mustPutAll(t, second)
		got := w.spool.Next(QueueID{}, 0, 9)
		if len(got) != 3 || w.find(got[1].Body) != first {
			t.Errorf("of %d, the second is not what was put first", len(got))
		}
	})
}
