package relay

import (
	"testing"

	"kin/protocol"
)

// session is the relay's only one.
func (s *stand) session() (one *session) {
	s.relay.mu.Lock()
	defer s.relay.mu.Unlock()
	for one = range s.relay.sessions {
	}
	return one
}

// TestTheLastHandleStopsNobody: a connection has 65,535 handles in its life; what comes
// under the last is sent, and the relay goes on.
func TestTheLastHandleStopsNobody(t *testing.T) {
	s := newStand(t, nil)
	p := s.dial()
	b, other := s.queue(p, true), s.queue(p, false)
	one := s.session()
	one.mu.Lock()
	one.last = 1<<16 - 2
	one.mu.Unlock()
	if sub := p.sub(b); sub.Handle != 1<<16-1 {
		t.Fatalf("handle %d", sub.Handle)
	}
	next[*protocol.Msg](p)
	s.want(p.code(p.putCmd(b, 1, sealed(1))), protocol.CodeOK)
	s.want(p.sub(other).Code, protocol.CodeSubscribers)
}
