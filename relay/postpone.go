package relay

import (
	"time"

	"kin/protocol"
)

// place is where a sender's order is kept: a queue, and urgent texts in it apart.
type place struct {
	receiver hash
	urgent   bool
}

// postponed is what was said of a place.
type postponed struct {
	code  protocol.Code
	until time.Time
}

// postpone refuses a command for a while, and with it all that follows for the same
// place on this connection: its sender had sent that too before the refusal came, and it
// is not to overtake (docs/protocol.md, Relay).
func (s *session) postpone(at place, n protocol.Corr, code protocol.Code, wait time.Duration) {
	s.mu.Lock()
	if s.later == nil {
		s.later = map[place]postponed{}
	}
	s.later[at] = postponed{code, time.Now().Add(wait)}
	s.mu.Unlock()
	s.refuse(n, code, wait)
}

// waits refuses a command whose place is postponed; it tells whether it is.
func (s *session) waits(at place, n protocol.Corr) bool {
	s.mu.Lock()
	p, ok := s.later[at]
	left := time.Until(p.until)
	if ok && left <= 0 {
		delete(s.later, at)
	}
	s.mu.Unlock()
	if left <= 0 {
		return false
	}
	s.refuse(n, p.code, left)
	return true
}
