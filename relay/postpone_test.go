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

// TestWhatIsPostponedComesInItsTime: until then all that follows is refused as the first
// was, with the time that is left; and then, until something comes again, what its sender
// had sent before.
func TestWhatIsPostponedComesInItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := waiting()
		at, other := place{receiver: hash{1}}, place{receiver: hash{2}}
		s.postpone(at, protocol.MessageID{1}, protocol.Corr{}, protocol.CodeSlowDown, 30*time.Second)
		s.postpone(at, protocol.MessageID{2}, protocol.Corr{}, protocol.CodeInternal, 10*time.Second) // which was under way
		for _, c := range []struct {
			after time.Duration
			at    place
			id    byte
			waits bool
		}{
			{0, at, 3, true}, {0, place{at.receiver, true}, 3, false}, {0, other, 3, false},
			{30*time.Second - 1, at, 1, true}, // too soon
			{1, at, 4, true},                  // sent before, and slow
			{stillComes - 1, at, 5, true},
			{0, at, 1, false}, // again
			{0, at, 6, false},
		} {
			time.Sleep(c.after)
			if got := s.waits(c.at, protocol.MessageID{c.id}, protocol.Corr{}); got != c.waits {
				t.Errorf("after %v more, %d at %v waits: %v", c.after, c.id, c.at, got)
			}
		}
		if len(s.later) != 0 {
			t.Errorf("%d places are kept", len(s.later))
		}
	})
}

// TestNobodyIsPostponedForGood: seventeen were refused, of which the first comes again
// first; nothing that was refused comes again; and what was refused first was taken back.
func TestNobodyIsPostponedForGood(t *testing.T) {
	for name, c := range map[string]struct {
		again int
		after time.Duration
		waits bool
	}{
		"the first of seventeen": {1, time.Minute, false},
		"the second":             {2, time.Minute, false},
		"a new one, at once":     {99, time.Minute, true},
		"a new one, at last":     {99, time.Minute + stillComes, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := waiting()
			at := place{receiver: hash{1}}
			s.postpone(at, protocol.MessageID{1}, protocol.Corr{}, protocol.CodeQueueFull, time.Minute)
			for id := byte(2); id <= 17; id++ {
				s.waits(at, protocol.MessageID{id}, protocol.Corr{})
			}
			time.Sleep(c.after)
			if s.waits(at, protocol.MessageID{byte(c.again)}, protocol.Corr{}) != c.waits {
				t.Errorf("%s: it waits: %v", name, !c.waits)
			}
		})
	}
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

// TestPostponedPlacesAreBounded: those whose time is over go first; who has more is hung
// up on.
func TestPostponedPlacesAreBounded(t *testing.T) {
	s := newStand(t, func(c *Config) { c.Unread, c.Urgent = 2, 1 })
	p := s.dial()
	b := s.queue(p, true)
	s.relay.mu.Lock()
	var se *session
	for se = range s.relay.sessions {
	}
	s.relay.mu.Unlock()
	fill := func(until time.Time) {
		se.mu.Lock()
		defer se.mu.Unlock()
		se.later = map[place]*postponed{}
		for i := range maxPostponed {
			se.later[place{receiver: hash{0, byte(i)}}] = &postponed{until: until}
		}
	}
	fill(time.Now().Add(-time.Second))
	s.want(p.code(p.putCmd(b, 2, sealed(2))), protocol.CodeQueueFull)
	se.mu.Lock()
	n := len(se.later)
	se.mu.Unlock()
	if n > maxPostponed {
		t.Errorf("%d places are kept", n)
	}
	fill(time.Now().Add(time.Hour))
	p.send(p.putCmd(b, 3, sealed(3)))
	for err := error(nil); err == nil; {
		_, err = p.frames()
	}
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
