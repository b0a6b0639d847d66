package relay

import (
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"

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

// waiting is a session that nobody hears.
func waiting() *session { return &session{closed: true} }

// postponing plays a connection's envelopes by an id's first byte.
type postponing struct {
	*testing.T
	s *session
}

func (p postponing) postpone(at place, id byte, code protocol.Code, wait time.Duration) {
	p.s.postpone(at, protocol.MessageID{id}, protocol.Corr{}, code, wait)
}

func (p postponing) want(at place, id byte, waits bool) {
	p.Helper()
	if got := p.s.waits(at, protocol.MessageID{id}, protocol.Corr{}); got != waits {
		p.Errorf("%d at %v waits: %v", id, at, got)
	}
}

func inPostponing(t *testing.T, f func(p postponing)) {
	synctest.Test(t, func(t *testing.T) { f(postponing{t, waiting()}) })
}

// TestWhatIsPostponedComesInItsTime: until then all that follows is refused as the first
// was; and then, until something comes again, what its sender had sent before, however
// late it is read.
func TestWhatIsPostponedComesInItsTime(t *testing.T) {
	inPostponing(t, func(p postponing) {
		at, other := place{receiver: hash{1}}, place{receiver: hash{2}}
		p.postpone(at, 1, protocol.CodeSlowDown, 30*time.Second)
		p.postpone(at, 2, protocol.CodeInternal, 10*time.Second) // which was under way
		for _, c := range []struct {
			after time.Duration
			at    place
			id    byte
			waits bool
		}{
			{0, at, 3, true}, {0, place{at.receiver, true}, 3, false}, {0, other, 3, false},
			{30*time.Second - 1, at, 1, true}, // too soon
			{1, at, 4, true},                  // sent before, and slow
			{100 * time.Second, at, 5, true},
			{100 * time.Second, at, 6, true},
			{0, at, 1, false}, // again
			{0, at, 7, false},
		} {
			time.Sleep(c.after)
			p.want(c.at, c.id, c.waits)
		}
		if n := len(p.s.later.places); n != 0 {
			t.Errorf("%d places are kept", n)
		}
	})
}

// TestWhatWasRefusedBeforeAHoldEndsItNot: a client that sends again what was refused once
// does not know yet that it is refused a second time.
func TestWhatWasRefusedBeforeAHoldEndsItNot(t *testing.T) {
	inPostponing(t, func(p postponing) {
		at := place{receiver: hash{1}}
		p.postpone(at, 1, protocol.CodeQueueFull, time.Minute)
		p.want(at, 2, true)
		time.Sleep(time.Minute)
		p.want(at, 1, false)
		p.postpone(at, 1, protocol.CodeQueueFull, time.Minute)
		time.Sleep(time.Minute) // the line stands still
		p.want(at, 2, true)
		p.want(at, 1, false)
		p.want(at, 2, false)
	})
}

// TestNobodyIsPostponedForGood: what was refused first, or all that was, is never sent
// again.
func TestNobodyIsPostponedForGood(t *testing.T) {
	for name, again := range map[string]byte{"the first": 1, "the second": 2, "the last": underWay, "a new one": 99} {
		t.Run(name, func(t *testing.T) {
			inPostponing(t, func(p postponing) {
				at := place{receiver: hash{1}}
				p.postpone(at, 1, protocol.CodeQueueFull, time.Minute)
				for id := byte(2); id <= underWay; id++ {
					p.want(at, id, true)
				}
				time.Sleep(time.Minute - 1)
				p.want(at, again, true)
				time.Sleep(1)
				p.want(at, again, false)
			})
		})
	}
	t.Run("who had sent one alone", func(t *testing.T) {
		inPostponing(t, func(p postponing) {
			at := place{receiver: hash{1}}
			p.postpone(at, 1, protocol.CodeQueueFull, time.Minute)
			time.Sleep(time.Hour)
			p.want(at, 2, true) // it is not known that 1 was taken back
			time.Sleep(comesAgain)
			p.want(at, 2, false)
		})
	})
}

// TestAFirstBehindItsCancelIsNotStored: the CANCEL was faster; the key that it would have
// been proved with came with the FIRST.
func TestAFirstBehindItsCancelIsNotStored(t *testing.T) {
	s := newStand(t, nil)
	p := s.dial()
	b := s.queue(p, false)
	s.want(p.code(p.cancelCmd(b, 1)), protocol.CodeUnknownQueue)
	s.want(p.code(p.firstCmd(b, b.skey, 1, sealed(1))), protocol.CodeOK)
	s.want(p.code(p.putCmd(b, 2, sealed(2))), protocol.CodeOK)
	if n := s.relay.Status().Envelopes; n != 1 {
		t.Fatalf("%d envelopes are there, want the second alone", n)
	}
}

// TestPostponedPlacesAreBounded: of more than are told apart what was sent before its
// sender heard waits wherever it belongs, and what was sent later does not.
func TestPostponedPlacesAreBounded(t *testing.T) {
	many := func(p postponing, code protocol.Code) (at, last, other place) {
		for i := range byte(maxPostponed) {
			p.postpone(place{receiver: hash{1, i}}, i, protocol.CodeRelayFull, fullWait)
		}
		last = place{receiver: hash{2}}
		p.postpone(last, 100, code, time.Hour)
		if n := len(p.s.later.places); n != maxPostponed {
			p.Errorf("%d places are kept", n)
		}
		return place{receiver: hash{1}}, last, place{receiver: hash{3}}
	}
	t.Run("comes again", func(t *testing.T) {
		inPostponing(t, func(p postponing) {
			at, last, other := many(p, protocol.CodeQueueFull)
			p.want(last, 101, true)
			p.want(other, 102, true)
			p.want(other, 102, false)
			p.want(last, 100, false)
			p.want(at, 103, true)
		})
	})
	t.Run("others come", func(t *testing.T) {
		inPostponing(t, func(p postponing) {
			_, last, other := many(p, protocol.CodeRelayFull)
			for id := range byte(underWay - 1) {
				p.want(other, 110+id, true)
			}
			p.want(other, 110+underWay, false)
			p.want(last, 101, false)
		})
	})
	t.Run("nobody is forgotten early", func(t *testing.T) {
		inPostponing(t, func(p postponing) {
			at, last, _ := many(p, protocol.CodeQueueFull)
			time.Sleep(fullWait)
			p.postpone(last, 100, protocol.CodeQueueFull, time.Minute)
			p.want(at, 102, true) // 0 has not come again
			for id := range byte(underWay) {
				p.s.waits(last, protocol.MessageID{110 + id}, protocol.Corr{})
			}
			p.postpone(last, 100, protocol.CodeQueueFull, time.Minute)
			if n := len(p.s.later.places); n != 1 {
				t.Errorf("%d places are kept, of which the others are over", n)
			}
		})
	})
}

// TestAFirstThatIsPostponedIsNotOvertaken: by its pace, and because its key could not be
// registered.
func TestAFirstThatIsPostponedIsNotOvertaken(t *testing.T) {
	s := newStand(t, func(c *Config) { c.Unread = 1000 })
	p := s.dial()
	b := s.queue(p, false)
	code := protocol.CodeOK
	id := byte(0)
	for ; code == protocol.CodeOK; id++ {
		code = p.code(p.firstCmd(b, b.skey, id, sealed(id)))
	}
	s.want(code, protocol.CodeSlowDown)
	s.want(p.code(p.putCmd(b, id, sealed(id))), protocol.CodeSlowDown)

	p = s.dial()
	b = s.queue(p, false)
	st := s.relay.store
	st.mu.Lock()
	good := st.db
	broken, err := bbolt.Open(filepath.Join(t.TempDir(), "x"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	broken.Close()
	st.db = broken
	st.mu.Unlock()
	s.want(p.code(p.firstCmd(b, b.skey, 1, sealed(1))), protocol.CodeInternal)
	st.mu.Lock()
	st.db = good
	st.mu.Unlock()
	s.want(p.code(p.firstCmd(b, b.skey, 2, sealed(2))), protocol.CodeInternal)
}
