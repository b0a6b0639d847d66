package spool

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"kin/internal/disk"
)

// A segment is filled with zeros for four times what is to be written, within these
// bounds. All commits wait for it, and 4 MiB take 10 ms; in many small steps a file takes
// longer to grow.
const growLeast, growMost = 256 << 10, 4 << 20

var blank [growMost]byte

// segment is a file of batches. id names its present life: the number of its first
// batch, which no other life has.
type segment struct {
	file   disk.File
	number uint32 // its place in memory, for entries
	name   string

	// Guarded by Spool.writing.
	id   uint64
	end  int64 // where the next batch goes
	last uint64

	size int64 // of the file; written under Spool.writing and Spool.mu

	// Guarded by Spool.mu.
	records int // in this life
	gone    int // of them, erased, moved or expired
	live    int64
	unread  bool // a start could not read all, or believe nothing: it stays as it is

	reading sync.RWMutex // held to read; held fully when the file goes or begins another life

	// Guarded by Spool.writing.
	dirty  bool    // written since its last sync
	zeroed []place // salts that were overwritten since then
}

const segmentSuffix = ".seg"

// newSegment begins a segment with batch numbers of its own: a spare file's new
// life, for writing over what is there is faster than extending, or a new file.
func (s *Spool) newSegment() (*segment, error) {
	if s.spare == nil {
		if err := s.reclaim(); err != nil && s.spare == nil {
			if s.failedFiles() >= maxFailed {
				return nil, err
			}
			s.Log.Error("no segment could be used again", "error", err) // a new file does as well
		}
	}
	n := uint64(s.SegmentSize / boundary)
	first, err := s.Reserve(n, s.highest) // whoever counts them may know less than the files
	if err != nil {
		return nil, fmt.Errorf("batch numbers: %w", err)
	}
	g := s.spare
	if g != nil {
		s.spare = nil
		g.reading.Lock()
		g.id, g.end, g.last = first, 0, first
		g.reading.Unlock()
		s.mu.Lock()
		g.records, g.gone, g.live = 0, 0, 0
		s.mu.Unlock()
		return g, nil
	}
	name := filepath.Join(s.Dir, fmt.Sprintf("%016x%s", first, segmentSuffix))
	f, err := s.FS.Create(name)
	if err != nil {
		return nil, err
	}
	if err := s.FS.SyncDir(s.Dir); err != nil {
		return nil, errors.Join(err, f.Close(), s.FS.Remove(name))
	}
	return s.addSegment(&segment{file: f, name: name, id: first, last: first}), nil
}

// reclaim makes a segment whose records are all gone the spare, if there is one, a whole
// one rather than what a batch that failed has left: what was collected a moment ago need
// not wait for the next sweep. writing is held.
func (s *Spool) reclaim() error {
	s.mu.Lock()
	gone := false
	for _, g := range s.segments {
		gone = gone || g != s.open && g.gone == g.records && !g.unread
	}
	s.mu.Unlock()
	if !gone {
		return nil
	}
	err := s.syncZeros()
	if empty := s.keepSpare(s.empty()); s.spare == nil && len(empty) > 0 {
		s.spare = empty[0]
	}
	return err
}

// maxFailed is how many files batches that failed may leave, while they can't be used again.
const maxFailed = 8

// failedFiles is how many there are.
func (s *Spool) failedFiles() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.segments {
		if g != s.open && g.records == 0 && !g.unread {
			n++
		}
	}
	return n
}

// inOrder are the segments, the oldest first: what is done to the disk is done in
// the same order every time. mu is held.
func (s *Spool) inOrder() []*segment {
	return slices.SortedFunc(maps.Values(s.segments), func(a, b *segment) int { return cmp.Compare(a.number, b.number) })
}

func (s *Spool) addSegment(g *segment) *segment {
	s.mu.Lock()
	defer s.mu.Unlock()
	g.number = s.nextSeg
	s.nextSeg++
	s.segments[g.number] = g
	return g
}

// grow fills the segment with zeros up to end at least, and up to limit at most if
// that is enough. It returns the file's size.
func (g *segment) grow(end, limit int64) (size int64, err error) {
	step := min(max(4*(end-g.end), growLeast), growMost)
	for size = g.size; size < end; {
		to := min(size+step, max(limit, end))
		if _, err := g.file.WriteAt(blank[:to-size], size); err != nil {
			return size, err
		}
		size = to
	}
	return size, nil
}

// segmentNames are the segment files in the folder, the oldest first.
func (s *Spool) segmentNames() ([]string, error) {
	names, err := s.FS.List(s.Dir)
	names = slices.DeleteFunc(names, func(n string) bool {
		_, err := strconv.ParseUint(strings.TrimSuffix(n, segmentSuffix), 16, 64)
		return err != nil || !strings.HasSuffix(n, segmentSuffix)
	})
	slices.Sort(names)
	return names, err
}

// lost counts a record that its segment no longer has. mu is held.
func (s *Spool) lost(e *entry) {
	if g := s.segments[e.segment]; g != nil {
		g.gone++
		g.live -= int64(bodySizes[e.class])
	}
}
