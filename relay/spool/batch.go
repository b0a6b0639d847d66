package spool

import (
	"crypto/rand"
	"errors"
	"sync"

	"kin/internal/scrub"
)

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
		if zerr := errors.Join(s.writeZeros(), s.sync(g)); zerr != nil { // before anybody puts it again
			s.Log.Error("a batch that was refused could not be overwritten and is tried again", "error", zerr)
		}
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
