// Package spool is the relay's store of envelopes: durable, expiring, erasable.
//
// Open opens a spool and recovers what a crash left. Put answers when an envelope
// is on the disk; Next reads what waits in a queue; Ack erases what was collected,
// in place; Sweep destroys what has expired, whatever its count, by destroying the
// key of its epoch. The format is docs/spool-format.md.
//
// Envelopes lie in append-only segments in the order of their arrival. One writer
// gathers what waits into a batch, writes it once and syncs it once, and only then
// answers. Nothing that was accepted is ever dropped to make room.
package spool

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"kin/internal/disk"
	"kin/internal/scrub"
	"kin/internal/slots"
	"kin/protocol"
)

// QueueID is the SHA-256 of a queue's receiver id.
type QueueID [32]byte

// MessageID makes a PUT idempotent.
type MessageID [16]byte

// Config says how a spool works; it is not changed after Open.
type Config struct {
	FS    disk.FS
	Dir   string      // made if there is none
	Key   [32]byte    // authenticates batches, for as long as the relay lives; used for nothing else
	Slots *slots.File // the keys of epochs; the caller closes it after Close

	Epoch         time.Duration // the length of an epoch
	SegmentSize   int64         // bytes; 64 MiB if 0
	MaxUnread     int           // envelopes a queue; 128 if 0
	UrgentReserve int           // of these, kept for urgent ones; 16 if 0
	MaxMessages   int           // in all; 1 << 20 if 0

	Reserve func(n, above uint64) (first uint64, err error) // reserves n batch numbers above one, durably, for ever
	Ready   func([]QueueID)                                 // told of queues that got something, or are to be read again; must not block
	Log     *slog.Logger
}

// Put is an envelope to be stored.
type Put struct {
	ID     MessageID
	Expiry uint32 // the epoch at whose end it expires
	Urgent bool
	Body   []byte // protocol.EnvelopeSize or protocol.ChunkSize bytes; the spool's until done is called
	Told   uint64 // Spool.Told, as it was when nothing that is to come before it was known to be refused
}

// Record is a stored envelope.
type Record struct {
	Sequence uint64
	Expiry   uint32
	Urgent   bool
	Body     []byte // until Forget
}

// Errors of Put, Open and Sweep.
var (
	ErrFull     = errors.New("spool is full")
	ErrClosed   = errors.New("spool is closed")
	ErrConflict = errors.New("the message id was used for another envelope")
	ErrExpiry   = errors.New("expiry is over or too far away")
	ErrBusy     = errors.New("too much waits for the disk")
	ErrBehind   = errors.New("what was put before could not be stored")
	ErrSize     = errors.New("not the size of an envelope or a chunk")
	ErrKey      = errors.New("what is stored was written under another key")
	ErrClock    = errors.New("the clock is before 2024: nothing is stored, and nothing expires")
)

// FullError is a queue that holds as much as it may.
type FullError struct{ Wait time.Duration }

func (e *FullError) Error() string { return "queue is full" }

const (
	maxEpochs = 337 // ahead of now: the longest class, rounded up
	queueWait = 60 * time.Second

	maxPending = 64 << 20 / protocol.EnvelopeSize // envelopes that wait for the disk, of all queues
)

// firstTime is the earliest clock that is believed.
var firstTime = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)

// CheckClock returns ErrClock for a time that is not believed: what is given a life by it
// would be over when the clock is right.
func CheckClock(now time.Time) error {
	if now.Before(firstTime) {
		return ErrClock
	}
	return nil
}

// EpochOf is the number of the epoch that a time falls into.
func EpochOf(t time.Time, epoch time.Duration) uint32 {
	return uint32(t.Unix() / int64(epoch/time.Second))
}

// Spool is an open spool. Its methods may be called by several goroutines.
type Spool struct {
	// Static.
	Config
	writer sync.WaitGroup

	told atomic.Uint64 // of how many batches that failed everybody knows

	sweeping sync.Mutex // held for a sweep, and taken before writing

	// writing is held for a commit, and for each step of a sweep; it guards the
	// segments' ends and is taken before mu.
	writing sync.Mutex
	open    *segment // the segment that is written; nil before the first batch
	spare   *segment // one that is used again
	buf     []byte

	// Written by the start alone.
	highest uint64 // batch number that was found
	foreign int    // batches that were found in segments without a head that is authenticated

	faults atomic.Int64 // syncs, and overwritings of salts, that failed

	mu         sync.Mutex // guards what follows
	wake       *sync.Cond
	epochs     *epochs
	segments   map[uint32]*segment
	nextSeg    uint32
	index      index
	pending    []*pending
	byID       map[pendingKey]*pending
	copies     map[uint64]*pending // of these, what is to live longer, by sequence
	waiting    map[QueueID]int     // pending puts of a queue
	zeros      []place             // salts to be overwritten
	zeroSync   bool                // the second is over, or somebody waits: overwrite and sync them now
	cancelled  []func(error)       // who waits for that
	takenBack  takenBack
	failed     uint64               // batches
	unread     map[QueueID]struct{} // of which something could not be read
	passedOver bool                 // a start could not read all: what is not in the index may come back
	timer      *time.Timer
	closed     bool
}

// Open opens the spool in cfg.Dir and recovers what is there.
func Open(cfg Config) (*Spool, error) {
	if cfg.SegmentSize == 0 {
		cfg.SegmentSize = 64 << 20
	}
	if cfg.MaxUnread == 0 {
		cfg.MaxUnread, cfg.UrgentReserve = 128, 16
	}
	if cfg.MaxMessages == 0 {
		cfg.MaxMessages = 1 << 20
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.SegmentSize < minSegment {
		return nil, fmt.Errorf("spool: segments of %d bytes; at least %d", cfg.SegmentSize, minSegment)
	}
	s := &Spool{Config: cfg, segments: map[uint32]*segment{}, byID: map[pendingKey]*pending{}, copies: map[uint64]*pending{}, waiting: map[QueueID]int{}, unread: map[QueueID]struct{}{}}
	s.wake = sync.NewCond(&s.mu)
	s.index.queues = map[QueueID]*queue{}
	if err := cfg.FS.MkdirAll(cfg.Dir); err != nil {
		return nil, err
	}
	if err := cfg.FS.SyncDir(filepath.Dir(cfg.Dir)); err != nil {
		return nil, err
	}
	var err error
	if scrub.Do(func() { s.epochs, err = loadEpochs(cfg.Slots) }); err != nil {
		return nil, err
	}
	if err := s.recover(); err != nil {
		s.closeFiles()
		return nil, err
	}
	s.writer.Go(s.write)
	return s, nil
}

// Waiting is how many records a queue holds.
func (s *Spool) Waiting(q QueueID) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.index.waiting(q)
}

// Highest is the highest batch number that the start found.
func (s *Spool) Highest() uint64 { return s.highest }

// Whole tells whether the start could read all that is there. If not, a later start may
// find what this one has not erased.
func (s *Spool) Whole() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.passedOver
}

// Stats are totals.
type Stats struct {
	Messages, Queues, Segments int
	Bytes                      int64 // on the disk
	Live                       int64 // of them, records that wait
}

// Stats returns totals.
func (s *Spool) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Stats{Messages: s.index.count, Queues: len(s.index.queues), Segments: len(s.segments)}
	for _, g := range s.segments {
		st.Bytes += g.size
		st.Live += g.live
	}
	return st
}

// Flush returns when all that was put and erased before is durable.
func (s *Spool) Flush() error {
	s.writing.Lock()
	defer s.writing.Unlock()
	return errors.Join(s.commit(), s.syncZeros())
}

// Await returns when a commit has its turn: never, where the writer stands still.
func (s *Spool) Await() {
	s.writing.Lock()
	defer s.writing.Unlock()
}

// Close commits what waits and closes the files.
func (s *Spool) Close() error {
	s.sweeping.Lock()
	defer s.sweeping.Unlock()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.wake.Signal()
	s.mu.Unlock()
	s.writer.Wait()
	err := s.Flush()
	s.closeFiles()
	s.epochs.forget()
	return err
}

func (s *Spool) closeFiles() {
	for _, g := range s.segments {
		g.file.Close()
	}
}

// Destroy removes a spool's files. The keys of its epochs are destroyed first, by
// the caller.
func Destroy(fsys disk.FS, dir string) error {
	names, err := fsys.List(dir)
	for _, n := range names {
		err = errors.Join(err, fsys.Remove(filepath.Join(dir, n)))
	}
	return errors.Join(err, fsys.SyncDir(dir))
}
