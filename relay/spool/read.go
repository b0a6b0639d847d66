package spool

import (
	"errors"
	"io"
	"maps"
	"slices"
	"sync"

	"golang.org/x/crypto/chacha20poly1305"

	"kin/internal/scrub"
	"kin/protocol"
)

// Next returns up to max records of a queue whose sequence is above after,
// ascending. A damaged one is dropped and logged, never served. Before one that can't be
// read for now they end; Ready is told at the next sweep. The caller hands them to Forget
// when it is done.
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
			body, err = s.body(&stored)
			if errors.Is(err, errLost) {
				if s.damaged(q, &stored) {
					after = stored.seq
				}
				continue
			}
			if err != nil && s.moved(q, &stored) {
				continue
			}
			if err != nil {
				s.readLater(q, err)
				break
			}
		}
		after = stored.seq
		out = append(out, Record{stored.seq, stored.epoch, stored.urgent(), body})
	}
	return out
}

// moved tells whether a record is elsewhere, or gone, since it was looked up: its segment
// may have been freed.
func (s *Spool) moved(q QueueID, stored *entry) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.index.at(q, stored.seq)
	return e == nil || e.place != stored.place
}

// readLater notes a queue of which something could not be read.
func (s *Spool) readLater(q QueueID, err error) {
	s.Log.Error("a stored envelope could not be read and is tried again", "error", err)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unread[q] = struct{}{}
}

// readAgain has these queues read again.
func (s *Spool) readAgain() {
	s.mu.Lock()
	again := slices.Collect(maps.Keys(s.unread))
	clear(s.unread)
	s.mu.Unlock()
	if s.Ready != nil && len(again) > 0 {
		s.Ready(again)
	}
}

// sealedEnvelope is an envelope's bytes on the disk.
const sealedEnvelope = protocol.EnvelopeSize + chacha20poly1305.Overhead

// envelopes are for bodies that are read; those that wait here are blank.
var envelopes = sync.Pool{New: func() any { return new([sealedEnvelope]byte) }}

// sealedRoom is room for a sealed body of a class, which forget takes back.
func sealedRoom(class uint8) []byte {
	if bodySizes[class] == protocol.EnvelopeSize {
		return envelopes.Get().(*[sealedEnvelope]byte)[:]
	}
	return make([]byte, bodySizes[class]+chacha20poly1305.Overhead)
}

// forget overwrites a body that was read, and what was behind it.
func forget(body []byte) {
	body = body[:cap(body)]
	clear(body)
	if len(body) == sealedEnvelope {
		envelopes.Put((*[sealedEnvelope]byte)(body))
	}
}

// Forget overwrites the bodies of records that Next returned.
func Forget(records []Record) {
	for _, r := range records {
		forget(r.Body)
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

// body reads and opens a record's body, and leaves none of its keys on the stack. The
// caller hands it to forget when it is done. With errLost it never opens; with another
// error it may be whole.
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
		return nil, errLost
	}
	epochKey := k.key
	s.mu.Unlock()
	defer clear(epochKey[:])
	g.reading.RLock()
	defer g.reading.RUnlock()
	sealed := sealedRoom(e.class)
	if err := g.openBody(&epochKey, e, sealed); err != nil {
		forget(sealed)
		return nil, err
	}
	return sealed[:bodySizes[e.class]], nil
}

// openBody reads a record's body, and opens it where it is. reading is held.
func (g *segment) openBody(epochKey *[32]byte, e *entry, sealed []byte) error {
	var salt [saltSize]byte
	defer clear(salt[:])
	_, err := g.file.ReadAt(salt[:], int64(e.salt))
	if err == nil {
		_, err = g.file.ReadAt(sealed, int64(e.body))
	}
	if errors.Is(err, io.EOF) { // the file was never so long
		return errLost
	}
	if err != nil {
		return err
	}
	key := recordKey(epochKey, salt[:], g.id, g.id+uint64(e.batch), int(e.index))
	defer clear(key[:])
	if _, err := openPart(&key, bodyNonce, sealed); err != nil {
		return errLost
	}
	return nil
}

var errLost = errors.New("the record does not open, or its key or segment is gone")
