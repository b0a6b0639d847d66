package spool

import (
	"bytes"
	crand "crypto/rand"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"kin/internal/disk"
	"kin/internal/disk/disktest"
	"kin/internal/slots"
	"kin/proof/history"
	"kin/protocol"
)

var (
	crashes    = flag.Int("crashes", 1500, "crash images of the spool to look at")
	firstSeed  = flag.Uint64("seed", 1, "of the first history")
	historyIn  = flag.String("history", "", "file to which the histories are appended, for kin/proof/checker")
	historyLog *history.Log
)

// world is a spool on a disk that stops, and what it owes to those who used it.
type world struct {
	r       *rand.Rand
	fs      *disktest.FS
	slots   *slots.File
	spool   *Spool
	numbers uint64 // reserved; in the product they are in bbolt

	sweeping bool

	mu    sync.Mutex
	put   []*promised
	keys  [][]byte         // of epochs that were destroyed
	woken map[QueueID]bool // queues of which Ready told
	read  map[QueueID]uint64

	noting sync.Mutex
	trace  []string
}

func newWorld(r *rand.Rand, fs *disktest.FS) *world {
	return &world{r: r, fs: fs, woken: map[QueueID]bool{}, read: map[QueueID]uint64{}}
}

func (w *world) note(format string, args ...any) {
	w.noting.Lock()
	defer w.noting.Unlock()
	w.trace = append(w.trace, fmt.Sprintf("%d: ", w.fs.Ops())+fmt.Sprintf(format, args...))
}

// promised is an envelope that was put.
type promised struct {
	queue QueueID
	Put
	must   bool      // an OK was given, and it was neither collected nor did it expire
	until  uint32    // the epoch for which that was given
	may    bool      // it may be there
	erased bool      // it was collected in this life
	asking bool      // it was put, and there was no OK yet
	taken  time.Time // when it was taken back in this life: a PUT of it comes too late
}

func (w *world) open() error {
	if err := w.fs.MkdirAll("data"); err != nil {
		return err
	}
	if err := w.fs.SyncDir("."); err != nil {
		return err
	}
	var err error
	if w.slots, err = slots.Open(w.fs, "data/epochs"); errors.Is(err, fs.ErrNotExist) {
		w.slots, err = slots.Create(w.fs, "data/epochs", 8)
	}
	if err != nil {
		return err
	}
	w.spool, err = Open(Config{FS: &amid{w.fs, w.amidSweep}, Dir: "data/spool", Key: [32]byte{1}, Slots: w.slots, Epoch: time.Hour, SegmentSize: minSegment,
		MaxUnread: maxUnread, UrgentReserve: urgentReserve, Ready: w.ready,
		Reserve: func(n, above uint64) (uint64, error) {
			w.numbers = max(w.numbers, above) + n
			return w.numbers - n + 1, nil
		}})
	return err
}

// A queue is full soon.
const (
	maxUnread     = 12
	urgentReserve = 3
)

func (w *world) ready(queues []QueueID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, q := range queues {
		w.woken[q] = true
	}
}

// step does something that a relay does.
func (w *world) step() error {
	switch w.r.IntN(9) {
	case 0, 1, 2:
		w.puts()
	case 3, 4:
		w.collect()
	case 5:
		err := w.spool.Flush()
		w.note("flush: %v", err)
		if err == nil {
			w.flushed()
			w.tell(history.Event{Kind: history.Flushed})
		}
	case 6:
		time.Sleep(2 * time.Second)
		synctest.Wait()
	case 7:
		time.Sleep(time.Duration(w.r.IntN(2)) * time.Hour)
		return w.sweep()
	case 8:
		w.takeBack()
	}
	return nil
}

// puts puts a few envelopes at once, some for the second time.
func (w *world) puts() {
	for range 1 + w.r.IntN(5) {
		var p *promised
		if len(w.put) > 0 && w.r.IntN(4) == 0 {
			p = w.put[w.r.IntN(len(w.put))]
			if w.r.IntN(2) == 0 { // to live longer
				p.Expiry = max(p.Expiry, w.expiry())
			}
		} else {
			p = w.envelope()
		}
		w.handIn(p)
	}
	synctest.Wait()
	w.follow()
}

func (w *world) expiry() uint32 { return EpochOf(time.Now(), time.Hour) + uint32(w.r.IntN(4)) }

// envelope is a new one.
func (w *world) envelope() *promised {
	size := protocol.EnvelopeSize
	if w.r.IntN(4) == 0 {
		size = protocol.ChunkSize
	}
	p := &promised{queue: QueueID{byte(w.r.IntN(2))}}
	p.Urgent = w.r.IntN(4) == 0
	p.Expiry = w.expiry()
	p.Body = make([]byte, size)
	crand.Read(p.Body)
	binary.BigEndian.PutUint32(p.ID[:], uint32(len(w.put)))
	w.put = append(w.put, p)
	return p
}

// handIn puts an envelope, but not one that was taken back so long ago that a spool may
// have forgotten it.
func (w *world) handIn(p *promised) {
	w.mu.Lock() // the answer to an earlier one may be on its way
	if !p.taken.IsZero() && time.Since(p.taken) >= rememberFor {
		w.mu.Unlock()
		return
	}
	p.asking = true
	if p.taken.IsZero() && p.Expiry >= EpochOf(time.Now(), time.Hour) {
		p.may, p.erased = true, false
	}
	w.tell(p.event(history.Put))
	asked := *p
	w.mu.Unlock()
	w.spool.Put(p.queue, Put{p.ID, p.Expiry, p.Urgent, bytes.Clone(p.Body), w.spool.Told()}, func(err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.tell(asked.answered(err))
		if err == nil && p.taken.IsZero() {
			p.must, p.until = true, max(p.until, asked.Expiry)
		}
		p.asking = p.asking && err != nil
		w.note("put %d: %v", binary.BigEndian.Uint32(p.ID[:]), err)
	})
}

// takeBack takes back what waits, what is being put, what was collected or expired, or what
// is put afterwards.
func (w *world) takeBack() {
	var p *promised
	if len(w.put) > 0 && w.r.IntN(4) > 0 {
		p = w.put[w.r.IntN(len(w.put))]
	} else {
		p = w.envelope()
	}
	if w.r.IntN(2) == 0 {
		w.handIn(p)
	}
	w.cancel(p)
	w.handIn(p)
	synctest.Wait()
	w.follow()
}

// cancel takes an envelope back.
func (w *world) cancel(p *promised) {
	w.mu.Lock()
	p.must, p.erased, p.taken = false, true, time.Now()
	w.tell(p.event(history.Cancel))
	w.mu.Unlock()
	w.spool.Cancel(p.queue, p.ID, func(err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.note("taken back %d: %v", binary.BigEndian.Uint32(p.ID[:]), err)
		if err == nil {
			p.may = false
			w.tell(p.event(history.Gone))
		}
	})
}

// amid is a disk on which others act while a sweep reads what it is going to move.
type amid struct {
	disk.FS
	read func()
}

type amidFile struct {
	disk.File
	read func()
}

func (a *amid) Open(name string) (disk.File, error) {
	f, err := a.FS.Open(name)
	return &amidFile{f, a.read}, err
}

func (a *amid) Create(name string) (disk.File, error) {
	f, err := a.FS.Create(name)
	return &amidFile{f, a.read}, err
}

func (f *amidFile) ReadAt(b []byte, at int64) (int, error) {
	f.read()
	return f.File.ReadAt(b, at)
}

// amidSweep takes something back, and sometimes waits until that is answered.
func (w *world) amidSweep() {
	if !w.sweeping || w.r.IntN(4) > 0 {
		return
	}
	for range 1 + w.r.IntN(3) {
		w.cancel(w.put[w.r.IntN(len(w.put))])
	}
	if w.r.IntN(2) == 0 {
		synctest.Wait()
	}
}

// handInAgain puts whatever had no OK in the life before.
func (w *world) handInAgain() {
	for _, p := range w.put {
		if p.asking {
			w.handIn(p)
		}
	}
	synctest.Wait()
}

// follow reads on in the queues of which Ready told.
func (w *world) follow() {
	w.mu.Lock()
	woken := w.woken
	w.woken = map[QueueID]bool{}
	w.mu.Unlock()
	for q := range byte(2) {
		if !woken[QueueID{q}] {
			continue
		}
		for _, r := range w.spool.Next(QueueID{q}, w.read[QueueID{q}], 1000) {
			w.read[QueueID{q}] = r.Sequence
			w.tell(given(QueueID{q}, r))
		}
	}
	w.tell(history.Event{Kind: history.Idle})
}

// collect erases some of what waits.
func (w *world) collect() {
	for q := range byte(2) {
		for _, r := range w.spool.Next(QueueID{q}, 0, 100) {
			if w.r.IntN(3) > 0 {
				continue
			}
			p := w.find(r.Body)
			if p != nil {
				w.tell(p.event(history.Ack))
			}
			w.spool.Ack(QueueID{q}, r.Sequence)
			if p != nil {
				w.mu.Lock()
				p.must, p.erased = false, true
				w.mu.Unlock()
				w.note("collected %d", binary.BigEndian.Uint32(p.ID[:]))
			}
		}
	}
}

// flushed: what was collected is gone for good.
func (w *world) flushed() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.put {
		p.may = p.may && !p.erased
	}
}

func (w *world) sweep() error {
	now := EpochOf(time.Now(), time.Hour)
	keys := map[uint32][]byte{}
	for n, k := range w.spool.epochs.keys {
		if n < now {
			keys[n] = bytes.Clone(k.key[:])
		}
	}
	w.mu.Lock()
	for _, p := range w.put {
		p.must = p.must && p.until >= now
	}
	w.mu.Unlock()
	w.sweeping = true
	err := w.spool.Sweep(time.Now())
	w.sweeping = false
	w.note("sweep: %v", err)
	if err != nil {
		return nil
	}
	w.tell(history.Event{Kind: history.Swept, Until: endOf(now - 1)})
	for _, k := range keys {
		w.keys = append(w.keys, k)
		for _, kind := range []history.Kind{history.Put, history.Ack, history.Flushed} {
			w.record(keyEvent(kind, k))
		}
	}
	w.mu.Lock()
	for _, p := range w.put {
		p.may = p.may && p.Expiry >= now
	}
	w.mu.Unlock()
	if w.fs.Stopped() {
		return nil
	}
	return w.check(false)
}

func (w *world) find(body []byte) *promised {
	for _, p := range w.put {
		if bytes.Equal(p.Body, body) {
			return p
		}
	}
	return nil
}

// check compares what the spool has with what it owes. Behind a start, what is not
// there is gone for good.
func (w *world) check(started bool) error {
	for _, k := range w.keys {
		if w.fs.Contains("epochs", k) {
			w.record(keyEvent(history.Trace, k))
		}
	}
	all := w.list()
	seen := map[*promised]bool{}
	for q := range byte(2) {
		last := uint64(0)
		for _, r := range all[q] {
			p := w.find(r.Body)
			switch {
			case p == nil:
				return errors.New("an envelope that nobody put")
			case p.queue != QueueID{q}:
				return errors.New("an envelope in another's queue")
			case seen[p]:
				return errors.New("an envelope twice")
			case !p.taken.IsZero():
				return fmt.Errorf("envelope %d, which was taken back, is there", binary.BigEndian.Uint32(p.ID[:]))
			case !p.may:
				return fmt.Errorf("envelope %d, which was collected or expired, is back", binary.BigEndian.Uint32(p.ID[:]))
			case r.Sequence <= last:
				return errors.New("out of order")
			}
			last, seen[p] = r.Sequence, true
			w.read[p.queue] = r.Sequence
			p.erased = false // once more, and it may be collected once more
		}
	}
	w.note("%d there", len(seen))
	for i, p := range w.put {
		if p.may && !p.must && !seen[p] {
			w.note("%d is not there", i)
		}
		if p.must && !seen[p] {
			return fmt.Errorf("envelope %d, of which the sender had an OK, is lost", i)
		}
		p.may = p.may && (seen[p] || !started)
	}
	for _, k := range w.keys {
		if w.fs.Contains("epochs", k) {
			return errors.New("the key of an expired epoch is on the disk")
		}
	}
	return nil
}

// stop ends a life: the spool's RAM is gone.
func (w *world) stop() {
	if w.spool == nil {
		return
	}
	w.fs.StopAt(w.fs.Ops() + 1)
	w.spool.Close()
	w.spool = nil
}

// next ends a life and finds the disk of the next.
func (w *world) next() {
	w.stop()
	for _, p := range w.put {
		p.erased, p.taken = false, time.Time{} // whether it still is, the next life shows
	}
	if w.r.IntN(3) == 0 {
		w.note("killed")
		w.fs = w.fs.AfterKill()
		w.tell(history.Event{Kind: history.Crash, State: "kill"})
		return
	}
	w.note("power lost")
	w.fs = w.fs.AfterPowerLoss(w.r)
	w.tell(history.Event{Kind: history.Crash, State: "power"})
}

// live plays one history of several lives, each of which ends at some operation by
// a kill or a power loss, or meets an error at one. It returns the number of lives.
func (w *world) live(seed uint64) (lives int, err error) {
	defer w.stop()
	w.tell(history.Event{Kind: history.World, ID: fmt.Sprint(seed)}, history.Event{Kind: history.Quota, N: maxUnread, Seq: urgentReserve})
	for range 2 + w.r.IntN(4) {
		at := w.fs.Ops() + 1 + w.r.IntN(60)
		switch w.r.IntN(4) {
		case 0:
			w.fs.FailFrom(at, 1+w.r.IntN(3), []error{syscall.EIO, syscall.ENOSPC}[w.r.IntN(2)])
			w.note("fails at %d", at)
		default:
			w.fs.StopAt(at)
		}
		if w.open() == nil {
			if err := w.begin(w.r.IntN(3) == 0); err != nil {
				return lives, err
			}
			for range 1 + w.r.IntN(12) {
				if err := w.step(); err != nil {
					return lives, err
				}
			}
		}
		w.next()
		lives++
	}
	if err := w.open(); err != nil {
		return lives, fmt.Errorf("the spool does not open: %w", err)
	}
	return lives, w.begin(true)
}

// begin is what a relay does first in a life.
func (w *world) begin(look bool) error {
	w.woken, w.read = map[QueueID]bool{{0}: true, {1}: true}, map[QueueID]uint64{}
	w.tell(history.Event{Kind: history.Start})
	var err error
	if look {
		err = w.check(true)
	} else { // not before something happens
		w.handInAgain()
	}
	for q := range byte(2) {
		w.tell(history.Event{Kind: history.Follow, Actor: reader, Queue: queueName(QueueID{q})})
	}
	return err
}

// TestPowerLossAtAnyOperation: through kills, power losses and I/O errors, what had
// an OK is there once and in order until it is collected or expires, what was
// collected and flushed, or has expired, never comes back, and the keys of expired
// epochs are in no version of any sector. More: -args -crashes 100000.
func TestPowerLossAtAnyOperation(t *testing.T) {
	if *historyIn != "" {
		var err error
		if historyLog, err = history.Append(*historyIn); err != nil {
			t.Fatal(err)
		}
		defer historyLog.Close()
	}
	images, want := 0, *crashes
	if testing.Short() {
		want = min(want, 200)
	}
	failed := 0
	for seed := *firstSeed; images < want && (failed < 5 || historyLog != nil); seed++ {
		w := newWorld(rand.New(rand.NewPCG(seed, 1)), disktest.New())
		var violation error
		synctest.Test(t, func(*testing.T) {
			time.Sleep(26 * 365 * 24 * time.Hour) // a bubble begins in 2000
			var n int
			n, violation = w.live(seed)
			images += n
		})
		if violation != nil {
			failed++
			t.Errorf("seed %d: %v\n%s", seed, violation, strings.Join(w.trace, "\n"))
		}
	}
	t.Logf("%d crash images, %d histories with a violation", images, failed)
}
