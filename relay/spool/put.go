package spool

import (
	"errors"
	"time"

	"kin/internal/scrub"
	"kin/protocol"
)

// pending is a put that is not on the disk.
type pending struct {
	queue QueueID
	Put
	seq  uint64 // of a copy, or of one that is to live longer; 0 for a new one
	gone bool   // with seq: it was collected meanwhile
	done []func(error)
}

// line is of what must not overtake: what is put into a queue, and is as urgent.
type line struct {
	queue  QueueID
	urgent bool
}

// tell tells all who wait for it.
func (p *pending) tell(err error) {
	for _, done := range p.done {
		done(err)
	}
}

func (p *pending) line() line { return line{p.queue, p.Urgent} }

type pendingKey struct {
	queue QueueID
	id    MessageID
}

// Put stores an envelope. done is called once: with nil after the sync that made
// it durable, or with why it was refused. The same id with the same body is one
// envelope, however often it is put, until it is erased or expires; it expires when the
// last of them says. What Put leaves on the stack is its caller's to overwrite (scrub.Do).
func (s *Spool) Put(q QueueID, p Put, done func(error)) {
	if err := s.put(q, p, done); err != nil {
		done(err)
	}
}

func (s *Spool) put(q QueueID, p Put, done func(error)) error {
	if len(p.Body) != protocol.EnvelopeSize && len(p.Body) != protocol.ChunkSize {
		return ErrSize
	}
	if err := CheckClock(time.Now()); err != nil {
		return err
	}
	if now := EpochOf(time.Now(), s.Epoch); p.Expiry < now || p.Expiry > now+maxEpochs {
		return ErrExpiry
	}
	var same entry // the stored one, once its body was compared
	for {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return ErrClosed
		}
		k := pendingKey{q, p.ID}
		if s.takenBack.has(k) { // as if it had come before
			s.mu.Unlock()
			done(nil)
			return nil
		}
		if first := s.byID[k]; first != nil {
			defer s.mu.Unlock()
			return s.join(first, p, done)
		}
		e := s.index.find(q, p.ID)
		if e != nil && e.epoch < s.epochs.over { // its key is in RAM alone, maybe
			s.mu.Unlock()
			return errOver
		}
		if e == nil || *e == same {
			defer s.mu.Unlock()
			return s.enqueue(q, p, e, done)
		}
		stored := *e
		s.mu.Unlock()
		body, err := s.read(&stored)
		if errors.Is(err, errLost) {
			s.damaged(q, &stored) // and put anew
			continue
		}
		if err != nil && s.moved(q, &stored) {
			continue
		}
		if err != nil { // its sender has it whole
			p.Expiry, same = max(p.Expiry, stored.epoch), stored
			continue
		}
		equal := string(body) == string(p.Body)
		if forget(body); !equal {
			return ErrConflict
		}
		if p.Expiry <= stored.epoch {
			done(nil)
			return nil
		}
		same = stored
	}
}

// join has a put share the fate of one that is not on the disk yet. One that is to live
// longer is put again behind that. mu is held.
func (s *Spool) join(first *pending, p Put, done func(error)) error {
	if string(first.Body) != string(p.Body) {
		return ErrConflict
	}
	if p.Expiry > first.Expiry {
		told := done
		done = func(err error) {
			if err != nil {
				told(err)
				return
			}
			scrub.Do(func() { s.Put(first.queue, p, told) })
		}
	}
	first.done = append(first.done, done)
	return nil
}

// Told is how many failures to store there were that all whom they concern were told of.
// A Put with less comes from who may not know of one yet: it is refused.
func (s *Spool) Told() uint64 { return s.told.Load() }

// enqueue hands a put to the writer: a new one, or a copy that is to take the place of a
// stored one, with its sequence. mu is held.
func (s *Spool) enqueue(q QueueID, p Put, stored *entry, done func(error)) error {
	if p.Told != s.failed {
		return ErrBehind
	}
	if len(s.pending) == maxPending {
		return ErrBusy
	}
	r := &pending{queue: q, Put: p, done: []func(error){done}}
	if stored != nil {
		r.seq, r.Urgent = stored.seq, stored.urgent()
		s.copies[r.seq] = r
	} else {
		if err := s.fits(q, p.Urgent); err != nil {
			return err
		}
		s.waiting[q]++
	}
	s.pending = append(s.pending, r)
	s.byID[pendingKey{q, p.ID}] = r
	s.wake.Signal()
	return nil
}

// fits tells whether there is room for one more. mu is held.
func (s *Spool) fits(q QueueID, urgent bool) error {
	room := s.MaxUnread
	if !urgent {
		room -= s.UrgentReserve
	}
	if s.index.waiting(q)+s.waiting[q] >= room {
		return &FullError{queueWait}
	}
	if s.index.count+len(s.pending) >= s.MaxMessages {
		return ErrFull
	}
	return nil
}
