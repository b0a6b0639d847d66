package spool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"kin/internal/disk"
	"kin/protocol"
)

// badReads is a disk of which some of the segments' bytes can't be read.
type badReads struct {
	disk.OS
	bad func(name string, at int64, n int) bool
}

type badFile struct {
	disk.File
	fs   *badReads
	name string
}

func (b *badReads) Create(name string) (disk.File, error) {
	f, err := b.OS.Create(name)
	return badFile{f, b, name}, err
}

func (b *badReads) Open(name string) (disk.File, error) {
	f, err := b.OS.Open(name)
	return badFile{f, b, name}, err
}

func (f badFile) ReadAt(b []byte, at int64) (int, error) {
	if f.fs.bad != nil && strings.HasSuffix(f.name, segmentSuffix) && f.fs.bad(f.name, at, len(b)) {
		return 0, syscall.EIO
	}
	return f.File.ReadAt(b, at)
}

// badStand has n envelopes in the first queue, of which none is in the cache.
func badStand(t *testing.T, n int) (*stand, *badReads) {
	fs := &badReads{}
	s := &stand{t: t, dir: t.TempDir(), fs: fs, max: 1000}
	s.open()
	t.Cleanup(func() { s.spool.Close(); s.slots.Close() })
	s.spool.SegmentSize = minSegment
	for i := range n {
		p := envelope(0)
		binary.BigEndian.PutUint32(p.ID[:], uint32(i))
		s.mustPut(1, p)
	}
	s.crash()
	s.spool.SegmentSize = minSegment
	return s, fs
}

// TestWhatCantBeReadForAMomentIsNotLost: nor is it passed over.
func TestWhatCantBeReadForAMomentIsNotLost(t *testing.T) {
	s, fs := badStand(t, 10)
	var told []QueueID
	s.spool.Ready = func(q []QueueID) { told = append(told, q...) }
	third := *s.spool.index.slab.at(s.spool.index.queues[QueueID{1}].items[2])
	fs.bad = func(_ string, at int64, _ int) bool { return at == int64(third.body) }
	if n := len(s.spool.Next(QueueID{1}, 0, 20)); n != 2 {
		t.Errorf("%d are given before the one that can't be read", n)
	}
	fs.bad = nil
	if err := s.spool.Sweep(time.Now()); err != nil {
		t.Fatal(err)
	}
	if len(told) != 1 || told[0] != (QueueID{1}) {
		t.Errorf("of %d queues somebody is told that they are to be read again", len(told))
	}
	if n := len(s.spool.Next(QueueID{1}, 0, 20)); n != 10 {
		t.Errorf("%d of 10 are there", n)
	}
}

// TestASegmentThatCantBeReadIsMovedLater: the others are moved all the same.
func TestASegmentThatCantBeReadIsMovedLater(t *testing.T) {
	s, fs := badStand(t, 100)
	for i, r := range s.spool.Next(QueueID{1}, 0, 100) {
		if i%9 > 0 {
			s.spool.Ack(QueueID{1}, r.Sequence)
		}
	}
	g := s.spool.inOrder()[1]
	fs.bad = func(name string, _ int64, _ int) bool { return name == g.name }
	if err := s.spool.Sweep(time.Now()); !errors.Is(err, syscall.EIO) {
		t.Errorf("a sweep: %v", err)
	}
	if n := s.spool.Stats().Segments; n != 3 { // it, the spare and the one that is written
		t.Errorf("%d segments are left", n)
	}
	fs.bad = nil
	if err := s.spool.Sweep(time.Now()); err != nil {
		t.Fatal(err)
	}
	if n := len(s.spool.Next(QueueID{1}, 0, 100)); n != 12 {
		t.Errorf("%d of 12 are left", n)
	}
}

// TestAStartPassesOverWhatItCantRead: a bad sector costs what is there, for as long as it is
// bad, and no file. Until then nobody is told that what is not found was taken back.
func TestAStartPassesOverWhatItCantRead(t *testing.T) {
	for name, c := range map[string]struct {
		bad  func(name string, at int64, n int) bool
		want int
	}{
		"the first two batches' heads": {func(_ string, at int64, _ int) bool { return at <= 8192 }, 8},
		"a body":                       {func(_ string, at int64, n int) bool { return at <= 9*8192+4096 && at+int64(n) > 9*8192+4096 }, 10},
		"everything":                   {func(string, int64, int) bool { return true }, 0},
	} {
		s, fs := badStand(t, 10)
		fs.bad = c.bad
		s.crash()
		s.want(c.want)
		if err := s.spool.Sweep(time.Now()); err != nil && !errors.Is(err, syscall.EIO) {
			t.Fatalf("%s: %v", name, err)
		}
		s.mustPut(2, envelope(1))
		if err := <-s.cancel(1, 99); c.want < 10 && err != errMayReturn || c.want == 10 && err != nil {
			t.Errorf("%s: a CANCEL of what is not there: %v", name, err)
		}
		fs.bad = nil
		s.crash()
		if n := len(s.spool.Next(QueueID{1}, 0, 20)); n != 10 {
			t.Errorf("%s: %d of 10 are there when it can be read again", name, n)
		}
	}
}

// TestWhatIsMovedWhileItIsReadIsRead: its segment went between.
func TestWhatIsMovedWhileItIsReadIsRead(t *testing.T) {
	s, fs := badStand(t, 2)
	q := QueueID{1}
	all := s.spool.living(s.spool.inOrder()[0])
	body, err := s.spool.body(&all[0].entry)
	if err != nil {
		t.Fatal(err)
	}
	moved := all[0]
	fs.bad = func(_ string, at int64, _ int) bool {
		if at != int64(moved.body) {
			return false
		}
		fs.bad = nil
		p := &pending{queue: q, seq: moved.seq, Put: Put{ID: moved.id, Expiry: moved.epoch, Body: body}}
		if err := s.spool.replace(all[:1], []*pending{p}); err != nil {
			t.Error(err)
		}
		return true
	}
	if n := len(s.spool.Next(q, 0, 9)); n != 2 {
		t.Errorf("%d are given", n)
	}
}

// TestAStartKeepsWhatLivesLonger: of two copies the longer can't be read for a moment. It may
// be what was promised, or be torn: the other is given meanwhile, and neither is erased.
func TestAStartKeepsWhatLivesLonger(t *testing.T) {
	for name, torn := range map[string]bool{"whole": false, "torn": true} {
		t.Run(name, func(t *testing.T) {
			s, fs := badStand(t, 0)
			q := QueueID{1}
			p := envelope(7)
			s.mustPut(1, p)
			e := *s.spool.index.next(q, 0)
			g := s.spool.segments[e.segment]
			salt := make([]byte, saltSize)
			if _, err := g.file.ReadAt(salt, int64(e.salt)); err != nil {
				t.Fatal(err)
			}
			p.Expiry += 5
			s.mustPut(1, p)
			c := *s.spool.index.next(q, 0)
			if err := s.spool.Flush(); err != nil {
				t.Fatal(err)
			}
			if _, err := g.file.WriteAt(salt, int64(e.salt)); err != nil { // killed before it was overwritten
				t.Fatal(err)
			}
			want := p.Expiry
			if torn {
				want = e.epoch
				if _, err := s.spool.segments[c.segment].file.WriteAt(make([]byte, 512), int64(c.body)+1024); err != nil {
					t.Fatal(err)
				}
			}
			fs.bad = func(_ string, at int64, n int) bool { return at == int64(c.body) && n == sealedEnvelope }
			s.crash()
			if got := s.spool.Next(q, 0, 9); len(got) != 1 || got[0].Expiry != e.epoch {
				t.Errorf("meanwhile %d are given", len(got))
			}
			fs.bad = nil
			for range 2 {
				if err := s.spool.Flush(); err != nil {
					t.Fatal(err)
				}
				s.crash()
				if got := s.spool.Next(q, 0, 9); len(got) != 1 || got[0].Expiry != want {
					t.Errorf("then %d are given; want one until %d", len(got), want)
				}
			}
		})
	}
}

// TestWhatCantBeReadIsMendedByWhoHasIt: who puts it again has it whole.
func TestWhatCantBeReadIsMendedByWhoHasIt(t *testing.T) {
	s, fs := badStand(t, 2)
	e := *s.spool.index.next(QueueID{1}, 0)
	fs.bad = func(_ string, at int64, _ int) bool { return at == int64(e.body) }
	p := envelope(0)
	p.ID, p.Expiry = e.id, e.epoch
	s.mustPut(1, p)
	fs.bad = nil // what lies as far into another segment can be read
	got := s.spool.Next(QueueID{1}, 0, 9)
	if len(got) != 2 || got[0].Sequence != e.seq || !bytes.Equal(got[0].Body[:protocol.EnvelopeSize], p.Body) {
		t.Errorf("%d are given", len(got))
	}
}
