package spool

import (
	crand "crypto/rand"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"kin/internal/disk/disktest"
	"kin/protocol"
)

var images = flag.Int("images", 2, "crash images to look at after each failed operation")

// fault is an error that the disk gave once, and how often somebody was told.
type fault struct {
	err  error
	told int
}

// hear fails for an error that is not the disk's.
func (f *fault) hear(err error) error {
	if err == nil {
		return nil
	}
	f.told++
	if errors.Is(err, f.err) || f.err == syscall.ENOSPC && errors.Is(err, ErrFull) {
		return nil
	}
	return fmt.Errorf("where the disk said %q, the spool says: %w", f.err, err)
}

// script is the history during which an operation fails. What is refused is done once
// more, and must then succeed: the disk is well again.
func (w *world) script(f *fault) error {
	twice := func(do func() error) error {
		err := do()
		if err == nil {
			return nil
		}
		if err := f.hear(err); err != nil {
			return err
		}
		return do()
	}
	if err := twice(w.open); err != nil {
		return err
	}
	for round := range 3 {
		for i := range 3 {
			p := &promised{queue: QueueID{byte(i % 2)}, may: true}
			p.Expiry = EpochOf(time.Now(), time.Hour) + uint32(i)
			p.Body = make([]byte, []int{protocol.EnvelopeSize, protocol.EnvelopeSize, protocol.ChunkSize}[i])
			crand.Read(p.Body)
			binary.BigEndian.PutUint32(p.ID[:], uint32(round*3+i))
			w.put = append(w.put, p)
			if err := twice(func() (err error) {
				p.Told = w.spool.Told()
				w.spool.Put(p.queue, p.Put, func(e error) { err = e })
				synctest.Wait()
				return err
			}); err != nil {
				return fmt.Errorf("put %d: %w", i, err)
			}
			p.must = true
		}
		w.collect()
		if err := twice(w.spool.Flush); err != nil {
			return fmt.Errorf("flush: %w", err)
		}
		w.flushed()
		time.Sleep(time.Hour)
		w.expired()
		if err := twice(func() error { return w.spool.Sweep(time.Now()) }); err != nil {
			return fmt.Errorf("sweep: %w", err)
		}
		swept := EpochOf(time.Now(), time.Hour)
		for _, p := range w.put {
			p.may = p.may && p.Expiry >= swept
		}
		if err := f.hear(w.spool.Close()); err != nil {
			return fmt.Errorf("close: %w", err)
		}
		if err := twice(w.open); err != nil {
			return fmt.Errorf("open: %w", err)
		}
	}
	return nil
}

// expired notes the keys that the next sweep has to destroy.
func (w *world) expired() {
	now := EpochOf(time.Now(), time.Hour)
	for n, k := range w.spool.epochs.keys {
		if n < now {
			w.keys = append(w.keys, append([]byte(nil), k.key[:]...))
		}
	}
	for _, p := range w.put {
		p.must = p.must && p.Expiry >= now
	}
}

// found is what a start finds, after a kill or on one of the disks after a power loss.
func (w *world) found(fs *disktest.FS) error {
	after := newWorld(w.r, fs)
	after.numbers, after.keys = w.numbers, w.keys
	for _, p := range w.put {
		p := *p
		after.put = append(after.put, &p)
	}
	defer after.stop()
	if err := after.open(); err != nil {
		return fmt.Errorf("the spool does not open: %w", err)
	}
	return after.check(true)
}

// TestIOErrorAtEveryOperation: whichever operation or read fails, whoever asked for it is told
// so or it is done, and can ask again; what was promised before and after is there, and
// what is gone stays gone, after a kill and after a power loss. More: -args -images 50.
func TestIOErrorAtEveryOperation(t *testing.T) {
	failed, told, looked := 0, 0, 0
	for _, c := range []struct {
		err   error
		what  string
		at    func(*disktest.FS, int, error)
		count func(*disktest.FS) int
	}{
		{syscall.EIO, "operation", (*disktest.FS).FailAt, (*disktest.FS).Ops},
		{syscall.ENOSPC, "operation", (*disktest.FS).FailAt, (*disktest.FS).Ops},
		{syscall.EIO, "read", (*disktest.FS).FailReadAt, (*disktest.FS).Reads},
	} {
		for n, over := 1, false; !over; n++ {
			where := fmt.Sprintf("%v at %s %d", c.err, c.what, n)
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(26 * 365 * 24 * time.Hour) // a bubble begins in 2000
				w := newWorld(rand.New(rand.NewPCG(1, 6)), disktest.New())
				defer w.stop()
				f := &fault{err: c.err}
				c.at(w.fs, n, c.err)
				if err := w.script(f); err != nil {
					t.Fatalf("%s: %v\n%s", where, err, strings.Join(w.trace, "\n"))
				}
				if over = c.count(w.fs) < n; over {
					return
				}
				failed++
				told += f.told
				for range *images {
					looked++
					if err := w.found(w.fs.AfterPowerLoss(w.r)); err != nil {
						t.Fatalf("%s, after a power loss: %v", where, err)
					}
				}
				w.stop()
				if err := w.found(w.fs.AfterKill()); err != nil {
					t.Fatalf("%s, after a kill: %v", where, err)
				}
			})
		}
	}
	if failed < 50 || told == 0 {
		t.Errorf("%d operations failed, and %d times somebody was told", failed, told)
	}
	t.Logf("%d failed operations, of which somebody was told %d times, %d crash images after them, no violation", failed, told, looked)
}
