package spool

import (
	"time"

	"kin/protocol"
)

// pending is a put that is not on the disk.
type pending struct {
	queue QueueID
	Put
	seq  uint64 // of a copy; 0 for a new one
	done []func(error)
}

type pendingKey struct {
	queue QueueID
	id    MessageID
}

// Put stores an envelope. done is called once: with nil after the sync that made
// it durable, or with why it was refused. The same id with the same body is one
// envelope, however often it is put, until it is erased or expires. What Put leaves on
// the stack is its caller's to overwrite (scrub.Do).
func (s *Spool) Put(q QueueID, p Put, done func(error)) {
	if err := s.put(q, p, done); err != nil {
		done(err)
	}
}

func (s *Spool) put(q QueueID, p Put, done func(error)) error {
	if len(p.Body) != protocol.EnvelopeSize && len(p.Body) != protocol.ChunkSize {
		return ErrSize
	}
	if now := EpochOf(time.Now(), s.Epoch); p.Expiry < now || p.Expiry > now+maxEpochs {
		return ErrExpiry
	}
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
		if same := s.byID[k]; same != nil {
			defer s.mu.Unlock()
			if string(same.Body) != string(p.Body) {
				return ErrConflict
			}
			same.done = append(same.done, done)
			return nil
		}
		e := s.index.find(q, p.ID)
		if e == nil {
			defer s.mu.Unlock()
			return s.enqueue(q, p, done)
		}
		stored := *e
		s.mu.Unlock()
		body, err := s.read(&stored)
		if err != nil {
			s.damaged(q, &stored) // and put anew
			continue
		}
		same := string(body) == string(p.Body)
		if forget(body); !same {
			return ErrConflict
		}
		done(nil)
		return nil
	}
}

// Told is how many failures to store there were that all whom they concern were told of.
// A Put with less comes from who may not know of one yet: it is refused.
func (s *Spool) Told() uint64 { return s.told.Load() }

// enqueue hands a put to the writer. mu is held.
func (s *Spool) enqueue(q QueueID, p Put, done func(error)) error {
	if p.Told != s.failed {
		return ErrBehind
	}
	room := s.MaxUnread
	if !p.Urgent {
		room -= s.UrgentReserve
	}
	if s.index.waiting(q)+s.waiting[q] >= room {
		return &FullError{queueWait}
	}
	if s.index.count+len(s.pending) >= s.MaxMessages {
		return ErrFull
	}
	r := &pending{queue: q, Put: p, done: []func(error){done}}
	s.pending = append(s.pending, r)
	s.byID[pendingKey{q, p.ID}] = r
	s.waiting[q]++
	s.wake.Signal()
	return nil
}
