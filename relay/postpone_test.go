package relay

import (
	"testing"
	"testing/synctest"
	"time"

	"kin/protocol"
)

// TestNothingOvertakesWhatIsPostponed: a client sends several envelopes before it hears of
// the first. When there is room again between two of them, the later is not taken first;
// urgent ones, and other connections, go on.
func TestNothingOvertakesWhatIsPostponed(t *testing.T) {
	s := newStand(t, func(c *Config) { c.Unread, c.Urgent = 4, 1 })
	p := s.dial()
	b := s.queue(p, true)
	for id := byte(1); id < 3; id++ {
		s.want(p.code(p.putCmd(b, id, sealed(id))), protocol.CodeOK)
	}
	s.want(p.code(p.putCmd(b, 3, sealed(3))), protocol.CodeQueueFull)

	reader := s.dial()
	sub := reader.sub(b)
	m := next[*protocol.Msg](reader)
	reader.send(&protocol.Ack{Handle: sub.Handle, Sequences: []uint64{m.Sequence}})
	for reader.sub(b).Waiting != 2 { // the ACK is not answered
	}
	s.want(p.code(p.putCmd(b, 4, sealed(4))), protocol.CodeQueueFull)

	urgent := p.putCmd(b, 5, sealed(5))
	urgent.Flags = protocol.FlagUrgent
	urgent.Proof = p.proof(b.skey, urgent.Corr, urgent)
	anew := s.dial()
	s.want(anew.code(anew.putCmd(b, 3, sealed(3))), protocol.CodeOK)
	s.want(p.code(urgent), protocol.CodeOK)
}

// TestWhatIsPostponedComesInItsTime: until then it is refused as the first was, with the
// time that is left.
func TestWhatIsPostponedComesInItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &session{}
		at, other := place{receiver: hash{1}}, place{receiver: hash{2}}
		s.closed = true // nobody hears the answers
		s.postpone(at, protocol.Corr{}, protocol.CodeSlowDown, 30*time.Second)
		for _, c := range []struct {
			after time.Duration
			at    place
			waits bool
		}{{0, at, true}, {0, place{at.receiver, true}, false}, {0, other, false}, {30*time.Second - 1, at, true}, {1, at, false}, {0, at, false}} {
			time.Sleep(c.after)
			if got := s.waits(c.at, protocol.Corr{}); got != c.waits {
				t.Errorf("after %v more, %v waits: %v", c.after, c.at, got)
			}
		}
		if len(s.later) != 0 {
			t.Errorf("%d places are kept", len(s.later))
		}
	})
}
