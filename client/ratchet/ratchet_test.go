package ratchet

import (
	"bytes"
	"crypto/ecdh"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

// refuse opens an envelope that must be refused for want, and checks that the
// state is the same afterwards.
func refuse(t testing.TB, s side, envelope []byte, want error) *OpenError {
	t.Helper()
	before := s.Marshal()
	next, m, err := s.Open(s.qe, envelope, noon)
	if !errors.Is(err, want) {
		t.Fatalf("Open: %v; want %v", err, want)
	}
	if next != nil || m.Plaintext != nil || m.Seq != 0 {
		t.Fatalf("Open: results beside the error %v", err)
	}
	if !bytes.Equal(s.Marshal(), before) {
		t.Fatalf("Open: state changed by %v", err)
	}
	var oe *OpenError
	outside := errors.Is(err, ErrEnvelope) || errors.Is(err, ErrType) || errors.Is(err, ErrTag)
	if errors.As(err, &oe) == outside {
		t.Fatalf("Open: %v: seq and echo must be known exactly behind the tag", err)
	}
	return oe
}

func TestSizes(t *testing.T) {
	if MaxPlaintext != 1562 || MaxFirst != 426 || headerSize != 2316 || encHdrSize != 2356 || tagSize != 56 {
		t.Fatal(MaxPlaintext, MaxFirst, headerSize, encHdrSize, tagSize)
	}
	p := newPair(t)
	for _, n := range []int{0, 1, MaxPlaintext - 1, MaxPlaintext} {
		text := bytes.Repeat([]byte{0x80}, n)
		next, envelope, sealed, err := p.guest.Seal(p.guest.peerQE, text)
		if err != nil || len(envelope) != EnvelopeSize {
			t.Fatalf("Seal of %d: %d, %v", n, len(envelope), err)
		}
		p.guest.Session = next
		m := p.host.hear(t, envelope)
		if !bytes.Equal(m.Plaintext, text) || m.Seq != sealed.Seq || m.Commitment != sealed.Commitment {
			t.Fatalf("plaintext of %d: %d came, %+v", n, len(m.Plaintext), sealed)
		}
	}
	if _, _, _, err := p.guest.Seal(p.guest.peerQE, make([]byte, MaxPlaintext+1)); err == nil {
		t.Fatal("Seal took a longer plaintext")
	}
	for _, n := range []int{0, MaxFirst, MaxFirst + 1} {
		_, envelope, _, err := Begin(p.bundle, make([]byte, n))
		if (err == nil) != (n <= MaxFirst) || err == nil && len(envelope) != EnvelopeSize {
			t.Fatalf("Begin with %d: %d, %v", n, len(envelope), err)
		}
	}
	if _, err := p.keys.Bundle([16]byte{}, [24]byte{}, make([]byte, 1401)); err == nil {
		t.Fatal("Bundle took a longer meta")
	}
}

func TestSeqEcho(t *testing.T) {
	p := newPair(t)
	if p.guest.Sent() != 1 || p.guest.Received() != 0 || p.host.Sent() != 0 || p.host.Received() != 1 {
		t.Fatal("numbers after the handshake")
	}
	for i, want := range []struct {
		from, to  *side
		seq, echo uint64
	}{
		{&p.guest, &p.host, 2, 0}, {&p.host, &p.guest, 1, 2}, {&p.host, &p.guest, 2, 2},
		{&p.guest, &p.host, 3, 2}, {&p.guest, &p.host, 4, 2}, {&p.host, &p.guest, 3, 4},
	} {
		m := want.to.hear(t, want.from.say(t, "x"))
		if m.Seq != want.seq || m.Echo != want.echo || want.to.Received() != want.seq || want.from.Sent() != want.seq {
			t.Fatalf("message %d: seq %d, echo %d; want %d, %d", i, m.Seq, m.Echo, want.seq, want.echo)
		}
	}
}

func TestReplay(t *testing.T) {
	p := newPair(t)
	one := p.guest.say(t, "one")
	two := p.guest.say(t, "two")
	p.host.hear(t, two)
	p.host.hear(t, one)
	for i, e := range [][]byte{one, two} {
		if oe := refuse(t, p.host, e, ErrUsed); oe.Seq != uint64(2+i) {
			t.Fatalf("seq %d", oe.Seq)
		}
	}
	// A chain of which nothing is missing is forgotten with its header key.
	p.exchange(t)
	if oe := refuse(t, p.host, one, ErrNoKey); oe.Seq != 2 || oe.Seq > p.host.Received() {
		t.Fatalf("seq %d", oe.Seq)
	}
	// One of which a message is missing is not.
	three, four := p.guest.say(t, "three"), p.guest.say(t, "four")
	p.host.hear(t, four)
	p.exchange(t)
	refuse(t, p.host, four, ErrUsed)
	p.host.hear(t, three)
	refuse(t, p.host, three, ErrNoKey)
}

func TestReflection(t *testing.T) {
	p := newPair(t)
	p.exchange(t)
	back := outerAgain(t, p.host.qe, p.guest.qe, p.guest.say(t, "x"))
	refuse(t, p.guest, back, ErrTag)
}

// outerAgain moves the inside of an envelope into another queue's outer box.
func outerAgain(t testing.TB, from, to *ecdh.PrivateKey, envelope []byte) []byte {
	t.Helper()
	inner, err := openOuter(from, envelope)
	if err != nil {
		t.Fatal(err)
	}
	return outer(t, to, inner)
}

func TestFlightID(t *testing.T) {
	p := newPair(t)
	h := p.bundle.Hash()
	id, err := FlightID(h, p.keys.QueueKey(), p.flight)
	if err != nil || id != p.id.ID {
		t.Fatalf("FlightID: %x, %v; want %x", id, err, p.id.ID)
	}
	if id, _ = FlightID([32]byte{1}, p.keys.QueueKey(), p.flight); id == p.id.ID {
		t.Fatal("FlightID does not depend on h")
	}
	_, other, _, err := Begin(p.bundle, nil)
	if err != nil {
		t.Fatal(err)
	}
	if id, err = FlightID(h, p.keys.QueueKey(), other); err != nil || id == p.id.ID {
		t.Fatalf("another guest has the same id, or %v", err)
	}
	if _, err = FlightID(h, p.keys.QueueKey(), p.guest.say(t, "x")); !errors.Is(err, ErrType) {
		t.Fatalf("FlightID of a message: %v", err)
	}
	if _, err = FlightID(h, newX25519(t), p.flight); !errors.Is(err, ErrEnvelope) {
		t.Fatalf("FlightID with another key: %v", err)
	}
}

func TestDigits(t *testing.T) {
	p, q := newPair(t), newPair(t)
	d := p.guest.Digits()
	if d != p.host.Digits() || d == q.guest.Digits() || len(d) != 12*5+11 {
		t.Fatalf("digits %q, %q", d, p.host.Digits())
	}
	p.exchange(t)
	if d != p.guest.Digits() {
		t.Fatal("the digits changed in a session")
	}
}

// TestStrangersHeaderKeyZero: before the host's first message the guest has no
// receiving chain, and must not try the header key that isn't there.
func TestStrangersHeaderKeyZero(t *testing.T) {
	p := newPair(t)
	f := forge(p.host)
	f.hk = key{}
	refuse(t, p.guest, f.to(t, p.guest.qe), ErrNoKey)
}

func TestRollback(t *testing.T) {
	p := newPair(t)
	p.exchange(t)
	old := p.host
	for range 3 {
		p.guest.hear(t, p.host.say(t, "lost by the host's old copy"))
	}
	m := p.guest.say(t, "x")
	oe := refuse(t, old, m, ErrRollback)
	if oe.Echo != p.host.Sent() || oe.Echo <= old.Sent() {
		t.Fatalf("echo %d, sent %d", oe.Echo, old.Sent())
	}
	// A profile that only received since is told by a new seq that nothing fits.
	old = p.host
	p.host.hear(t, m)
	p.exchange(t)
	next := p.guest.say(t, "later")
	if oe = refuse(t, old, next, ErrRollback); oe.Seq <= old.Received() {
		t.Fatalf("seq %d", oe.Seq)
	}
	f := forge(p.guest)
	f.echo = 0
	if oe = refuse(t, old, f.to(t, old.qe), ErrNoKey); oe.Seq <= old.Received() {
		t.Fatalf("seq %d is not above %d", oe.Seq, old.Received())
	}
}

func TestChainFull(t *testing.T) {
	p := newPair(t)
	p.guest.Session = new(*p.guest.Session)
	p.guest.send.n, p.guest.sent = maxChain-1, maxChain
	p.guest.say(t, "60,000th")
	if next, e, _, err := p.guest.Seal(p.guest.peerQE, nil); !errors.Is(err, ErrChainFull) || next != nil || e != nil {
		t.Fatalf("Seal: %v", err)
	}
	if _, err := ParseSession(p.guest.Marshal()); err != nil {
		t.Fatal("a full chain doesn't parse")
	}
	p.guest.hear(t, p.host.say(t, "an answer"))
	p.guest.say(t, "goes on")
}

func TestLargestJump(t *testing.T) {
	p := newPair(t)
	far := forge(p.guest).jump(maxJump)
	refuse(t, p.host, far.jump(maxJump+1).to(t, p.host.qe), ErrJump)
	far.seq = 2
	refuse(t, p.host, far.to(t, p.host.qe), ErrHeader)
	far.seq = maxJump + 1
	p.host.hear(t, far.to(t, p.host.qe))
	if _, err := ParseSession(p.host.Marshal()); err != nil {
		t.Fatal(err)
	}
	if got := p.host.recv.skipped; len(got) != maxSkipStep || got[0].n != maxJump-maxSkipStep || got[len(got)-1].n != maxJump-1 {
		t.Fatalf("%d keys kept", len(got))
	}
	kept := forge(p.guest).jump(maxJump - maxSkipStep)
	p.host.hear(t, kept.to(t, p.host.qe))
	refuse(t, p.host, forge(p.guest).jump(maxJump-maxSkipStep-1).to(t, p.host.qe), ErrUsed)
}

// TestSkippedAtMost: 2,048 keys in a session; the oldest go first.
func TestSkippedAtMost(t *testing.T) {
	p := newPair(t)
	var early []byte // a message of the oldest chain, its last
	for i := range 5 {
		if i == 0 {
			early = forge(p.guest).jump(maxSkipStep).to(t, p.host.qe)
		}
		p.guest.Session = skipAhead(p.guest.Session, maxSkipStep+1)
		p.host.hear(t, p.guest.say(t, "behind a jump"))
		p.guest.hear(t, p.host.say(t, "an answer"))
		count := 0
		for _, c := range append(slices.Clone(p.host.old), p.host.recv.skipChain) {
			count += len(c.skipped)
		}
		if want := min((i+1)*maxSkipStep, maxSkipped); count != want {
			t.Fatalf("round %d: %d keys, want %d", i, count, want)
		}
		if _, err := ParseSession(p.host.Marshal()); err != nil {
			t.Fatal(err)
		}
		if i == 3 {
			s, _, err := p.host.Open(p.host.qe, early, noon)
			if err != nil || len(s.old) != 3 {
				t.Fatalf("before the limit: %v", err)
			}
		}
	}
	refuse(t, p.host, early, ErrNoKey)

	// One more key pushes out exactly one: the lowest of the oldest chain.
	oldest := p.host.old[len(p.host.old)-1]
	p.guest.say(t, "lost")
	p.host.hear(t, p.guest.say(t, "comes"))
	now := p.host.old[len(p.host.old)-1]
	if now.hk != oldest.hk || !slices.Equal(now.skipped, oldest.skipped[1:]) {
		t.Fatalf("%d keys of the oldest chain are left, of %d", len(now.skipped), len(oldest.skipped))
	}
	// And so does one more in the same chain.
	p.guest.say(t, "lost")
	p.host.hear(t, p.guest.say(t, "comes"))
	if now = p.host.old[len(p.host.old)-1]; !slices.Equal(now.skipped, oldest.skipped[2:]) {
		t.Fatalf("%d keys of the oldest chain are left, of %d", len(now.skipped), len(oldest.skipped))
	}
}

// skipAhead is a sender's state after n messages that nobody will see.
func skipAhead(s *Session, n int) *Session {
	s = new(*s)
	for range n {
		s.send.ck = nextChainKey(&s.send.ck)
		s.send.n++
		s.sent++
	}
	return s
}

// TestOldHeaderKeys: five old chains with something missing, not six.
func TestOldHeaderKeys(t *testing.T) {
	p := newPair(t)
	var lost [][]byte
	for range maxOldChains + 2 {
		lost = append(lost, p.guest.say(t, "late"))
		p.host.hear(t, p.guest.say(t, "in time"))
		p.guest.hear(t, p.host.say(t, "an answer"))
	}
	if len(p.host.old) != maxOldChains {
		t.Fatalf("%d old chains", len(p.host.old))
	}
	refuse(t, p.host, lost[0], ErrNoKey)
	for i, e := range lost[1:] {
		if m := p.host.hear(t, e); string(m.Plaintext) != "late" {
			t.Fatalf("chain %d: %q", i, m.Plaintext)
		}
	}
	if len(p.host.old) != 0 {
		t.Fatal("chains without keys were kept")
	}
}

func TestForget(t *testing.T) {
	p := newPair(t)
	at := func(days int) time.Time { return noon.Add(time.Duration(days) * 24 * time.Hour) }
	late := make(map[uint64][]byte)
	open := func(e []byte, now time.Time) {
		t.Helper()
		next, _, err := p.host.Open(p.host.qe, e, now)
		if err != nil {
			t.Fatal(err)
		}
		p.host.Session = next
	}
	late[2] = p.guest.say(t, "late")
	open(p.guest.say(t, "3"), at(0))
	late[4] = p.guest.say(t, "late")
	open(p.guest.say(t, "5"), at(2))
	p.guest.hear(t, p.host.say(t, "an answer"))
	late[6] = p.guest.say(t, "late")
	open(p.guest.say(t, "7"), at(1))

	if s, lost := p.host.Forget(at(15).Add(-time.Second)); s != p.host.Session || lost != nil {
		t.Fatalf("a second early: %v", lost)
	}
	before := p.host.Marshal()
	for _, step := range []struct {
		now  time.Time
		lost []uint64
		old  int
	}{
		{at(15), []uint64{2}, 1}, {at(16), []uint64{2, 6}, 1}, {at(17), []uint64{2, 4, 6}, 0},
	} {
		s, lost := p.host.Forget(step.now)
		if !slices.Equal(lost, step.lost) || len(s.old) != step.old {
			t.Fatalf("Forget(%v): lost %v, %d old chains; want %v, %d", step.now, lost, len(s.old), step.lost, step.old)
		}
		if _, err := ParseSession(s.Marshal()); err != nil {
			t.Fatal(err)
		}
		for seq, e := range late {
			_, _, err := s.Open(p.host.qe, e, noon)
			if gone := slices.Contains(lost, seq); gone != (err != nil) {
				t.Fatalf("Forget(%v): seq %d: %v", step.now, seq, err)
			}
		}
	}
	if !bytes.Equal(before, p.host.Marshal()) {
		t.Fatal("Forget changed the old state")
	}
}

// TestStatesShareNothing: two states that follow from one don't write into each
// other's keys, nor into the one before.
func TestStatesShareNothing(t *testing.T) {
	p := newPair(t)
	var sent [][]byte
	for range 12 {
		sent = append(sent, p.guest.say(t, "x"))
	}
	p.host.hear(t, sent[5]) // 0 to 4 are skipped
	skipped := p.host
	for _, i := range []int{1, 3} {
		p.host.hear(t, sent[i])
	}
	p.guest.hear(t, p.host.say(t, "an answer"))
	newChain := []([]byte){p.guest.say(t, "lost"), p.guest.say(t, "y")}
	for name, start := range map[string]side{"behind a skip": skipped, "in a chain": p.host, "behind a step": {mustOpen(t, p.host, newChain[1], noon), p.host.qe, nil}} {
		before := start.Marshal()
		var states []*Session
		var bytesOf [][]byte
		for _, e := range append(slices.Clone(sent), newChain...) {
			for _, now := range []time.Time{noon, noon.Add(time.Hour)} {
				if s, _, err := start.Open(start.qe, e, now); err == nil {
					states, bytesOf = append(states, s), append(bytesOf, s.Marshal())
				}
			}
		}
		if len(states) < 10 {
			t.Fatalf("%s: only %d states followed", name, len(states))
		}
		if s, lost := start.Forget(noon.Add(360 * time.Hour)); len(lost) > 0 {
			states, bytesOf = append(states, s), append(bytesOf, s.Marshal())
		}
		for i, s := range states {
			if !bytes.Equal(s.Marshal(), bytesOf[i]) {
				t.Fatalf("%s: state %d was changed by a later one", name, i)
			}
		}
		if !bytes.Equal(start.Marshal(), before) {
			t.Fatalf("%s: the old state was changed", name)
		}
	}
}

func mustOpen(t testing.TB, s side, envelope []byte, now time.Time) *Session {
	t.Helper()
	next, _, err := s.Open(s.qe, envelope, now)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

// TestForwardSecrecy: what an operation used up is not in the next state.
func TestForwardSecrecy(t *testing.T) {
	p := newPair(t)
	p.exchange(t)
	absent := func(op string, next *Session, secrets map[string][]byte) {
		t.Helper()
		b := next.Marshal()
		for name, secret := range secrets {
			if bytes.Contains(b, secret) {
				t.Errorf("%s: %s is still there", op, name)
			}
		}
	}
	mkOf := func(ck key) []byte { mk := messageKey(&ck); return mk[:] }

	old := p.guest
	lost, two := p.guest.say(t, "lost"), p.guest.say(t, "two")
	absent("Seal", p.guest.Session, map[string][]byte{
		"CKs": old.send.ck[:], "mk": mkOf(old.send.ck), "next mk": mkOf(nextChainKey(&old.send.ck)),
	})

	old = p.host
	p.host.hear(t, two)
	absent("Open", p.host.Session, map[string][]byte{"CKr": old.recv.ck[:], "mk": mkOf(nextChainKey(&old.recv.ck))})
	old = p.host
	p.host.hear(t, lost)
	absent("Open of a skipped message", p.host.Session, map[string][]byte{"mk": old.recv.skipped[0].mk[:]})

	p.host.say(t, "lost")
	answer := p.host.say(t, "an answer")
	old = p.guest
	p.guest.hear(t, answer)
	absent("a step", p.guest.Session, map[string][]byte{
		"RK": old.root[:], "DHs": old.dh.Bytes(), "dks": old.kem.Bytes(),
		"HKs": old.send.hk[:], "CKs": old.send.ck[:], "HKr": old.recv.hk[:], "CKr": old.recv.ck[:],
	})
	if bytes.Equal(old.dh.Bytes(), p.guest.dh.Bytes()) || bytes.Equal(old.kem.Bytes(), p.guest.kem.Bytes()) || bytes.Equal(old.ct, p.guest.ct) {
		t.Error("a step kept a key")
	}
	old = p.guest
	p.guest.hear(t, p.host.say(t, "the same chain"))
	if old.dh != p.guest.dh || old.kem != p.guest.kem {
		t.Error("a message of the same chain made a step")
	}
	s, _ := p.guest.Forget(noon.Add(16 * 24 * time.Hour))
	absent("Forget", s, map[string][]byte{"mk": p.guest.recv.skipped[0].mk[:]})

	q := newPair(t)
	absent("Accept", q.host.Session, map[string][]byte{
		"IKb": q.keys.identity.Bytes(), "OPKb": q.keys.oneTime.Bytes(), "RKb": q.keys.ratchet.Bytes(),
		"seed of ek_hs": q.keys.handshakeKEM.Bytes(), "seed of ek_r": q.keys.ratchetKEM.Bytes(),
	})
}

// TestEveryFlip: no bit of an envelope is free, and none that is wrong changes anything.
func TestEveryFlip(t *testing.T) {
	p := newPair(t)
	p.exchange(t)
	e := p.guest.say(t, "x")
	for i := 0; i < len(e); i += 7 {
		bad := bytes.Clone(e)
		bad[i] ^= 1 << (i % 8)
		refuse(t, p.host, bad, ErrEnvelope)
	}
	parts := []struct {
		name string
		size int
		want error
	}{
		{"type", 1, ErrType}, {"tag", tagSize, ErrTag}, {"header", encHdrSize, ErrNoKey},
		{"nonce", nonceSize, ErrBody}, {"commitment", 32, ErrCommitment}, {"box", messageBody - bodyOverhead + 16, ErrBody},
	}
	at := 0
	for _, part := range parts {
		for i := 0; i < part.size; i += 1 + part.size/40 {
			bad := reseal(t, p.host.qe, e, func(inner []byte) { inner[at+i] ^= 1 << (i % 8) })
			refuse(t, p.host, bad, part.want)
		}
		at += part.size
	}
	if at != innerSize {
		t.Fatalf("parts of %d bytes", at)
	}
	p.host.hear(t, e)
	refuse(t, p.host, e[:EnvelopeSize-1], ErrEnvelope)
	refuse(t, p.host, append(e, 0), ErrEnvelope)
	refuse(t, p.host, nil, ErrEnvelope)
}

// TestLowOrder: every place that takes a peer's X25519 key refuses the points with
// which everybody knows the secret, in a message that is otherwise right.
func TestLowOrder(t *testing.T) {
	p := newPair(t)
	p.exchange(t)
	good := newX25519(t)
	goodShared := agree(t, good, p.host.dh.PublicKey())
	ek := p.guest.kem.EncapsulationKey().Bytes()
	if _, _, err := p.host.Open(p.host.qe, forgeChain(p.host.Session, good.PublicKey().Bytes(), goodShared, ek).to(t, p.host.qe), noon); err != nil {
		t.Fatalf("a right forgery: %v", err)
	}
	if _, _, _, err := p.keys.Accept(p.bundle.Hash(), forgeFlight(t, p.bundle).envelope(t, p.host.qe)); err != nil {
		t.Fatalf("a right forged flight: %v", err)
	}
	accept := func(f flightForgery) error {
		s, _, _, err := p.keys.Accept(p.bundle.Hash(), f.envelope(t, p.host.qe))
		if s != nil && err != nil {
			t.Fatal("a session beside an error")
		}
		return err
	}
	for _, point := range withTopBits() {
		t.Run(fmt.Sprintf("%x", point), func(t *testing.T) {
			refuse(t, p.host, lowOrderOuter(point, p.host.qe, forge(p.guest).inner()), ErrEnvelope)
			refuse(t, p.host, forgeChain(p.host.Session, point, zero32, ek).to(t, p.host.qe), ErrKey)
			if _, _, _, err := p.host.Seal(point, nil); !errors.Is(err, ErrKey) {
				t.Errorf("Seal: %v", err)
			}
			f := forgeFlight(t, p.bundle)
			f.eka, f.d1, f.d2 = point, zero32, zero32
			if err := accept(f); !errors.Is(err, ErrKey) {
				t.Errorf("EKa: %v", err)
			}
			f = forgeFlight(t, p.bundle)
			f.ika, f.d3 = point, zero32
			if err := accept(f); !errors.Is(err, ErrKey) {
				t.Errorf("IKa: %v", err)
			}
			f = forgeFlight(t, p.bundle)
			f.dh, f.shared = point, zero32
			if err := accept(f); !errors.Is(err, ErrKey) {
				t.Errorf("DH key of the first message: %v", err)
			}
			for name, at := range map[string]int{"IKb": 20, "OPKb": 56, "RKb": 92, "QEb": 2504} {
				b := p.bundle.Marshal()
				copy(b[at:], point)
				if got, err := ParseBundle(b); !errors.Is(err, ErrBundle) || !errors.Is(err, ErrKey) || got != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
	refuse(t, p.host, forgeChain(p.host.Session, good.PublicKey().Bytes(), goodShared, badKEM(ek)).to(t, p.host.qe), ErrKey)
	f := forgeFlight(t, p.bundle)
	f.ek = badKEM(f.ek)
	if err := accept(f); !errors.Is(err, ErrKey) {
		t.Errorf("ek of the first message: %v", err)
	}
	for name, at := range map[string]int{"ek_hs": 128, "ek_r": 1316} {
		b := p.bundle.Marshal()
		copy(b[at:], badKEM(b[at:at+kemPublic]))
		if _, err := ParseBundle(b); !errors.Is(err, ErrBundle) || !errors.Is(err, ErrKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
