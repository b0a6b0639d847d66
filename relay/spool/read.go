package spool

import (
	"errors"
	"kin/internal/scrub"
	"kin/protocol"
	"sync"
)

// Next returns up to max records of a queue whose sequence is above after,
// ascending. A damaged one is dropped and logged, never served. The caller hands them
// to Forget when it is done.
func (s *Spool) Next(q QueueID, after uint64, max int) []Record {
	var out []Record
	for len(out) < max {
		s.mu.Lock()
		e := s.index.next(q, after)
		if e == nil {
			s.mu.Unlock()
			break
		}
		stored, body := *e, s.index.cached(e.seq)
		s.mu.Unlock()
		if body == nil {
			var err error
			if body, err = s.body(&stored); err != nil {
				if s.damaged(q, &stored) {
					after = stored.seq
				}
				continue
			}
		}
		after = stored.seq
		out = append(out, Record{stored.seq, stored.epoch, stored.urgent(), body})
	}
	return out
}

// envelopes are for bodies that were read; those that wait here are blank.
var envelopes = sync.Pool{New: func() any { return new([protocol.EnvelopeSize]byte) }}

// Forget overwrites the bodies of records that Next returned.
func Forget(records []Record) {
	for _, r := range records {
		clear(r.Body)
		if len(r.Body) == protocol.EnvelopeSize {
			envelopes.Put((*[protocol.EnvelopeSize]byte)(r.Body))
		}
	}
}

// damaged drops a record that does not open, unless it was moved or erased
// meanwhile. It tells whether the record was dropped or gone.
func (s *Spool) damaged(q QueueID, stored *entry) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.index.at(q, stored.seq)
	if e == nil {
		return true
	}
	if e.place != stored.place {
		return false
	}
	s.Log.Error("a stored envelope was damaged and is lost")
	s.erase(q, e)
	return true
}

// body reads and opens a record's body, and leaves none of its keys on the stack.
func (s *Spool) body(e *entry) (b []byte, err error) {
	scrub.Do(func() { b, err = s.read(e) })
	return b, err
}

// read is body for who overwrites the stack.
func (s *Spool) read(e *entry) ([]byte, error) {
	s.mu.Lock()
	g := s.segments[e.segment]
	k := s.epochs.keys[e.epoch]
	if g == nil || k == nil {
		s.mu.Unlock()
		return nil, errGone
	}
	epochKey := k.key
	s.mu.Unlock()
	defer clear(epochKey[:])
	g.reading.RLock()
	defer g.reading.RUnlock()
	var salt [saltSize]byte
	if _, err := g.file.ReadAt(salt[:], int64(e.salt)); err != nil {
		return nil, err
	}
	defer clear(salt[:])
	sealed := make([]byte, bodySizes[e.class]+16)
	if _, err := g.file.ReadAt(sealed, int64(e.body)); err != nil {
		return nil, err
	}
	key := recordKey(&epochKey, salt[:], g.id, g.id+uint64(e.batch), int(e.index))
	defer clear(key[:])
	return openPart(&key, bodyNonce, sealed)
}

var errGone = errors.New("the record's key or segment is gone")
