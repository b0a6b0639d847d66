package spool

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"kin/internal/disk/disktest"
	"kin/protocol"
)

// TestStartKeepsTheCopyWhoseBodyOpens: a damaged envelope was put again, and the
// power went before the old one's salt was overwritten.
func TestStartKeepsTheCopyWhoseBodyOpens(t *testing.T) {
	s := newStand(t)
	p := envelope(1)
	s.mustPut(1, p)
	e := *s.spool.index.next(QueueID{1}, 0)
	g := s.spool.segments[e.segment]
	var salt [saltSize]byte
	if _, err := g.file.ReadAt(salt[:], int64(e.salt)); err != nil {
		t.Fatal(err)
	}
	s.flip(int64(e.body) + 100)
	s.mustPut(1, p)
	if _, err := g.file.WriteAt(salt[:], int64(e.salt)); err != nil {
		t.Fatal(err)
	}
	s.crash()
	got := s.spool.Next(QueueID{1}, 0, 10)
	if len(got) != 1 || !bytes.Equal(got[0].Body, p.Body) {
		t.Fatalf("%d are there, of which the sender had an OK", len(got))
	}
}

// TestManySegmentsAreRecoveredInOrder: they are read side by side.
func TestManySegmentsAreRecoveredInOrder(t *testing.T) {
	s := newStand(t)
	s.spool.SegmentSize = minSegment
	const n = 400
	for i := range n {
		p := envelope(0)
		binary.BigEndian.PutUint32(p.ID[:], uint32(i))
		s.mustPut(byte(i%3), p)
	}
	if len(s.spool.segments) < 16 {
		t.Fatalf("%d segments", len(s.spool.segments))
	}
	s.crash()
	count := 0
	for q := range byte(3) {
		last := uint64(0)
		for i, r := range s.spool.Next(QueueID{q}, 0, n) {
			e := s.spool.index.at(QueueID{q}, r.Sequence)
			if r.Sequence <= last || binary.BigEndian.Uint32(e.id[:]) != uint32(i*3)+uint32(q) {
				t.Fatalf("queue %d: %d out of order", q, r.Sequence)
			}
			last = r.Sequence
			count++
		}
	}
	if count != n {
		t.Fatalf("%d of %d are there", count, n)
	}
}

// TestOthersHaveTheirTurnBetweenTwoSyncs: salts were overwritten in many segments.
func TestOthersHaveTheirTurnBetweenTwoSyncs(t *testing.T) {
	s := newStand(t)
	s.spool.SegmentSize = minSegment
	for i := range byte(100) {
		s.mustPut(1, envelope(i))
	}
	segments := len(s.spool.segments)
	for _, r := range s.spool.Next(QueueID{1}, 0, 100) {
		s.spool.Ack(QueueID{1}, r.Sequence)
	}
	s.spool.writing.Lock()
	defer s.spool.writing.Unlock()
	turns := 0
	if err := s.spool.syncZeros(func() error { turns++; return nil }); err != nil {
		t.Fatal(err)
	}
	if segments < 2 || turns != segments {
		t.Fatalf("%d turns while %d segments were synced", turns, segments)
	}
}

// oneByOne hands in so many envelopes for one queue, each in a batch of its own: the one with
// id i is filled with i+1.
func (w *world) oneByOne(n int) {
	for i := range n {
		p := &promised{queue: QueueID{0}}
		p.Expiry = EpochOf(time.Now(), time.Hour) + 3
		p.Body = bytes.Repeat([]byte{byte(i + 1)}, protocol.EnvelopeSize)
		p.ID[0] = byte(i)
		w.put = append(w.put, p)
		w.handIn(p)
		synctest.Wait()
	}
}

// TestWhatIsGoneStaysGoneAfterAFailedSyncAndAKill: the next life finds zeroed salts in the
// kernel's cache, which takes them for written.
func TestWhatIsGoneStaysGoneAfterAFailedSyncAndAKill(t *testing.T) {
	const all = 8 // of which so many are left that the segment stays
	for seed := range uint64(50) {
		w := newWorld(rand.New(rand.NewPCG(seed, 3)), disktest.New())
		synctest.Test(t, func(*testing.T) {
			time.Sleep(26 * 365 * 24 * time.Hour) // a bubble begins in 2000
			defer w.stop()
			if err := w.open(); err != nil {
				t.Fatal(err)
			}
			w.oneByOne(all) // the first is not the segment's last
			w.spool.Ack(QueueID{0}, w.spool.Next(QueueID{0}, 0, 1)[0].Sequence)
			w.fs.FailAt(w.fs.Ops()+2, syscall.EIO) // behind the write, the sync
			if err := w.spool.Flush(); err == nil {
				t.Fatal("the sync did not fail")
			}
			w.fs.StopAt(w.fs.Ops() + 1)
			w.fs.SyncDir("data") // the program dies in something else than writing the salt again
			w.stop()
			w.fs = w.fs.AfterKill()
			if err := w.open(); err != nil {
				t.Fatal(err)
			}
			if n := len(w.spool.Next(QueueID{0}, 0, 9)); n == all {
				return // the kernel let go of what it could not write: this life owes nothing yet
			}
			if err := w.spool.Flush(); err != nil {
				t.Fatal(err)
			}
			w.stop()
			w.fs = w.fs.AfterPowerLoss(w.r)
			if err := w.open(); err != nil {
				t.Fatal(err)
			}
			if n := len(w.spool.Next(QueueID{0}, 0, 9)); n != all-1 {
				t.Errorf("seed %d: %d envelopes after the power loss, want %d", seed, n, all-1)
			}
		})
	}
}

// TestWhatWasTakenBackDoesNotComeBack: who is told that an envelope was cancelled is told
// so when neither a kill nor a power loss brings it back; a sync that fails is told too.
func TestWhatWasTakenBackDoesNotComeBack(t *testing.T) {
	for seed := range uint64(50) {
		for name, after := range map[string]func(*world) *disktest.FS{
			"kill":       func(w *world) *disktest.FS { return w.fs.AfterKill() },
			"power loss": func(w *world) *disktest.FS { return w.fs.AfterPowerLoss(w.r) },
		} {
			w := newWorld(rand.New(rand.NewPCG(seed, 4)), disktest.New())
			synctest.Test(t, func(*testing.T) {
				time.Sleep(26 * 365 * 24 * time.Hour) // a bubble begins in 2000
				defer w.stop()
				if err := w.open(); err != nil {
					t.Fatal(err)
				}
				w.oneByOne(3)
				cancel := func(id byte) error {
					told := make(chan error, 1)
					w.spool.Cancel(QueueID{0}, MessageID{id}, func(err error) { told <- err })
					return <-told
				}
				w.fs.FailAt(w.fs.Ops()+2, syscall.EIO) // behind the write, the sync
				if err := cancel(0); err == nil {
					t.Errorf("seed %d: the sync failed, and nobody was told", seed)
				}
				for _, id := range []byte{0, 1, 1, 9} { // again, one that waits, twice, and one that there never was
					if err := cancel(id); err != nil {
						t.Fatal(err)
					}
				}
				w.fs.StopAt(w.fs.Ops() + 1)
				w.fs.SyncDir("data") // the program dies
				w.stop()
				w.fs = after(w)
				if err := w.open(); err != nil {
					t.Fatal(err)
				}
				if got := w.spool.Next(QueueID{0}, 0, 9); len(got) != 1 || got[0].Body[0] != 3 {
					t.Errorf("seed %d: %d envelopes after a %s, want the last", seed, len(got), name)
				}
			})
		}
	}
}
