package spool

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	mrand "math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"kin/internal/disk"
	"kin/protocol"
)

var mixes = flag.Int("mixes", 3, "random mixes of lives whose disk is looked at")

// noSync is a disk without waiting: what lies on it is the same.
type noSync struct{ disk.OS }

type noSyncFile struct{ disk.File }

func (noSync) Create(name string) (disk.File, error) {
	f, err := disk.OS{}.Create(name)
	return noSyncFile{f}, err
}

func (noSync) Open(name string) (disk.File, error) {
	f, err := disk.OS{}.Open(name)
	return noSyncFile{f}, err
}

func (noSyncFile) Sync() error { return nil }

// mix is a random way in which a relay is used.
type mix struct {
	r      *mrand.Rand
	under  int      // puts under way: 1 makes a batch of each
	lives  []uint16 // in epochs
	chunks float64  // share of puts
	acked  float64  // share of what waits, an epoch
	rate   int      // puts an epoch
	begins float64  // chance of a start, an epoch
}

func newMix(seed uint64) *mix {
	r := mrand.New(mrand.NewPCG(seed, 2))
	m := &mix{r: r, under: []int{1, 1, 4, 64, 512}[r.IntN(5)], rate: 5 + r.IntN(150)}
	m.acked = []float64{0, 0.02, 0.3, 0.9}[r.IntN(4)]
	m.chunks = []float64{0, 0, 0.05}[r.IntN(3)]
	m.begins = []float64{0, 0.1, 0.8}[r.IntN(3)]
	for range 1 + r.IntN(6) {
		m.lives = append(m.lives, protocol.TTLClasses[r.IntN(len(protocol.TTLClasses))])
	}
	return m
}

func (m *mix) String() string {
	return fmt.Sprintf("%d puts an hour, %d under way, lives %v h, %.0f%% chunks; an hour, %.0f%% are collected, %.0f%% starts",
		m.rate, m.under, m.lives, 100*m.chunks, 100*m.acked, 100*m.begins)
}

// run plays a mix for 60 hours, and returns the largest share of the disk to what
// lives, of what is above the two segments that are written and kept; and how much
// was stored then.
func (m *mix) run(t *testing.T) (worst float64, lives, takes int64) {
	s := &stand{t: t, dir: t.TempDir(), fs: noSync{}, max: 1 << 16}
	s.open()
	defer func() { s.spool.Close(); s.slots.Close() }()
	const segment = 1 << 20
	s.spool.SegmentSize = segment
	n := uint64(0)
	for hour := range 60 {
		free := make(chan error, m.under)
		for range m.under {
			free <- nil
		}
		for range m.rate {
			if err := <-free; err != nil {
				t.Fatal(err)
			}
			n++
			p := Put{Expiry: now() + uint32(m.lives[m.r.IntN(len(m.lives))]), Body: make([]byte, protocol.EnvelopeSize)}
			if m.r.Float64() < m.chunks {
				p.Body = make([]byte, protocol.ChunkSize)
			}
			binary.BigEndian.PutUint64(p.ID[:], n)
			rand.Read(p.Body[:16])
			s.spool.Put(QueueID{byte(n)}, p, func(err error) { free <- err })
		}
		for range m.under {
			if err := <-free; err != nil {
				t.Fatal(err)
			}
		}
		var live int64
		for q := range 256 {
			after := uint64(0)
			for {
				r := s.spool.Next(QueueID{byte(q)}, after, 64)
				if len(r) == 0 {
					break
				}
				for _, r := range r {
					after = r.Sequence
					switch {
					case m.r.Float64() < m.acked:
						s.spool.Ack(QueueID{byte(q)}, r.Sequence)
					case r.Expiry > now():
						live += int64(len(r.Body))
					}
				}
			}
		}
		time.Sleep(time.Hour)
		if m.r.Float64() < m.begins {
			if err := s.spool.Close(); err != nil {
				t.Fatal(err)
			}
			s.slots.Close()
			s.open()
			s.spool.SegmentSize = segment
		}
		if err := s.spool.Sweep(time.Now()); err != nil {
			t.Fatal(err)
		}
		files, err := filepath.Glob(filepath.Join(s.dir, "spool", "*"))
		if err != nil {
			t.Fatal(err)
		}
		var bytes int64
		for _, name := range files {
			st, err := os.Stat(name)
			if err != nil {
				t.Fatal(err)
			}
			bytes += st.Size()
		}
		if bytes > 2*live+2*segment {
			t.Fatalf("%v, hour %d: %d bytes in %d files for %d that live", m, hour, bytes, len(files), live)
		}
		if share := float64(bytes-2*segment) / float64(live); live > 0 && share > worst {
			worst, lives, takes = share, live, bytes
		}
	}
	return worst, lives, takes
}

// TestDiskIsAtMostTwiceWhatLives: whatever lives envelopes are given, however few a
// batch has, whichever are collected, and however often the relay starts, a sweep
// leaves at most twice the bytes of the bodies that live, and two segments. More:
// -args -mixes 500.
func TestDiskIsAtMostTwiceWhatLives(t *testing.T) {
	worst, n := 0.0, *mixes
	if testing.Short() {
		n = 1
	}
	for seed := range uint64(n) {
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(26 * 365 * 24 * time.Hour)
			m := newMix(seed)
			share, live, bytes := m.run(t)
			t.Logf("at most %.2f (%.1f MB for %.1f MB that live, two segments of 1 MB not counted): %v", share, float64(bytes)/1e6, float64(live)/1e6, m)
			worst = max(worst, share)
		})
	}
	t.Logf("%d mixes, at most %.2f times what lives", n, worst)
}

// TestBatchesThatFailLeaveFewFiles: the disk is full, or can't sync, for as long as three
// hundred are tried.
func TestBatchesThatFailLeaveFewFiles(t *testing.T) {
	for _, bad := range []string{"write", "sync"} {
		s, w := watchedStand(t, 1000)
		s.mustPut(1, envelope(0))
		w.mu.Lock()
		w.fail = func(op string) error {
			if op == bad {
				return syscall.EDQUOT
			}
			return nil
		}
		w.mu.Unlock()
		for range 300 {
			if err := s.put(1, envelope(1)); !errors.Is(err, syscall.EDQUOT) {
				t.Fatalf("%s fails: %v", bad, err)
			}
		}
		w.mu.Lock()
		w.fail = nil
		w.mu.Unlock()
		if n := s.spool.Stats().Segments; n > 1+maxFailed {
			t.Errorf("%s fails: %d files are open", bad, n)
		}
		s.mustPut(1, envelope(1))
		if err := s.spool.Sweep(time.Now()); err != nil {
			t.Fatal(err)
		}
		if n := s.spool.Stats().Segments; n > 2 {
			t.Errorf("when the disk is well again, %d files stay", n)
		}
		s.crash()
		s.want(2)
	}
}
