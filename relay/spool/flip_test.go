package spool

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"kin/internal/disk/disktest"
)

var flips = flag.Int("flips", 1500, "bits of a spool to flip, each alone; 0 for one in each byte")

// TestFlippedBitAnywhere flips a bit of a segment with three batches of three
// envelopes, and starts a spool on it. Where docs/spool-format.md says that a byte belongs to
// one record, that one is gone and no other; of a batch's header, that batch;
// of the zeros between, none. What is served is always what was put. All bytes: -args -flips 0.
func TestFlippedBitAnywhere(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT RUN with -short: its threads are those of TestModel")
	}
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(26 * 365 * 24 * time.Hour) // a bubble begins in 2000
		w := newWorld(rand.New(rand.NewPCG(1, 7)), disktest.New())
		if err := w.open(); err != nil {
			t.Fatal(err)
		}
		for batch := range 3 {
			w.spool.writing.Lock() // so that all three wait, and go together
			for i := range 3 {
				p := envelope(byte(3*batch + i))
				w.put = append(w.put, &promised{Put: p})
				w.spool.Put(QueueID{}, Put{p.ID, p.Expiry, false, bytes.Clone(p.Body), w.spool.Told()}, func(err error) {
					if err != nil {
						t.Error(err)
					}
				})
			}
			w.spool.writing.Unlock()
			if err := w.spool.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		segment := w.spool.open.name
		w.stop()
		w.fs = w.fs.AfterKill()
		f, err := w.fs.Open(segment)
		if err != nil {
			t.Fatal(err)
		}
		size, err := f.Size()
		if err != nil {
			t.Fatal(err)
		}
		raw := make([]byte, size)
		if _, err := f.ReadAt(raw, 0); err != nil {
			t.Fatal(err)
		}
		owner, end, err := owners(raw)
		if err != nil {
			t.Fatal(err)
		}
		stride := 1
		if *flips > 0 {
			stride = max(1, end / *flips)
		}
		count := map[string]int{}
		for at := w.r.IntN(stride); at < end; at += stride {
			bit := byte(1) << w.r.IntN(8)
			lost, err := w.flipped(segment, at, raw[at]^bit)
			if err != nil {
				t.Fatalf("bit %#x of byte %d: %v", bit, at, err)
			}
			if want := owner[at]; fmt.Sprint(lost) != fmt.Sprint(want) {
				t.Fatalf("bit %#x of byte %d cost %v; want %v", bit, at, lost, want)
			}
			count[map[int]string{0: "nobody's", 1: "records'", 3: "batches'"}[len(lost)]]++
		}
		t.Logf("%d flipped bits: %d in records and %d in batch headers cost these alone, %d in zeros between cost nothing; no violation",
			count["records'"]+count["batches'"]+count["nobody's"], count["records'"], count["batches'"], count["nobody's"])
		if count["records'"] == 0 || count["batches'"] == 0 {
			t.Error("not every kind of byte was met")
		}
	})
}

// owners tells for each byte which envelopes it costs, with the offsets that
// docs/spool-format.md gives for batches of three of class 0.
func owners(raw []byte) (owner map[int][]int, end int, err error) {
	owner = map[int][]int{}
	own := func(from, n int, who ...int) {
		for i := range n {
			owner[from+i] = who
		}
	}
	const n = 3
	for batch := range 3 {
		if string(raw[end:end+8]) != "kinspl\x00\x01" || binary.BigEndian.Uint32(raw[end+24:]) != n {
			return nil, 0, fmt.Errorf("no batch of %d at %d", n, end)
		}
		first := n * batch
		own(end, 32+5*n+32, first, first+1, first+2)
		salts := end + (32+5*n+32+31)/32*32
		headers := salts + 32*n
		bodies := headers + 77*n
		for i := range n {
			own(salts+32*i, 32, first+i)
			own(headers+77*i, 77, first+i)
			own(bodies+4112*i, 4112, first+i)
		}
		end += (bodies + 4112*n - end + 4095) / 4096 * 4096
	}
	return owner, end, nil
}

// flipped starts a spool whose segment has another byte, and tells which envelopes
// are no more.
func (w *world) flipped(segment string, at int, b byte) (lost []int, err error) {
	after := newWorld(w.r, w.fs.AfterPowerLoss(w.r))
	after.numbers = w.numbers
	f, err := after.fs.Open(segment)
	if err != nil {
		return nil, err
	}
	if _, err := f.WriteAt([]byte{b}, int64(at)); err != nil {
		return nil, err
	}
	defer after.stop()
	if err := after.open(); err != nil {
		return nil, err
	}
	served := after.spool.Next(QueueID{}, 0, 100)
	for i, p := range w.put {
		if len(served) > 0 && bytes.Equal(served[0].Body, p.Body) {
			served = served[1:]
			continue
		}
		lost = append(lost, i)
	}
	if len(served) > 0 {
		return nil, fmt.Errorf("%d envelopes that nobody put, or out of order", len(served))
	}
	return lost, nil
}
