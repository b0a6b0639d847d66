package spool

import (
	"bytes"
	"encoding/binary"
	"testing"
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
