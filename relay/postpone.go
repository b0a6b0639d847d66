package relay

import (
	"encoding/binary"
	"slices"
	"time"

	"kin/protocol"
)

const (
	maxPostponed = 128             // places of a connection
	comesAgain   = 5 * time.Second // for what was sent before its sender heard, and is read after the time
	stillComes   = deadAfter       // but no later than so long after it
)

// place is where a sender's order is kept: a queue, and urgent texts in it apart.
type place struct {
	receiver hash
	urgent   bool
}

func placeOf(q *queue, flags uint8) place {
	return place{q.Receiver, flags&protocol.FlagUrgent != 0}
}

// postponed is what was said of a place.
type postponed struct {
	code    protocol.Code
	until   time.Time
	refused []uint32 // beginnings of the ids that were refused first, 16 at most
}

func (p *postponed) refuse(id protocol.MessageID) {
	if len(p.refused) < 16 {
		p.refused = append(p.refused, short(id))
	}
}

func (p *postponed) has(id protocol.MessageID) bool { return slices.Contains(p.refused, short(id)) }

func short(id protocol.MessageID) uint32 { return binary.BigEndian.Uint32(id[:]) }

// postpone refuses an envelope for a while, and with it all that follows for the same
// place on this connection: its sender had sent that too before the refusal came, and it
// is not to overtake (docs/protocol.md, Error codes).
func (s *session) postpone(at place, id protocol.MessageID, n protocol.Corr, code protocol.Code, wait time.Duration) {
	now := time.Now()
	s.mu.Lock()
	p := s.later[at]
	if p == nil {
		for other, p := range s.later {
			if len(s.later) >= maxPostponed && !now.Before(p.until) {
				delete(s.later, other)
			}
		}
		if s.later == nil {
			s.later = map[place]*postponed{}
		}
		p = &postponed{}
		s.later[at] = p
	}
	if until := now.Add(wait); until.After(p.until) {
		p.code, p.until = code, until
	}
	p.refuse(id)
	many := len(s.later) > maxPostponed
	s.mu.Unlock()
	s.refuse(n, code, wait)
	if many { // who begins anew overtakes nothing
		s.hangUp()
	}
}

// waits refuses an envelope whose place is postponed; it tells whether it is. It is no
// more when the time is over and something that was refused comes again: all that was
// sent before its sender heard has come by then. If nothing of it does, having been taken
// back or put elsewhere, that is over too in the end.
func (s *session) waits(at place, id protocol.MessageID, n protocol.Corr) bool {
	s.mu.Lock()
	p := s.later[at]
	if p == nil {
		s.mu.Unlock()
		return false
	}
	left := time.Until(p.until)
	if left <= -stillComes || left <= 0 && p.has(id) {
		delete(s.later, at)
		s.mu.Unlock()
		return false
	}
	p.refuse(id)
	code := p.code
	s.mu.Unlock()
	if left <= 0 {
		left = comesAgain
	}
	s.refuse(n, code, left)
	return true
}
