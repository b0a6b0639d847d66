package spool

import (
	"bytes"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// begin is a time that a sweep believes.
func begin() { time.Sleep(26 * 365 * 24 * time.Hour) } // a bubble begins in 2000

// want fails unless so many wait in the first queue.
func (s *stand) want(n int) {
	s.t.Helper()
	if got := s.spool.Waiting(QueueID{1}); got != n {
		s.t.Fatalf("%d wait, want %d", got, n)
	}
}

// over lets an epoch end, and sweeps.
func (s *stand) over(epoch uint32) {
	s.t.Helper()
	time.Sleep(time.Until(time.Unix(int64(epoch+1)*3600, 0)) + time.Second)
	if err := s.spool.Sweep(time.Now()); err != nil {
		s.t.Fatal(err)
	}
}

// TestWhatIsPutAgainToLiveLongerDoes: just before its class ran out, and behind that but
// before the sweep. The first expired all the same.
func TestWhatIsPutAgainToLiveLongerDoes(t *testing.T) {
	for _, late := range []time.Duration{-5 * time.Second, time.Second} {
		synctest.Test(t, func(t *testing.T) {
			begin()
			s := newStand(t)
			s.spool.MaxUnread, s.spool.UrgentReserve = 2, 0
			first, p := envelope(0), envelope(7)
			first.Expiry += 100
			s.mustPut(1, first)
			s.mustPut(1, p)
			old := p.Expiry
			before := *s.spool.index.find(QueueID{1}, p.ID)
			time.Sleep(time.Until(time.Unix(int64(old+1)*3600, 0)) + late)
			p.Expiry = now() + 72
			s.mustPut(1, p) // though the queue is full
			s.mustPut(1, p)
			s.want(2)
			s.over(old)
			for range 2 {
				got := s.spool.Next(QueueID{1}, 0, 9)
				if len(got) != 2 || got[1].Sequence != before.seq || got[1].Expiry != p.Expiry || !bytes.Equal(got[1].Body, p.Body) {
					t.Fatalf("%d are there, or another than was put", len(got))
				}
				s.crash()
			}
			s.over(p.Expiry)
			s.want(1)
			s.spool.Close()
		})
	}
}

// TestWhatIsPutAgainToLiveLongerIsErased: what collects it or takes it back comes while its
// copy is written, or finds both copies at a start.
func TestWhatIsPutAgainToLiveLongerIsErased(t *testing.T) {
	q := QueueID{1}
	for name, erase := range map[string]func(*stand, uint64){
		"ACK":    func(s *stand, seq uint64) { s.spool.Ack(q, seq) },
		"CANCEL": func(s *stand, _ uint64) { s.spool.Cancel(q, MessageID{7}, func(error) {}) },
	} {
		for _, fails := range []error{nil, syscall.EIO} {
			s, w := watchedStand(t, 100)
			p := envelope(7)
			s.mustPut(1, p)
			seq := s.spool.index.next(q, 0).seq
			w.mu.Lock()
			w.fail = func(op string) error {
				if op != "sync" {
					return nil
				}
				w.fail = nil
				erase(s, seq)
				return fails
			}
			w.mu.Unlock()
			p.Expiry++
			if err := s.put(1, p); err != fails {
				t.Fatalf("%s: %v", name, err)
			}
			if err := s.spool.Flush(); err != nil {
				t.Fatal(err)
			}
			s.want(0)
			s.crash()
			s.want(0)
		}
		s := newStand(t)
		p := envelope(7)
		s.mustPut(1, p)
		e := *s.spool.index.next(q, 0)
		salt := make([]byte, saltSize)
		g := s.spool.segments[e.segment]
		g.file.ReadAt(salt, int64(e.salt))
		p.Expiry++
		s.mustPut(1, p)
		s.spool.Flush()
		g.file.WriteAt(salt, int64(e.salt)) // as if it were not overwritten yet
		s.crash()
		s.want(1)
		if got := s.spool.index.next(q, 0); got.epoch != p.Expiry || got.seq != e.seq {
			t.Fatalf("%s: of two copies the one is kept that expires in %d, with sequence %d", name, got.epoch, got.seq)
		}
		erase(s, e.seq)
		if err := s.spool.Flush(); err != nil {
			t.Fatal(err)
		}
		s.crash()
		s.want(0)
	}
}

// TestWhatIsPutAgainMeanwhileLivesLonger: the first is not on the disk yet.
func TestWhatIsPutAgainMeanwhileLivesLonger(t *testing.T) {
	s := newStand(t)
	told := make(chan error, 2)
	p := envelope(7)
	s.spool.writing.Lock()
	for range 2 {
		s.spool.Put(QueueID{1}, p, func(err error) { told <- err })
		p.Expiry++
	}
	s.spool.writing.Unlock()
	for range 2 {
		if err := <-told; err != nil {
			t.Fatal(err)
		}
	}
	s.want(1)
	if got := s.spool.Next(QueueID{1}, 0, 9)[0].Expiry; got != p.Expiry-1 {
		t.Errorf("it expires in %d, and was put for %d", got, p.Expiry-1)
	}
}

// TestACopyWhoseOriginalIsGone: it waits to be written while the first expires, or is
// collected before or behind that. It is a new one then, behind what its queue has; or is not
// written.
func TestACopyWhoseOriginalIsGone(t *testing.T) {
	for name, c := range map[string]struct {
		expires, collected bool
		left               int
	}{"expired": {true, false, 2}, "collected": {false, true, 1}, "expired, and collected": {true, true, 1}} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t)
			q := QueueID{1}
			p, b := envelope(7), envelope(8)
			b.Expiry += 50
			s.mustPut(1, p)
			s.mustPut(1, b)
			seq, old := s.spool.index.next(q, 0).seq, p.Expiry
			p.Expiry += 5
			told := make(chan error, 1)
			s.spool.writing.Lock() // a sweep has its turn
			end := s.spool.open.end
			s.spool.Put(q, p, func(err error) { told <- err })
			if c.expires {
				s.spool.expire(old + 1)
			}
			if c.collected {
				s.spool.Ack(q, seq)
			}
			before := s.spool.Next(q, 0, 16) // who comes now
			after := before[len(before)-1].Sequence
			s.spool.writing.Unlock()
			if err := <-told; err != nil {
				t.Fatal(err)
			}
			s.spool.writing.Lock()
			if wrote := s.spool.open.end > end; wrote == c.collected {
				t.Errorf("it was written: %v", wrote)
			}
			s.spool.writing.Unlock()
			if n := len(before) + len(s.spool.Next(q, after, 16)); n != c.left {
				t.Errorf("%d are given, want %d", n, c.left)
			}
			s.want(c.left)
			if err := s.spool.Flush(); err != nil {
				t.Fatal(err)
			}
			s.crash()
			s.want(c.left)
			s.spool.mu.Lock()
			defer s.spool.mu.Unlock()
			if n := len(s.spool.copies) + len(s.spool.byID) + len(s.spool.waiting); n != 0 {
				t.Errorf("%d are taken for pending", n)
			}
		})
	}
}
