package spool

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"kin/internal/disk"
	"kin/protocol"
)

const writers = 64

// run has 64 writers share n operations.
func run(n int, f func(writer, i int)) time.Duration {
	begun := time.Now()
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := w; i < n; i += writers {
				f(w, i)
			}
		})
	}
	all.Wait()
	return time.Since(begun)
}

// bare is a group-committed append and nothing else: the floor. It grows its file
// with zeros in the same steps as a segment.
type bare struct {
	g segment

	mu   sync.Mutex
	wake *sync.Cond
	wait []chan error
	data [][]byte
	stop bool
}

func newBare(b *testing.B) *bare {
	f, err := disk.OS{}.Create(filepath.Join(b.TempDir(), "log"))
	if err != nil {
		b.Fatal(err)
	}
	x := &bare{g: segment{file: f}}
	x.wake = sync.NewCond(&x.mu)
	go x.write()
	b.Cleanup(func() { x.mu.Lock(); x.stop = true; x.wake.Signal(); x.mu.Unlock() })
	return x
}

func (x *bare) write() {
	var buf []byte
	for {
		x.mu.Lock()
		for len(x.data) == 0 && !x.stop {
			x.wake.Wait()
		}
		if x.stop {
			x.mu.Unlock()
			return
		}
		data, wait := x.data, x.wait
		x.data, x.wait = nil, nil
		x.mu.Unlock()
		buf = buf[:0]
		for _, d := range data {
			buf = append(buf, d...)
		}
		size, err := x.g.grow(x.g.end+int64(len(buf)), math.MaxInt64)
		x.g.size = size
		if err == nil {
			_, err = x.g.file.WriteAt(buf, x.g.end)
		}
		x.g.end += int64(len(buf))
		if err == nil {
			err = x.g.file.Sync()
		}
		for _, w := range wait {
			w <- err
		}
	}
}

func (x *bare) append(b []byte) error {
	done := make(chan error, 1)
	x.mu.Lock()
	x.data, x.wait = append(x.data, b), append(x.wait, done)
	x.wake.Signal()
	x.mu.Unlock()
	return <-done
}

// BenchmarkDurable prints, for 4 KiB and 64 writers in one run: operations a second
// of put+next+ack, their ratio to the bare append, and that of random classes to a
// single one; each a median of rounds.
func BenchmarkDurable(b *testing.B) {
	body := make([]byte, protocol.EnvelopeSize)
	cycle := func(s *stand, expiry func() uint32) func(w, i int) {
		return func(w, i int) {
			q := QueueID{byte(w), 1}
			p := Put{Expiry: expiry(), Body: body}
			binary.BigEndian.PutUint64(p.ID[:], uint64(i)+1)
			if err := s.put64(q, p); err != nil {
				b.Error(err)
				return
			}
			records := s.spool.Next(q, 0, 1) // and Forget, as the relay does
			for _, r := range records {
				s.spool.Ack(q, r.Sequence)
			}
			Forget(records)
		}
	}
	n := max(b.N, 15000) // as many as one segment takes: both grow their files
	var rates, ofBare, ofOne []float64
	for range 7 { // interleaved: the machine is shared
		x := newBare(b)
		appended := run(n, func(int, int) { x.append(body) })
		one := run(n, cycle(newBenchStand(b), func() uint32 { return now() + 72 }))
		random := run(n, cycle(newBenchStand(b), func() uint32 { return now() + uint32(protocol.TTLClasses[rand.IntN(6)]) }))
		rates = append(rates, float64(n)/one.Seconds())
		ofBare = append(ofBare, appended.Seconds()/one.Seconds())
		ofOne = append(ofOne, one.Seconds()/random.Seconds())
	}
	b.ReportMetric(median(rates), "put+get+ack/s")
	b.ReportMetric(median(ofBare), "of-bare")
	b.ReportMetric(median(ofOne), "random-classes-of-one")
	b.ReportMetric(0, "ns/op")
}

func median(x []float64) float64 {
	slices.Sort(x)
	return x[len(x)/2]
}

func newBenchStand(b *testing.B) *stand {
	s := newStand(b)
	s.spool.SegmentSize = 64 << 20
	return s
}

func (s *stand) put64(q QueueID, p Put) error {
	done := make(chan error, 1)
	s.spool.Put(q, p, func(err error) { done <- err })
	return <-done
}

// BenchmarkExpiry prints the disk operations of a sweep that expires an epoch of 100
// and of 5,000 records.
func BenchmarkExpiry(b *testing.B) {
	for range b.N {
		for _, n := range []int{100, 5000} {
			w := &watched{}
			s := &stand{t: b, dir: b.TempDir(), fs: w, max: 1 << 16}
			s.open()
			run(n, func(_, i int) {
				p := envelope(1)
				binary.BigEndian.PutUint64(p.ID[:], uint64(i))
				s.put64(QueueID{byte(i)}, p)
			})
			w.log = nil
			if err := s.spool.expire(now() + 5); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(len(w.log)), fmt.Sprintf("segment-operations-%d", n))
			if s.spool.Stats().Messages != 0 {
				b.Fatal("not expired")
			}
			s.spool.Close()
		}
	}
	b.ReportMetric(0, "ns/op")
}

// BenchmarkIndex prints the bytes of RAM that a stored message takes.
func BenchmarkIndex(b *testing.B) {
	const n = 1 << 20
	for range b.N {
		var x index
		x.queues = map[QueueID]*queue{}
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for i := range n {
			var q QueueID
			binary.BigEndian.PutUint32(q[:], uint32(i%(n/64)))
			x.add(q, entry{seq: uint64(i) + 1})
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "bytes/message")
		runtime.KeepAlive(&x)
	}
	b.ReportMetric(0, "ns/op")
}
