package spool

import (
	"cmp"
	"errors"
	"slices"
	"time"
)

// Sweep destroys what expired before now, makes overwritten salts durable, and
// gives back the room of what is gone. What could not be read is tried again. With a
// clock before 2024 it destroys nothing: ErrClock.
func (s *Spool) Sweep(now time.Time) error {
	begun := time.Now()
	s.readAgain()
	if err := CheckClock(now); err != nil {
		return err
	}
	s.sweeping.Lock()
	defer s.sweeping.Unlock()
	s.mu.Lock()
	s.takenBack.forget(false)
	s.mu.Unlock()
	var late error
	expire := func() { // also amid what takes long: an epoch may end meanwhile
		s.writing.Lock()
		defer s.writing.Unlock()
		late = errors.Join(late, s.expire(EpochOf(now.Add(time.Since(begun)), s.Epoch)))
	}
	expire()
	s.writing.Lock()
	err := s.syncZeros()
	s.writing.Unlock()
	err = errors.Join(err, s.free(), s.compact(expire))
	return errors.Join(late, err)
}

// expire destroys the keys of the epochs before n, and forgets their records.
func (s *Spool) expire(n uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	n = max(n, s.epochs.over)
	gone, err := s.epochs.destroy(n)
	err = errors.Join(err, s.epochs.mend())
	if !gone {
		return err
	}
	for q, l := range s.index.queues {
		for i := len(l.items) - 1; i >= 0; i-- {
			if e := s.index.slab.at(l.items[i]); e.epoch < n {
				s.lost(e)
				s.index.remove(q, e)
			}
		}
	}
	return err
}

// empty lists the segments whose records are all gone and whose overwritten salts
// are synced. writing is held.
func (s *Spool) empty() []*segment {
	s.mu.Lock()
	defer s.mu.Unlock()
	waiting := map[uint32]bool{} // for their salts to be overwritten
	for _, p := range s.zeros {
		waiting[p.segment] = true
	}
	var empty []*segment
	for _, g := range s.inOrder() {
		if g != s.open && g != s.spare && g.gone == g.records && !g.unread && !g.dirty && !waiting[g.number] {
			empty = append(empty, g)
		}
	}
	return empty
}

// keepSpare keeps one of the empty segments for a new life, and returns the others.
// writing is held.
func (s *Spool) keepSpare(empty []*segment) []*segment {
	i := slices.IndexFunc(empty, func(g *segment) bool { return g.size >= s.SegmentSize })
	if s.spare != nil || i < 0 {
		return empty
	}
	s.spare = empty[i]
	return slices.Delete(empty, i, i+1)
}

// free unlinks the empty segments, but for a spare. Nobody waits meanwhile, for it
// may take long.
func (s *Spool) free() error {
	s.writing.Lock()
	empty := s.keepSpare(s.empty())
	s.mu.Lock()
	for _, g := range empty {
		delete(s.segments, g.number)
	}
	s.mu.Unlock()
	s.writing.Unlock()
	if len(empty) == 0 {
		return nil
	}
	var errs []error
	for _, g := range empty {
		if err := s.FS.Remove(g.name); err != nil {
			errs = append(errs, err)
			s.mu.Lock()
			s.segments[g.number] = g // tried again
			s.mu.Unlock()
			continue
		}
		g.reading.Lock()
		errs = append(errs, g.file.Close())
		g.reading.Unlock()
	}
	return errors.Join(append(errs, s.FS.SyncDir(s.Dir))...)
}

// compact copies the live records of the deadest segments to the end, while more
// than half of what the closed ones take is dead. One that can't be read now is left
// alone. Between two steps it calls turn. sweeping is held.
func (s *Spool) compact(turn func()) error {
	var unread []*segment
	var errs []error
	for {
		g := s.deadest(unread)
		if g == nil {
			return errors.Join(errs...)
		}
		if err := s.move(g, turn); err != nil {
			errs = append(errs, err)
			if !errors.Is(err, errUnread) {
				return errors.Join(errs...)
			}
			unread = append(unread, g)
		}
	}
}

// deadest is the closed segment with the smallest live share, if more than half of
// what all closed ones take is not live. Those in which nothing lives wait for free.
func (s *Spool) deadest(unread []*segment) *segment {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	var used, live int64
	var worst *segment
	for _, g := range s.inOrder() {
		if g == s.open || g == s.spare || g.gone == g.records || g.unread || slices.Contains(unread, g) {
			continue
		}
		used += g.size
		live += g.live
		if worst == nil || float64(g.live)/float64(g.size) < float64(worst.live)/float64(worst.size) {
			worst = g
		}
	}
	if live*2 >= used {
		return nil
	}
	return worst
}

// living is a record that is moved.
type living struct {
	queue QueueID
	entry
}

// moveBytes is how much is moved at a time; the others' turn comes between.
const moveBytes = 512 << 10

// move reseals a segment's live records at the end of the log. Only when the copies
// are durable are the old salts overwritten and synced, and only then is the file
// freed. After each step it calls turn.
func (s *Spool) move(g *segment, turn func()) error {
	all := s.living(g)
	for len(all) > 0 {
		var batch []*pending
		var from []living
		for len(all) > 0 {
			a := all[0]
			body, err := s.body(&a.entry)
			if errors.Is(err, errLost) {
				s.damaged(a.queue, &a.entry)
				all = all[1:]
				continue
			}
			if err != nil {
				for _, p := range batch {
					forget(p.Body)
				}
				return errors.Join(errUnread, err)
			}
			more := append(batch, &pending{queue: a.queue, seq: a.seq, Put: Put{ID: a.id, Expiry: a.epoch, Urgent: a.urgent(), Body: body}})
			if batchOf(more, min(moveBytes, int(s.SegmentSize))) < len(more) {
				forget(body)
				break
			}
			batch, from, all = more, append(from, a), all[1:]
		}
		if err := s.replace(from, batch); err != nil {
			return err
		}
		turn()
	}
	s.writing.Lock()
	err := s.syncZeros()
	s.writing.Unlock()
	return errors.Join(err, s.free())
}

var errUnread = errors.New("a segment could not be read, and is moved later")

// living lists a segment's records, in the order in which they lie there.
func (s *Spool) living(g *segment) []living {
	var all []living
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := 0
	for q, l := range s.index.queues {
		for _, i := range l.items {
			if e := *s.index.slab.at(i); e.segment == g.number {
				all = append(all, living{q, e})
			}
		}
		if seen += len(l.items); seen > 1000 {
			seen = 0
			s.mu.Unlock() // the others' turn
			s.mu.Lock()
		}
	}
	slices.SortFunc(all, func(a, b living) int { return cmp.Compare(a.salt, b.salt) })
	return all
}

// replace writes copies of records, and has the old ones erased. Of what is gone by now
// no copy is made: somebody may have been told that it can't come back. Nobody is told so
// while writing is held, once there is room, and what goes meanwhile is overwritten first.
func (s *Spool) replace(old []living, copies []*pending) error {
	defer func(all []*pending) {
		for _, p := range all {
			forget(p.Body)
		}
	}(copies)
	if len(old) == 0 {
		return nil
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	l := layoutOf(copies)
	_, length := l.bodies()
	if _, err := s.room(length); err != nil {
		return err
	}
	if old, copies = s.left(old, copies); len(old) == 0 {
		return nil
	}
	entries, err := s.append(copies)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, a := range old {
		e := s.index.at(a.queue, a.seq)
		if e == nil || e.place != a.place { // collected meanwhile
			s.lost(&entries[i])
			s.zero(entries[i].place)
			continue
		}
		s.supersede(e, entries[i])
	}
	return nil
}

// left are those records, and their copies, that are still there.
func (s *Spool) left(old []living, copies []*pending) (left []living, theirs []*pending) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, a := range old {
		if e := s.index.at(a.queue, a.seq); e != nil && e.place == a.place {
			left, theirs = append(left, a), append(theirs, copies[i])
		}
	}
	return left, theirs
}
