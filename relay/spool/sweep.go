package spool

import (
	"cmp"
	"errors"
	"slices"
	"time"
)

// Sweep destroys what expired before now, makes overwritten salts durable, and
// gives back the room of what is gone. With a clock before 2024 it destroys
// nothing: ErrClock.
func (s *Spool) Sweep(now time.Time) error {
	if now.Before(firstTime) {
		return ErrClock
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	return errors.Join(s.expire(EpochOf(now, s.Epoch)), s.syncZeros(), s.free(), s.compact())
}

// expire destroys the keys of the epochs before n, and forgets their records.
func (s *Spool) expire(n uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	gone, err := s.epochs.destroy(n)
	if !gone {
		return err
	}
	for q, l := range s.index.queues {
		for i := len(l.items) - 1; i >= 0; i-- {
			if e := &s.index.slab[l.items[i]]; e.epoch < n {
				s.lost(e)
				s.index.remove(q, e)
			}
		}
	}
	return err
}

// free gives back the segments whose records are all gone and whose overwritten
// salts are synced: one is kept for a new life, the others are unlinked. writing is
// held.
func (s *Spool) free() error {
	s.mu.Lock()
	waiting := map[uint32]bool{} // for their salts to be overwritten
	for _, p := range s.zeros {
		waiting[p.segment] = true
	}
	var free []*segment
	for _, g := range s.inOrder() {
		if g != s.open && g != s.spare && g.gone == g.records && !g.dirty && !waiting[g.number] {
			free = append(free, g)
		}
	}
	s.mu.Unlock()
	for _, g := range free {
		if s.spare == nil && g.size >= s.SegmentSize {
			s.spare = g
			continue
		}
		if err := s.remove(g); err != nil {
			return err
		}
	}
	return nil
}

func (s *Spool) remove(g *segment) error {
	if err := s.FS.Remove(g.name); err != nil {
		return err
	}
	s.mu.Lock()
	delete(s.segments, g.number)
	s.mu.Unlock()
	g.reading.Lock()
	defer g.reading.Unlock()
	return errors.Join(g.file.Close(), s.FS.SyncDir(s.Dir))
}

// compact copies the live records of the deadest segments to the end, while more
// than half of what the closed ones hold is dead. writing is held.
func (s *Spool) compact() error {
	for {
		g := s.deadest()
		if g == nil {
			return nil
		}
		if err := s.move(g); err != nil {
			return err
		}
	}
}

// deadest is the closed segment with the smallest live share, if more than half of
// all closed ones' bytes are dead. Those in which nothing lives wait for free.
func (s *Spool) deadest() *segment {
	s.mu.Lock()
	defer s.mu.Unlock()
	var used, live int64
	var worst *segment
	for _, g := range s.inOrder() {
		if g == s.open || g == s.spare || g.gone == g.records {
			continue
		}
		used += g.end
		live += g.live
		if worst == nil || float64(g.live)/float64(g.end) < float64(worst.live)/float64(worst.end) {
			worst = g
		}
	}
	if worst == nil || live*2 >= used || worst.live*2 >= worst.end {
		return nil
	}
	return worst
}

// move reseals a segment's live records at the end of the log. Only when the copies
// are durable are the old salts overwritten and synced, and only then is the file
// freed.
func (s *Spool) move(g *segment) error {
	type live struct {
		q QueueID
		e entry
	}
	var all []live
	s.mu.Lock()
	for q, l := range s.index.queues {
		for _, i := range l.items {
			if e := s.index.slab[i]; e.segment == g.number {
				all = append(all, live{q, e})
			}
		}
	}
	s.mu.Unlock()
	slices.SortFunc(all, func(a, b live) int { return cmp.Compare(a.e.salt, b.e.salt) })
	for len(all) > 0 {
		var batch []*pending
		var from []live
		for len(all) > 0 && len(batch) < 16 {
			a := all[0]
			all = all[1:]
			body, err := s.body(&a.e)
			if err != nil {
				s.damaged(a.q, &a.e)
				continue
			}
			from = append(from, a)
			batch = append(batch, &pending{queue: a.q, seq: a.e.seq, Put: Put{ID: a.e.id, Expiry: a.e.epoch, Urgent: a.e.urgent(), Body: body}})
		}
		if len(batch) == 0 {
			continue
		}
		entries, err := s.append(batch)
		if err != nil {
			return err
		}
		s.mu.Lock()
		for i, a := range from {
			e := s.index.at(a.q, a.e.seq)
			if e == nil || e.place != a.e.place { // collected meanwhile
				s.lost(&entries[i])
				s.zero(entries[i].place)
				continue
			}
			s.lost(e)
			s.zero(e.place)
			*e = entries[i]
		}
		s.mu.Unlock()
	}
	return errors.Join(s.syncZeros(), s.free())
}
