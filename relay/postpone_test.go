package relay

import (
	"math/rand/v2"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"kin/internal/disk/disktest"
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

func (s *session) refusal(at place) {
	s.postpone(at, protocol.Corr{}, protocol.CodeQueueFull, time.Minute)
}

// TestWhatIsPostponedComesWhenItsSenderHasHeard: whatever the time is, and as often as it
// takes.
func TestWhatIsPostponedComesWhenItsSenderHasHeard(t *testing.T) {
	s := waiting()
	at, urgent, other := place{receiver: hash{1}}, place{hash{1}, true}, place{receiver: hash{2}}
	s.refusal(at)
	for i, c := range []struct {
		at    place
		heard uint8
		waits bool
	}{
		{at, 0, true}, {urgent, 0, false}, {other, 0, false}, // sent before
		{at, 1, true},  // heard of the first alone
		{at, 2, true},  // and of the second
		{at, 4, false}, // of all
		{at, 4, false},
	} {
		if got := s.waits(c.at, c.heard, protocol.Corr{}); got != c.waits {
			t.Errorf("%d: it waits: %v", i, got)
		}
	}
	if len(s.unheard) != 0 {
		t.Errorf("%d places are kept", len(s.unheard))
	}
}

// TestRefusalsAreCountedOn: behind the last number comes the first.
func TestRefusalsAreCountedOn(t *testing.T) {
	s := waiting()
	at := place{receiver: hash{1}}
	for n := range 1000 {
		s.refusal(at)
		if !s.waits(at, uint8(n%protocol.HeardModulus), protocol.Corr{}) {
			t.Fatalf("who has heard of %d does not wait", n)
		}
		s = &session{closed: true, refusals: s.refusals - 1, unheard: s.unheard}
		if s.unheard[0].number = s.refusals; s.waits(at, uint8((n+1)%protocol.HeardModulus), protocol.Corr{}) {
			t.Fatalf("who has heard of %d waits", n+1)
		}
	}
}

// TestRefusalsTellForHowLong: a follower is told to wait for as long as what it follows.
func TestRefusalsTellForHowLong(t *testing.T) {
	s := newStand(t, func(c *Config) { c.Unread, c.Urgent = 2, 1 })
	p := s.dial()
	b := s.queue(p, true)
	var waits [2]uint32
	for i := range waits {
		p.send(p.putCmd(b, byte(3+i), sealed(3)))
		waits[i] = next[*protocol.Error](p).Wait
	}
	if waits[0] == 0 || waits[1] > waits[0] || waits[1]+1 < waits[0] {
		t.Errorf("%d s, and then %d", waits[0], waits[1])
	}
}

// TestNothingOvertakesOnAnyLine: a client that has up to sixteen envelopes under way to
// many queues, each of which is full now and then, on a line that holds up either way; it
// takes some back. Each queue gets what is left in order, and all of it.
func TestNothingOvertakesOnAnyLine(t *testing.T) {
	for _, places := range []int{1, 3, 40, 1000} {
		r := rand.New(rand.NewPCG(1, uint64(places)))
		s := waiting()
		type envelope struct {
			at, n int
			heard uint8
			over  bool // stored, or taken back
		}
		type answer struct {
			*envelope
			ok bool
		}
		var up []*envelope // on the line
		var down []answer
		all := make([][]*envelope, places)
		next := make([]int, places) // which is sent next
		stored := make([]int, places)
		var heard uint8
		underWay, left, doubled := 0, 0, 0
		for at := range all {
			for n := range 40 + 2000/places {
				all[at] = append(all[at], &envelope{at: at, n: n + 1})
				left++
			}
		}
		for step := 0; left > 0; step++ {
			if step > 10_000_000 {
				t.Fatalf("%d places: %d are left", places, left)
			}
			switch at := r.IntN(places); r.IntN(4) {
			case 0: // send
				for next[at] < len(all[at]) && all[at][next[at]].over {
					next[at]++
				}
				if next[at] < len(all[at]) && underWay < 16 {
					sent := *all[at][next[at]]
					sent.heard = heard
					up = append(up, &sent)
					next[at]++
					underWay++
				}
			case 1, 2: // read at the relay
				if len(up) == 0 {
					continue
				}
				e := up[0]
				up = up[1:]
				at := place{receiver: hash{byte(e.at), byte(e.at >> 8)}}
				switch {
				case s.waits(at, e.heard, protocol.Corr{}):
					down = append(down, answer{e, false})
				case r.IntN(3) == 0:
					s.refusal(at)
					down = append(down, answer{e, false})
				case e.n < stored[e.at]:
					t.Fatalf("%d places: %d comes behind %d", places, e.n, stored[e.at])
				default:
					if e.n == stored[e.at] {
						doubled++
					}
					stored[e.at] = e.n
					down = append(down, answer{e, true})
				}
			default: // heard
				if len(down) == 0 {
					continue
				}
				a := down[0]
				down = down[1:]
				underWay--
				e := all[a.at][a.n-1]
				switch {
				case a.ok:
					e.over = true
					left--
				case r.IntN(10) == 0: // taken back
					e.over = true
					left--
					heard = (heard + 1) % protocol.HeardModulus
				default:
					heard = (heard + 1) % protocol.HeardModulus
					next[a.at] = min(next[a.at], a.n-1)
				}
			}
		}
		if len(s.unheard) > maxUnheard || doubled > 0 {
			t.Errorf("%d places: %d are kept; %d came twice", places, len(s.unheard), doubled)
		}
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

// TestUnheardPlacesAreBounded: who never says what was heard is hung up on.
func TestUnheardPlacesAreBounded(t *testing.T) {
	s := newStand(t, func(c *Config) { c.Unread, c.Urgent = 2, 1 })
	p := s.dial()
	b := s.queue(p, true)
	s.relay.mu.Lock()
	var se *session
	for se = range s.relay.sessions {
	}
	s.relay.mu.Unlock()
	for i := range byte(maxUnheard - 1) {
		se.refusal(place{receiver: hash{0, i}})
	}
	for told := 0; told < maxUnheard-1; {
		as, err := p.frames()
		if err != nil {
			t.Fatal(err)
		}
		told += len(as)
	}
	s.want(p.code(p.putCmd(b, 3, sealed(3))), protocol.CodeQueueFull)
	s.want(p.code(p.putCmd(b, 4, sealed(4))), protocol.CodeQueueFull)
	se.refusal(place{receiver: hash{1}})
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

// TestAfterTheDiskFailedOnceItStores: what was refused comes again, once its sender has heard,
// and so does what others put.
func TestAfterTheDiskFailedOnceItStores(t *testing.T) {
	d := disktest.New()
	s := newStand(t, func(c *Config) { c.FS = d })
	p, other := s.dial(), s.dial()
	b := s.queue(p, true)
	heard := func(id byte, n uint8) *protocol.Put {
		c := p.putCmd(b, id, sealed(id))
		c.Flags = protocol.FlagsOf(false, n)
		c.Proof = p.proof(b.skey, c.Corr, c)
		return c
	}
	d.FailAt(d.Ops()+1, syscall.EIO)
	s.want(p.code(heard(1, 0)), protocol.CodeInternal)
	s.want(p.code(heard(2, 0)), protocol.CodeInternal)
	s.relay.spool.Await() // all were told
	s.want(p.code(heard(1, 2)), protocol.CodeOK)
	s.want(p.code(heard(2, 2)), protocol.CodeOK)
	s.want(other.code(other.putCmd(b, 3, sealed(3))), protocol.CodeOK)
}
