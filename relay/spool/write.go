package spool

import (
	"errors"
	"slices"
	"syscall"
	"time"

	"kin/internal/scrub"
)

// syncWithin is how long a zeroed salt waits for its sync at most.
const syncWithin = time.Second

// write is the writer: it commits what waits, and sleeps when nothing does.
func (s *Spool) write() {
	for {
		s.mu.Lock()
		for len(s.pending) == 0 && !s.zeroSync && !s.closed {
			s.wake.Wait()
		}
		if s.closed {
			s.mu.Unlock()
			return
		}
		zeros := s.zeroSync
		s.mu.Unlock()
		s.writing.Lock()
		err := s.commit()
		if zeros {
			err = errors.Join(err, s.syncZeros(s.commit))
		}
		s.writing.Unlock()
		if err != nil {
			s.Log.Error("the spool could not write", "error", err)
		}
	}
}

// sync makes a segment durable. After an error the kernel may take for written what
// isn't: the salts are overwritten once more. writing is held.
func (s *Spool) sync(g *segment) error {
	err := g.file.Sync()
	if err != nil {
		s.faults.Add(1)
		s.mu.Lock()
		s.zeros = append(s.zeros, g.zeroed...)
		s.mu.Unlock()
	}
	g.dirty, g.zeroed = err != nil, nil
	return err
}

// commit writes what waits, in as many batches as it takes. What comes meanwhile has the
// next turn, behind those who wait for writing. writing is held.
func (s *Spool) commit() error {
	var errs []error
	s.mu.Lock()
	left := len(s.pending)
	s.mu.Unlock()
	for {
		s.mu.Lock()
		left = min(left, len(s.pending)) // fewer, if a batch failed
		n := batchOf(s.pending[:left], min(maxBatch, int(s.SegmentSize)))
		batch := s.pending[:n:n]
		s.pending = s.pending[n:]
		left -= n
		s.mu.Unlock()
		if len(batch) == 0 {
			return errors.Join(errs...)
		}
		batch, keyless, err := s.keyed(s.renewed(batch))
		if len(keyless) > 0 {
			errs = append(errs, err)
			s.answer(keyless, nil, err)
		}
		if len(batch) > 0 {
			entries, err := s.append(batch)
			errs = append(errs, err)
			s.answer(batch, entries, err)
		}
	}
}

// renewed looks once more at what is to live longer, before it is written. What expired
// meanwhile is a new one, behind what its queue has; what was collected is not written, and
// as good as stored. writing is held.
func (s *Spool) renewed(batch []*pending) (still []*pending) {
	var gone []*pending
	s.mu.Lock()
	for _, p := range batch {
		switch {
		case p.gone:
			gone = append(gone, p)
			delete(s.byID, pendingKey{p.queue, p.ID})
			delete(s.copies, p.seq)
			continue
		case p.seq != 0 && s.index.at(p.queue, p.seq) == nil:
			delete(s.copies, p.seq)
			p.seq = 0
			s.waiting[p.queue]++
		}
		still = append(still, p)
	}
	s.mu.Unlock()
	for _, p := range gone {
		p.tell(nil)
	}
	return still
}

// keyed parts a batch from what there is no key for, and from what is behind that in its
// line. err is why.
func (s *Spool) keyed(batch []*pending) (with, without []*pending, err error) {
	errs := map[uint32]error{}
	scrub.Do(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, p := range batch {
			if _, tried := errs[p.Expiry]; !tried {
				_, errs[p.Expiry] = s.epochs.take(p.Expiry)
			}
		}
	})
	failed := map[line]bool{}
	for _, p := range batch {
		if e := errs[p.Expiry]; e != nil {
			failed[p.line()], err = true, e
		}
		if failed[p.line()] {
			without = append(without, p)
		} else {
			with = append(with, p)
		}
	}
	return with, without, err
}

// answer indexes what was made durable, then tells everybody who waits: first those who
// get it, so that what is put does not run ahead of what is collected. What waits behind
// something that failed fails with it, and so does what comes until all were told: it
// must not overtake.
func (s *Spool) answer(batch []*pending, entries []entry, err error) {
	if errors.Is(err, syscall.ENOSPC) {
		err = errors.Join(ErrFull, err)
	}
	s.mu.Lock()
	if err != nil {
		batch = append(batch, s.behind(batch)...)
		s.failed++
	}
	failed := s.failed
	var ready []QueueID
	for i, p := range batch {
		delete(s.byID, pendingKey{p.queue, p.ID})
		delete(s.copies, p.seq)
		if p.seq == 0 {
			if s.waiting[p.queue]--; s.waiting[p.queue] <= 0 {
				delete(s.waiting, p.queue)
			}
		}
		if err == nil {
			s.enter(p, entries[i])
			ready = append(ready, p.queue)
		}
	}
	s.mu.Unlock()
	if s.Ready != nil && len(ready) > 0 {
		s.Ready(ready)
	}
	for _, p := range batch {
		p.tell(err)
	}
	s.told.Store(failed)
}

// enter indexes what was made durable. It takes the place of what it is a copy of, if that
// is still there. mu is held.
func (s *Spool) enter(p *pending, e entry) {
	if old := s.index.at(p.queue, p.seq); old != nil {
		s.supersede(old, e)
		return
	}
	s.index.add(p.queue, e)
	s.index.keep(e.seq, p.Body)
}

// supersede has a copy take a record's place, which is erased. mu is held.
func (s *Spool) supersede(e *entry, copy entry) {
	s.lost(e)
	s.zero(e.place)
	*e = copy
}

// behind takes out of what waits all that has a queue and an urgency of the batch's. mu
// is held.
func (s *Spool) behind(batch []*pending) (behind []*pending) {
	failed := map[line]bool{}
	for _, p := range batch {
		failed[p.line()] = true
	}
	s.pending = slices.DeleteFunc(s.pending, func(p *pending) bool {
		if !failed[p.line()] {
			return false
		}
		behind = append(behind, p)
		return true
	})
	return behind
}
