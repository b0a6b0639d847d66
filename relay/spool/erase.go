package spool

import (
	"cmp"
	"errors"
	"slices"
	"time"
)

// Ack erases collected records, and the copies of them that are on their way to the disk;
// unknown sequences are ignored.
func (s *Spool) Ack(q QueueID, sequences ...uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, seq := range sequences {
		if p := s.copies[seq]; p != nil && p.queue == q {
			p.gone = true
			p.done = append(p.done, func(error) { s.Ack(q, seq) }) // it may be under way to the disk
		}
		if e := s.index.at(q, seq); e != nil {
			s.erase(q, e)
		}
	}
}

// Cancel erases an envelope like Ack, also one that is still on its way to the disk, and
// one whose PUT is still on its way here. done is called once: with nil when it can't come
// back, whether it was there or not.
func (s *Spool) Cancel(q QueueID, id MessageID, done func(error)) {
	k := pendingKey{q, id}
	s.mu.Lock()
	s.takenBack.add(k)
	if p := s.byID[k]; p != nil {
		p.done = append(p.done, func(error) { s.Cancel(q, id, done) })
		s.mu.Unlock()
		return
	}
	if s.closed {
		s.mu.Unlock()
		done(ErrClosed)
		return
	}
	if e := s.index.find(q, id); e != nil {
		s.erase(q, e)
	}
	if s.passedOver { // a copy may be there
		s.mu.Unlock()
		done(errMayReturn)
		return
	}
	s.whenGone(done)
	s.mu.Unlock()
}

// whenGone has done called when all that was erased can't come back, of which there may
// be something even where nothing was found now. mu is held.
func (s *Spool) whenGone(done func(error)) {
	s.cancelled = append(s.cancelled, done)
	s.zeroSync = true
	s.wake.Signal()
}

var errMayReturn = errors.New("what was erased may not be durable")

// Drop erases all that waits in a queue, also what is still on its way to the disk. done
// is called once: with nil when it can't come back.
func (s *Spool) Drop(q QueueID, done func(error)) {
	s.mu.Lock()
	for e := s.index.next(q, 0); e != nil; e = s.index.next(q, 0) {
		s.erase(q, e)
	}
	for k, p := range s.byID {
		if k.queue == q { // its turn comes first
			p.done = append(p.done, func(error) { s.Drop(q, done) })
			s.mu.Unlock()
			return
		}
	}
	if s.closed {
		s.mu.Unlock()
		done(ErrClosed)
		return
	}
	s.whenGone(done)
	s.mu.Unlock()
}

// erase takes a record out of the index and has its salt overwritten with the next
// batch, and synced within a second. mu is held.
func (s *Spool) erase(q QueueID, e *entry) {
	s.lost(e)
	s.zero(e.place)
	s.index.remove(q, e)
}

// zero has a salt overwritten. mu is held.
func (s *Spool) zero(p place) {
	s.zeros = append(s.zeros, p)
	s.zeroSoon()
}

// zeroSoon has what waits overwritten and synced within a second. mu is held.
func (s *Spool) zeroSoon() {
	if s.timer == nil && !s.closed {
		s.timer = time.AfterFunc(syncWithin, func() {
			s.mu.Lock()
			s.zeroSync, s.timer = true, nil
			s.wake.Signal()
			s.mu.Unlock()
		})
	}
}

// writeZeros overwrites the salts that wait for it, neighbours in one write. What
// can't be overwritten is tried again within a second. writing is held.
func (s *Spool) writeZeros() error {
	s.mu.Lock()
	waiting := s.zeros
	s.zeros = nil
	s.mu.Unlock()
	slices.SortFunc(waiting, func(a, b place) int { return cmp.Or(cmp.Compare(a.segment, b.segment), cmp.Compare(a.salt, b.salt)) })
	waiting = slices.Compact(waiting)
	var errs []error
	for len(waiting) > 0 {
		run := 1
		for run < len(waiting) && waiting[run].segment == waiting[0].segment && waiting[run].salt == waiting[run-1].salt+saltSize {
			run++
		}
		s.mu.Lock()
		g := s.segments[waiting[0].segment]
		s.mu.Unlock()
		if g != nil {
			g.dirty = true
			if _, err := g.file.WriteAt(make([]byte, run*saltSize), int64(waiting[0].salt)); err != nil {
				errs = append(errs, err)
				s.faults.Add(1)
				s.mu.Lock()
				s.zeros = append(s.zeros, waiting[:run]...)
				s.zeroSoon()
				s.mu.Unlock()
			} else {
				g.zeroed = append(g.zeroed, waiting[:run]...)
			}
		}
		waiting = waiting[run:]
	}
	return errors.Join(errs...)
}

// syncZeros makes every overwritten salt durable, and tells those who wait for that.
// Between two segments it calls others, if any, whose turn it is. writing is held.
func (s *Spool) syncZeros(others ...func() error) error {
	s.mu.Lock()
	waiting := s.cancelled
	s.cancelled, s.zeroSync = nil, false
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	dirty := s.inOrder()
	s.mu.Unlock()
	before := s.faults.Load()
	err := s.writeZeros()
	for _, g := range dirty {
		if !g.dirty {
			continue
		}
		err = errors.Join(err, s.sync(g))
		for _, turn := range others {
			err = errors.Join(err, turn())
		}
	}
	if err != nil {
		s.mu.Lock()
		s.zeroSoon()
		s.mu.Unlock()
	}
	var told error
	if s.faults.Load() != before { // any: a copy may be elsewhere, and a turn's fault is not in err
		told = errMayReturn
	}
	for _, done := range waiting {
		done(told)
	}
	return err
}
