package ratchet

import "testing"

// BenchmarkStep is what a message that is an answer costs: sealing it, and
// opening it with a ratchet step.
func BenchmarkStep(b *testing.B) {
	p := newPair(b)
	from, to := &p.host, &p.guest
	for b.Loop() {
		to.hear(b, from.say(b, "an answer to each message"))
		from, to = to, from
	}
}

// BenchmarkSeal and BenchmarkOpen are a message of the same chain.
func BenchmarkSeal(b *testing.B) {
	p := newPair(b)
	for b.Loop() {
		if _, _, _, err := p.guest.Seal(p.guest.peerQE, []byte("x")); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	p := newPair(b)
	e := p.guest.say(b, "x")
	for b.Loop() {
		if _, _, err := p.host.Open(p.host.qe, e, noon); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpenStep is opening alone, with its ratchet step.
func BenchmarkOpenStep(b *testing.B) {
	p := newPair(b)
	e := p.host.say(b, "x")
	for b.Loop() {
		if _, _, err := p.guest.Open(p.guest.qe, e, noon); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLargestJump is the most that one message from a peer can cost.
func BenchmarkLargestJump(b *testing.B) {
	p := newPair(b)
	f := forgeChain(p.host.Session, p.guest.dh.PublicKey().Bytes(), agree(b, p.guest.dh, p.host.dh.PublicKey()), p.guest.kem.EncapsulationKey().Bytes())
	f.header.pn = maxJump
	f.seq += maxJump - 1
	e := f.jump(maxJump).to(b, p.host.qe)
	for b.Loop() {
		if _, _, err := p.host.Open(p.host.qe, e, noon); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDigits(b *testing.B) {
	p := newPair(b)
	for b.Loop() {
		p.host.Digits()
	}
}
