package spool

import (
	"crypto/rand"
	"errors"
	"slices"
	"sync"
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

// batchOf is how many of the puts make one batch of at most limit bytes.
func batchOf(ps []*pending, limit int) (n int) {
	bytes := boundary
	for n < len(ps) && n < maxRecords {
		bytes += batchRecord + saltSize + sealedHead + len(ps[n].Body) + 16
		if bytes+boundary > limit {
			break
		}
		n++
	}
	return n
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

// append seals a batch, writes it and syncs it. The keys of its epochs are durable
// before. After an error the segment is left behind: what a failed sync wrote is
// not known. None of the keys are left on the stack. writing is held.
func (s *Spool) append(batch []*pending) (entries []entry, err error) {
	scrub.Do(func() { entries, err = s.appendBatch(batch) })
	return entries, err
}

func (s *Spool) appendBatch(batch []*pending) ([]entry, error) {
	l := layoutOf(batch)
	keys := make([]*epochKey, len(batch))
	s.mu.Lock()
	for i, p := range batch {
		k, err := s.epochs.take(p.Expiry)
		if err != nil {
			s.mu.Unlock()
			return nil, err
		}
		keys[i] = k
	}
	s.mu.Unlock()
	bodies, length := l.bodies()
	g, err := s.room(length)
	if err != nil {
		return nil, err
	}
	l.segment, l.number = g.id, g.last
	entries, err := s.sealBatch(g, &l, keys, bodies, length, batch)
	if zerr := s.writeZeros(); zerr != nil { // no reason to refuse the batch
		s.Log.Error("collected envelopes could not be overwritten and are tried again", "error", zerr)
	}
	if err == nil {
		var size int64
		size, err = g.grow(g.end+int64(length), s.SegmentSize)
		s.mu.Lock()
		g.size = size
		s.mu.Unlock()
	}
	if err == nil {
		_, err = g.file.WriteAt(s.buf[:length], g.end)
	}
	clear(s.buf[:min(length, len(s.buf))]) // its salts
	if err == nil {
		err = s.sync(g)
	}
	if err != nil {
		s.open = nil
		s.disown(g, entries)
		return nil, err
	}
	s.mu.Lock()
	g.records += len(batch)
	for i := range entries {
		g.live += int64(bodySizes[entries[i].class])
	}
	s.mu.Unlock()
	g.end += int64(length)
	g.last++
	return entries, nil
}

func layoutOf(batch []*pending) (l layout) {
	for _, p := range batch {
		l.epochs = append(l.epochs, p.Expiry)
		l.classes = append(l.classes, classOf(p.Body))
	}
	return l
}

// room is the segment into which a batch of so many bytes goes, a new one if it does not
// fit the open one. writing is held.
func (s *Spool) room(length int) (*segment, error) {
	if s.open == nil || s.open.end+int64(length) > s.SegmentSize {
		g, err := s.newSegment()
		if err != nil {
			return nil, err
		}
		s.open = g
	}
	return s.open, nil
}

// disown erases what a batch that failed may have left on the disk, so that nothing
// comes back that was refused, or was put again and collected. writing is held.
func (s *Spool) disown(g *segment, entries []entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g.dirty = true
	for _, e := range entries {
		if int64(e.salt)+saltSize <= g.size {
			s.zero(e.place)
		}
	}
}

// sealBatch lays a batch out in buf.
func (s *Spool) sealBatch(g *segment, l *layout, keys []*epochKey, bodies []int, length int, batch []*pending) ([]entry, error) {
	if cap(s.buf) < length {
		s.buf = make([]byte, max(length, min(2*cap(s.buf), maxBatch)))
	}
	b := s.buf[:length]
	clear(b[:l.header(0)])
	l.putHead(b, &s.Key)
	n := len(batch)
	rand.Read(b[l.salt(0):l.salt(n)])
	entries := make([]entry, n)
	seal := func(from, to int) {
		for i := from; i < to; i++ {
			p := batch[i]
			r := record{p.queue, p.seq, p.ID, p.Expiry, 0}
			if r.seq == 0 {
				r.seq = l.number<<16 | uint64(i)
			}
			if p.Urgent {
				r.flags = flagUrgent
			}
			salt := l.salt(i)
			k := recordKey(&keys[i].key, b[salt:salt+saltSize], l.segment, l.number, i)
			seal := newCipher(&k)
			header := r.marshal()
			seal.Seal(b[l.header(i):][:0], headerNonce, header, nil)
			seal.Seal(b[bodies[i]:][:0], bodyNonce, p.Body, nil)
			clear(header)
			seal.forget()
			clear(k[:])
			entries[i] = entry{id: p.ID, place: place{g.number, uint32(g.end) + uint32(salt)}, seq: r.seq,
				body: uint32(g.end) + uint32(bodies[i]), batch: uint32(l.number - g.id), epoch: p.Expiry,
				index: uint16(i), class: l.classes[i], flags: r.flags}
		}
	}
	var half sync.WaitGroup
	half.Go(func() { scrub.Do(func() { seal(0, n/2) }) })
	seal(n/2, n)
	half.Wait()
	clear(b[bodies[n-1]+l.bodySize(n-1):])
	return entries, nil
}
