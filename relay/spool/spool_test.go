package spool

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"kin/internal/disk"
	"kin/internal/slots"
	"kin/protocol"
)

// stand is a spool on a real disk, that can be killed and opened again.
type stand struct {
	t       testing.TB
	dir     string
	fs      disk.FS
	slots   *slots.File
	spool   *Spool
	numbers uint64
	max     int
}

func newStand(t testing.TB) *stand {
	s := &stand{t: t, dir: t.TempDir(), fs: disk.OS{}, max: 1 << 16}
	s.open()
	t.Cleanup(func() { s.spool.Close(); s.slots.Close() })
	return s
}

func (s *stand) open() {
	name := filepath.Join(s.dir, "epochs")
	var err error
	if s.slots, err = slots.Open(disk.OS{}, name); errors.Is(err, os.ErrNotExist) {
		s.slots, err = slots.Create(disk.OS{}, name, 352)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.spool, err = Open(Config{FS: s.fs, Dir: filepath.Join(s.dir, "spool"), Key: [32]byte{1}, Slots: s.slots, Epoch: time.Hour,
		SegmentSize: maxBatch, MaxUnread: s.max, UrgentReserve: min(16, s.max/2),
		Reserve: func(n, above uint64) (uint64, error) {
			s.numbers = max(s.numbers, above) + n
			return s.numbers - n + 1, nil
		}})
	if err != nil {
		s.t.Fatal(err)
	}
}

// crash leaves the files as they are and opens them again: what the spool has in
// RAM is gone.
func (s *stand) crash() {
	s.spool.mu.Lock()
	s.spool.closed, s.spool.pending, s.spool.zeros = true, nil, nil
	s.spool.wake.Signal()
	s.spool.mu.Unlock()
	s.spool.writer.Wait()
	s.spool.closeFiles()
	s.slots.Close()
	s.open()
}

func (s *stand) put(q byte, p Put) error {
	done := make(chan error, 1)
	s.spool.writing.Lock() // of what failed before, all were told
	p.Told = s.spool.Told()
	s.spool.writing.Unlock()
	s.spool.Put(QueueID{q}, p, func(err error) { done <- err })
	return <-done
}

func (s *stand) mustPut(q byte, p Put) {
	s.t.Helper()
	if err := s.put(q, p); err != nil {
		s.t.Fatal(err)
	}
}

func now() uint32 { return EpochOf(time.Now(), time.Hour) }

func envelope(id byte) Put {
	body := make([]byte, protocol.EnvelopeSize)
	rand.Read(body)
	return Put{ID: MessageID{id}, Expiry: now() + 3, Body: body}
}

// raw is every byte of the spool's files and the slot file.
func (s *stand) raw() []byte {
	var all []byte
	filepath.WalkDir(s.dir, func(name string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			b, _ := os.ReadFile(name)
			all = append(all, b...)
		}
		return err
	})
	return all
}

func TestPutNextAck(t *testing.T) {
	s := newStand(t)
	var want [][]byte
	for i := range byte(5) {
		p := envelope(i)
		want = append(want, p.Body)
		s.mustPut(1, p)
	}
	got := s.spool.Next(QueueID{1}, 0, 10)
	if len(got) != 5 {
		t.Fatal(len(got))
	}
	for i, r := range got {
		if !bytes.Equal(r.Body, want[i]) || i > 0 && r.Sequence <= got[i-1].Sequence {
			t.Fatalf("record %d is not what was put, in its order", i)
		}
	}
	s.spool.Ack(QueueID{1}, got[0].Sequence, got[3].Sequence, 99)
	if s.spool.Waiting(QueueID{1}) != 3 || s.spool.Waiting(QueueID{2}) != 0 {
		t.Fatal(s.spool.Waiting(QueueID{1}))
	}
	if next := s.spool.Next(QueueID{1}, got[2].Sequence, 10); len(next) != 1 || next[0].Sequence != got[4].Sequence {
		t.Fatal(next)
	}
	s.spool.Drop(QueueID{1}, func(error) {})
	if s.spool.Waiting(QueueID{1}) != 0 {
		t.Fatal("Drop left something")
	}
}

func TestAcknowledgedSurvivesACrashAndErasedStaysErased(t *testing.T) {
	s := newStand(t)
	a, b := envelope(1), envelope(2)
	s.mustPut(1, a)
	s.mustPut(1, b)
	s.crash()
	got := s.spool.Next(QueueID{1}, 0, 10)
	if len(got) != 2 || !bytes.Equal(got[0].Body, a.Body) || !bytes.Equal(got[1].Body, b.Body) {
		t.Fatalf("%d records after the crash", len(got))
	}
	s.spool.Ack(QueueID{1}, got[0].Sequence)
	if err := s.spool.Flush(); err != nil {
		t.Fatal(err)
	}
	s.crash()
	got = s.spool.Next(QueueID{1}, 0, 10)
	if len(got) != 1 || !bytes.Equal(got[0].Body, b.Body) {
		t.Fatalf("%d records after an ACK and a crash", len(got))
	}
}

func TestAckOverwritesTheSaltInPlace(t *testing.T) {
	s := newStand(t)
	s.mustPut(1, envelope(1))
	e := s.spool.index.next(QueueID{1}, 0)
	at, g := int64(e.salt), s.spool.segments[e.segment]
	salt := make([]byte, saltSize)
	g.file.ReadAt(salt, at)
	if bytes.Equal(salt, make([]byte, saltSize)) || !bytes.Contains(s.raw(), salt) {
		t.Fatal("there is no salt")
	}
	s.spool.Ack(QueueID{1}, e.seq)
	if err := s.spool.Flush(); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(s.raw(), salt) {
		t.Fatal("the salt is still on the disk")
	}
}

func TestExpiryDestroysTheKeyAndForgetsTheRecords(t *testing.T) {
	s := newStand(t)
	p := envelope(1)
	s.mustPut(1, p)
	later := envelope(2)
	later.Expiry += 10
	s.mustPut(1, later)
	key := bytes.Clone(s.spool.epochs.keys[p.Expiry].key[:])
	if !bytes.Contains(s.raw(), key) {
		t.Fatal("the key is not on the disk")
	}
	if err := s.spool.Sweep(time.Now()); err != nil || s.spool.Waiting(QueueID{1}) != 2 {
		t.Fatal("swept too early", err)
	}
	if err := s.spool.Sweep(time.Now().Add(4 * time.Hour)); err != nil {
		t.Fatal(err)
	}
	if got := s.spool.Next(QueueID{1}, 0, 10); len(got) != 1 || !bytes.Equal(got[0].Body, later.Body) {
		t.Fatalf("%d records after expiry", len(got))
	}
	if raw := s.raw(); bytes.Contains(raw, key) || bytes.Contains(raw, p.Body[:32]) {
		t.Fatal("the key or the envelope is still on the disk")
	}
	s.crash()
	if n := s.spool.Waiting(QueueID{1}); n != 1 {
		t.Fatalf("%d records after a restart", n)
	}
}

func TestExpiryBelievesNoClockBefore2024(t *testing.T) {
	s := newStand(t)
	s.mustPut(1, envelope(1))
	if err := s.spool.Sweep(time.Unix(0, 0)); !errors.Is(err, ErrClock) {
		t.Fatal(err)
	}
	if s.spool.Waiting(QueueID{1}) != 1 {
		t.Fatal("expired in 1970")
	}
}

func TestRepeatedPutIsOne(t *testing.T) {
	s := newStand(t)
	p := envelope(1)
	s.mustPut(1, p)
	s.mustPut(1, p)
	s.crash()
	s.mustPut(1, p)
	if n := s.spool.Waiting(QueueID{1}); n != 1 {
		t.Fatal(n)
	}
	other := envelope(1)
	if err := s.put(1, other); !errors.Is(err, ErrConflict) {
		t.Fatal(err)
	}
	s.mustPut(2, other) // another queue's ids are its own
}

func TestRepeatedPutOfADamagedRecordStoresItAnew(t *testing.T) {
	s := newStand(t)
	p := envelope(1)
	s.mustPut(1, p)
	e := *s.spool.index.next(QueueID{1}, 0)
	s.flip(int64(e.body) + 100)
	s.mustPut(1, p)
	got := s.spool.Next(QueueID{1}, 0, 10)
	if len(got) != 1 || got[0].Sequence == e.seq || !bytes.Equal(got[0].Body, p.Body) {
		t.Fatal("it was not stored anew")
	}
}

// flip flips a bit of the only segment.
func (s *stand) flip(at int64) {
	var b [1]byte
	for _, g := range s.spool.segments {
		g.file.ReadAt(b[:], at)
		b[0] ^= 4
		g.file.WriteAt(b[:], at)
	}
}

func TestFlippedBitCostsOneRecordAlone(t *testing.T) {
	s := newStand(t)
	var bodies [][]byte
	for i := range byte(3) {
		p := envelope(i)
		bodies = append(bodies, p.Body)
		s.mustPut(1, p)
	}
	e := *s.spool.index.slab.at(s.spool.index.queues[QueueID{1}].items[1])
	s.flip(int64(e.body) + 5)
	s.crash()
	got := s.spool.Next(QueueID{1}, 0, 10)
	if len(got) != 2 || !bytes.Equal(got[0].Body, bodies[0]) || !bytes.Equal(got[1].Body, bodies[2]) {
		t.Fatalf("%d records; want the first and the third", len(got))
	}
}

func TestQueueLimitKeepsAReserveForUrgent(t *testing.T) {
	s := newStand(t)
	s.spool.MaxUnread, s.spool.UrgentReserve = 4, 2
	var full *FullError
	s.mustPut(1, envelope(1))
	s.mustPut(1, envelope(2))
	if err := s.put(1, envelope(3)); !errors.As(err, &full) || full.Wait <= 0 {
		t.Fatal(err)
	}
	urgent := envelope(4)
	urgent.Urgent = true
	s.mustPut(1, urgent)
	s.mustPut(2, envelope(3))
	if got := s.spool.Next(QueueID{1}, 0, 10); len(got) != 3 || !got[2].Urgent {
		t.Fatal("the urgent one is not there, or not urgent")
	}
}

func TestPutRefuses(t *testing.T) {
	s := newStand(t)
	for name, c := range map[string]struct {
		p    Put
		want error
	}{
		"short":   {Put{Expiry: now() + 1, Body: make([]byte, 100)}, ErrSize},
		"past":    {Put{Expiry: now() - 1, Body: make([]byte, protocol.EnvelopeSize)}, ErrExpiry},
		"far":     {Put{Expiry: now() + maxEpochs + 1, Body: make([]byte, protocol.EnvelopeSize)}, ErrExpiry},
		"largest": {Put{Expiry: math.MaxUint32, Body: make([]byte, protocol.EnvelopeSize)}, ErrExpiry},
	} {
		if err := s.put(1, c.p); !errors.Is(err, c.want) {
			t.Errorf("%s: %v; want %v", name, err, c.want)
		}
	}
}

// watched is a file system that notes what happens to files, in order, and can
// fail.
type watched struct {
	disk.OS
	mu   sync.Mutex
	log  []string
	fail func(op string) error

	unsynced, most int // bytes written since the last sync, and the most that a sync had to write
}

type watchedFile struct {
	disk.File
	fs *watched
}

func (w *watched) note(op string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, op)
	if w.fail != nil {
		return w.fail(op)
	}
	return nil
}

func (w *watched) Create(name string) (disk.File, error) {
	if err := w.note("create"); err != nil {
		return nil, err
	}
	f, err := w.OS.Create(name)
	return &watchedFile{f, w}, err
}
func (w *watched) SyncDir(dir string) error { w.note("syncdir"); return w.OS.SyncDir(dir) }
func (w *watched) Remove(name string) error { w.note("remove"); return w.OS.Remove(name) }
func (f *watchedFile) WriteAt(b []byte, at int64) (int, error) {
	op := "write"
	if len(b)%saltSize == 0 && len(b) < boundary {
		op = "zero"
	}
	if err := f.fs.note(op); err != nil {
		return 0, err
	}
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	f.fs.unsynced += len(b)
	f.fs.most = max(f.fs.most, f.fs.unsynced)
	return f.File.WriteAt(b, at)
}
func (f *watchedFile) Sync() error {
	if err := f.fs.note("sync"); err != nil {
		return err
	}
	f.fs.mu.Lock()
	f.fs.unsynced = 0
	f.fs.mu.Unlock()
	return f.File.Sync()
}

func TestDoneComesAfterTheSync(t *testing.T) {
	w := &watched{}
	s := &stand{t: t, dir: t.TempDir(), fs: w, max: 100}
	s.open()
	defer s.spool.Close()
	done := make(chan []string, 1)
	w.log = nil
	s.spool.Put(QueueID{1}, envelope(1), func(err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		done <- append(slices.Clone(w.log), fmt.Sprint(err))
	})
	log := <-done
	want := []string{"create", "syncdir", "write", "write", "sync", "<nil>"} // the first write is of zeros
	if !slices.Equal(log, want) {
		t.Fatalf("%q; want %q", log, want)
	}
}

// A segment grows little by little: all commits wait for the sync that takes its zeros
// along, and 4 MiB took 20 ms (docs/performance.md, Under attack).
func TestNoCommitWaitsForManyZeros(t *testing.T) {
	w := &watched{}
	s := &stand{t: t, dir: t.TempDir(), fs: w, max: 1000}
	s.open()
	defer s.spool.Close()
	w.most = 0
	const many = 300
	for i := range many {
		p := envelope(byte(i))
		p.ID[1] = byte(i >> 8)
		s.mustPut(1, p)
	}
	record := 2 * boundary // what one takes, rounded up
	if w.most < 4*record {
		t.Fatalf("a sync wrote %d bytes at most: no segment grew", w.most)
	}
	if w.most > 256<<10+record {
		t.Errorf("a sync of one message had %d bytes to write", w.most)
	}
}

func TestZeroedSaltsAreSyncedBeforeTheirSegmentGoes(t *testing.T) {
	w := &watched{}
	s := &stand{t: t, dir: t.TempDir(), fs: w, max: 100}
	s.open()
	defer s.spool.Close()
	s.mustPut(1, envelope(1))
	s.spool.writing.Lock()
	s.spool.open.size, s.spool.open = boundary, nil // as if it were full, and small: it is unlinked
	s.spool.writing.Unlock()
	w.log = nil
	s.spool.Drop(QueueID{1}, func(error) {})
	if err := s.spool.Sweep(time.Now()); err != nil {
		t.Fatal(err)
	}
	if want := []string{"zero", "sync", "remove", "syncdir"}; !slices.Equal(w.log, want) {
		t.Fatalf("%q; want %q", w.log, want)
	}
}

func TestFailedSyncRefusesTheBatchAndTheSpoolGoesOn(t *testing.T) {
	w := &watched{}
	s := &stand{t: t, dir: t.TempDir(), fs: w, max: 100}
	s.open()
	defer s.spool.Close()
	s.mustPut(1, envelope(1))
	broken := errors.New("I/O error")
	for _, op := range []string{"write", "sync"} {
		w.fail = func(o string) error {
			if o == op {
				return broken
			}
			return nil
		}
		if err := s.put(1, envelope(2)); !errors.Is(err, broken) {
			t.Fatalf("%s fails: %v", op, err)
		}
		w.fail = nil
	}
	s.mustPut(1, envelope(3))
	if n := s.spool.Waiting(QueueID{1}); n != 2 {
		t.Fatal(n)
	}
	s.crash()
	if got := s.spool.Next(QueueID{1}, 0, 9); len(got) < 2 {
		t.Fatalf("%d records are left of two that were acknowledged", len(got))
	}
}

// A place on the disk that can't be written any more refuses nobody, and is tried
// again.
func TestASaltThatCantBeOverwrittenRefusesNobody(t *testing.T) {
	w := &watched{}
	s := &stand{t: t, dir: t.TempDir(), fs: w, max: 100}
	s.open()
	defer s.spool.Close()
	s.mustPut(1, envelope(1))
	e := *s.spool.index.next(QueueID{1}, 0)
	salt := make([]byte, saltSize)
	s.spool.segments[e.segment].file.ReadAt(salt, int64(e.salt))
	w.mu.Lock()
	w.fail = func(op string) error {
		if op == "zero" {
			return errors.New("I/O error")
		}
		return nil
	}
	w.mu.Unlock()
	s.spool.Ack(QueueID{1}, e.seq)
	s.mustPut(1, envelope(2))
	if err := s.spool.Flush(); err == nil {
		t.Fatal("the salt could not be overwritten, and nobody was told")
	}
	if !bytes.Contains(s.raw(), salt) {
		t.Fatal("it was overwritten after all")
	}
	w.mu.Lock()
	w.fail = nil
	w.mu.Unlock()
	if err := s.spool.Flush(); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(s.raw(), salt) {
		t.Fatal("it was not tried again")
	}
}

func TestEpochKeyIsOnTheDiskBeforeItsBatch(t *testing.T) {
	w := &watched{}
	s := &stand{t: t, dir: t.TempDir(), fs: w, max: 100}
	s.open()
	defer s.spool.Close()
	p := envelope(1)
	keyed := false
	w.fail = func(op string) error {
		if op == "write" {
			for i := range s.slots.Len() {
				if b, _ := s.slots.Get(i); b != nil && binary.BigEndian.Uint32(b) == p.Expiry {
					keyed = true
				}
			}
		}
		return nil
	}
	s.mustPut(1, p)
	if !keyed {
		t.Fatal("the batch was written before its key")
	}
}

func TestCompactionBoundsTheDiskAndKeepsOrder(t *testing.T) {
	s := newStand(t)
	var kept []Put
	for i := range 3000 {
		p := envelope(0)
		binary.BigEndian.PutUint32(p.ID[1:], uint32(i))
		s.mustPut(byte(i%7), p)
		if i%50 == 0 {
			kept = append(kept, p)
			continue
		}
		q := QueueID{byte(i % 7)}
		e := s.spool.index.find(q, p.ID)
		s.spool.Ack(q, e.seq)
		if i%500 == 499 {
			if err := s.spool.Sweep(time.Now()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.spool.Sweep(time.Now()); err != nil {
		t.Fatal(err)
	}
	if st := s.spool.Stats(); st.Messages != len(kept) || st.Bytes > 2*st.Live+2*maxBatch {
		t.Fatalf("%d bytes on the disk for %d live", st.Bytes, st.Live)
	}
	for range 2 {
		var bodies [][]byte
		for q := range byte(7) {
			after := uint64(0)
			for _, r := range s.spool.Next(QueueID{q}, 0, 1000) {
				if r.Sequence <= after {
					t.Fatal("out of order")
				}
				after = r.Sequence
				bodies = append(bodies, r.Body)
			}
		}
		if len(bodies) != len(kept) {
			t.Fatalf("%d of %d are left", len(bodies), len(kept))
		}
		for _, p := range kept {
			if !slices.ContainsFunc(bodies, func(b []byte) bool { return bytes.Equal(b, p.Body) }) {
				t.Fatal("one is not what it was")
			}
		}
		s.crash()
	}
}

// TestModel compares the spool with a map, through crashes.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := newStand(t)
		type key struct {
			q  byte
			id byte
		}
		model, back := map[key][]byte{}, map[key]bool{}
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			k := key{rapid.ByteRange(1, 3).Draw(rt, "queue"), rapid.ByteRange(1, 6).Draw(rt, "id")}
			switch rapid.IntRange(0, 6).Draw(rt, "what") {
			case 0, 1, 2:
				p := envelope(k.id)
				err := s.put(k.q, p)
				if had := model[k]; (had != nil) != errors.Is(err, ErrConflict) {
					rt.Fatalf("put again: %v", err)
				} else if had == nil && !back[k] {
					model[k] = p.Body
				}
			case 3:
				s.spool.Cancel(QueueID{k.q}, MessageID{k.id}, func(error) {})
				delete(model, k)
				back[k] = true
			case 4:
				if err := s.spool.Flush(); err != nil {
					rt.Fatal(err)
				}
				s.crash()
				clear(back)
			case 6:
				if e := s.spool.index.find(QueueID{k.q}, MessageID{k.id}); e != nil {
					s.spool.Ack(QueueID{k.q}, e.seq)
				}
				delete(model, k)
			case 5:
				if err := s.spool.Sweep(time.Now()); err != nil {
					rt.Fatal(err)
				}
			}
			for q := range byte(4) {
				n := 0
				for mk := range model {
					if mk.q == q {
						n++
					}
				}
				got := s.spool.Next(QueueID{q}, 0, 100)
				if len(got) != n || s.spool.Waiting(QueueID{q}) != n {
					rt.Fatalf("queue %d: %d records, want %d", q, len(got), n)
				}
				for _, r := range got {
					found := false
					for mk, body := range model {
						found = found || mk.q == q && bytes.Equal(body, r.Body)
					}
					if !found {
						rt.Fatal("a record that was never put")
					}
				}
			}
		}
	})
}

func FuzzBatchHeader(f *testing.F) {
	key := [32]byte{1}
	l := layout{segment: 7, number: 9, epochs: []uint32{1, 2}, classes: []uint8{0, 1}}
	b := make([]byte, boundary)
	l.putHead(b, &key)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		l, proven := parseHead(b, newMAC(&key))
		if !proven {
			return
		}
		again := make([]byte, l.headEnd())
		l.putHead(again, &key)
		if !bytes.Equal(again, b[:len(again)]) {
			t.Fatal("what parses does not marshal to the same bytes")
		}
	})
}
