package ratchet

import (
	"bytes"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"kin/protocol"
)

// TestParseSessionStrict: every state below is one that Marshal can write and no
// operation leads to.
func TestParseSessionStrict(t *testing.T) {
	p := newPair(t)
	for range 2 {
		p.guest.lose(t, 2)
		p.host.hear(t, p.guest.say(t, "x"))
		p.guest.hear(t, p.host.say(t, "an answer"))
	}
	p.guest.lose(t, 2)
	p.host.hear(t, p.guest.say(t, "x"))
	good := p.host.Session
	if len(good.old) != 2 || len(good.recv.skipped) != 2 {
		t.Fatal("not the state that was meant")
	}
	if s, err := ParseSession(good.Marshal()); err != nil || !bytes.Equal(s.Marshal(), good.Marshal()) {
		t.Fatal(err)
	}
	for name, change := range map[string]func(s *Session){
		"a chain longer than 60,000":        func(s *Session) { s.send.n, s.sent = maxChain+1, 1<<20 },
		"a chain before longer than 60,000": func(s *Session) { s.send.pn, s.sent = maxChain+1, 1<<20 },
		"fewer sent than in its chains":     func(s *Session) { s.sent = uint64(s.send.n+s.send.pn) - 1 },
		"a received chain past the jump":    func(s *Session) { s.recv.n = maxJump + 2 },
		"a base of 0":                       func(s *Session) { s.recv.base, s.old = 0, nil },
		"a base that could overflow":        func(s *Session) { s.recv.base = 1 << 63 },
		"a skipped key that is to come":     func(s *Session) { s.recv.skipped[1].n = s.recv.n },
		"skipped keys out of order":         func(s *Session) { slices.Reverse(s.recv.skipped) },
		"a skipped key twice":               func(s *Session) { s.recv.skipped[1] = s.recv.skipped[0] },
		"an old chain with nothing missing": func(s *Session) { s.old[0].skipped = nil },
		"old chains out of order":           func(s *Session) { slices.Reverse(s.old) },
		"an old chain that reaches too far": func(s *Session) { s.old[1].skipped[1].n = uint32(s.old[0].base - s.old[1].base) },
		"an old base of 0":                  func(s *Session) { s.old[1].base = 0 },
		"six old chains":                    func(s *Session) { s.recv.base, s.old = 1<<40, chainsOf(6, 1) },
		"2,049 skipped keys":                func(s *Session) { s.recv.base, s.old, s.recv.skipped = 1<<40, chainsOf(1, 2049), nil },
		"old chains but nothing received":   func(s *Session) { s.recv = recvChain{skipChain: skipChain{base: 1}} },
		"skipped keys but nothing received": func(s *Session) {
			s.old, s.recv = nil, recvChain{skipChain: skipChain{base: 1, skipped: chainsOf(1, 1)[0].skipped}}
		},
		"a chain key but nothing received":  func(s *Session) { s.old, s.recv = nil, recvChain{ck: key{1}, skipChain: skipChain{base: 1}} },
		"a header key but nothing received": func(s *Session) { s.old, s.recv = nil, recvChain{skipChain: skipChain{base: 1, hk: key{1}}} },
		"a base of 2 but nothing received":  func(s *Session) { s.old, s.recv = nil, recvChain{skipChain: skipChain{base: 2}} },
		"a fixed part but nothing received": func(s *Session) { s.old, s.recv = nil, recvChain{skipChain: skipChain{base: 1, fixed: key{1}}} },
	} {
		bad := new(*good)
		bad.recv.skipped = slices.Clone(good.recv.skipped)
		bad.old = slices.Clone(good.old)
		for i := range bad.old {
			bad.old[i].skipped = slices.Clone(bad.old[i].skipped)
		}
		change(bad)
		if s, err := ParseSession(bad.Marshal()); err == nil || s != nil {
			t.Errorf("%s: parsed", name)
		}
	}
	largest := new(*good)
	largest.recv.base, largest.old, largest.recv.skipped = 1<<40, chainsOf(5, 409), nil
	if _, err := ParseSession(largest.Marshal()); err != nil {
		t.Errorf("the largest state: %v", err)
	}

	b := good.Marshal()
	for n := range len(b) {
		if n < 1600 && n%97 != 0 {
			continue
		}
		if _, err := ParseSession(b[:n]); err == nil {
			t.Errorf("%d bytes of %d: parsed", n, len(b))
		}
	}
	if _, err := ParseSession(append(slices.Clone(b), 0)); err == nil {
		t.Error("a byte more: parsed")
	}
	b[0]++
	if _, err := ParseSession(b); err == nil {
		t.Error("another version: parsed")
	}
}

// chainsOf makes old chains, the newest first, with keys each.
func chainsOf(n, keys int) (chains []skipChain) {
	for i := range n {
		c := skipChain{base: uint64(n-i) * 10_000}
		for k := range keys {
			c.skipped = append(c.skipped, skippedKey{n: uint32(k)})
		}
		chains = append(chains, c)
	}
	return chains
}

// TestParseAllocates: what a length promises is not believed.
func TestParseAllocates(t *testing.T) {
	p := newPair(t)
	p.exchange(t)
	b := p.host.Marshal()
	at := len(b) - 3 // the count of skipped keys
	b[at], b[at+1] = 0xff, 0xff
	if n := testing.AllocsPerRun(10, func() {
		if _, err := ParseSession(b); err == nil {
			t.Fatal("parsed")
		}
	}); n > 20 {
		t.Errorf("%v allocations", n)
	}
}

func TestHostKeys(t *testing.T) {
	k, err := NewHostKeys()
	if err != nil {
		t.Fatal(err)
	}
	b := k.Marshal()
	again, err := ParseHostKeys(b)
	if err != nil || !bytes.Equal(again.Marshal(), b) || len(b) != 257 {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	for name, bad := range map[string][]byte{
		"nothing": nil, "a byte less": b[:256], "a byte more": append(slices.Clone(b), 0),
		"another version": append([]byte{2}, b[1:]...),
	} {
		if k, err := ParseHostKeys(bad); err == nil || k != nil {
			t.Errorf("%s: parsed", name)
		}
	}
	other, err := NewHostKeys()
	if err != nil || bytes.Equal(other.Marshal(), b) {
		t.Fatal("the same keys twice")
	}
	one, err := k.Bundle([16]byte{}, [24]byte{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	two, err := k.Bundle([16]byte{}, [24]byte{}, nil)
	if err != nil || one.Hash() == two.Hash() {
		t.Fatal("two bundles of the same keys have the same hash")
	}
}

// TestBundleRoundTrip: what a host puts in is what a guest takes out.
func TestBundleRoundTrip(t *testing.T) {
	k, err := NewHostKeys()
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(rt *rapid.T) {
		fingerprint := [16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(rt, "fingerprint"))
		id := [24]byte(rapid.SliceOfN(rapid.Byte(), 24, 24).Draw(rt, "sender id"))
		meta := rapid.SliceOfN(rapid.Byte(), 0, protocol.MaxMeta).Draw(rt, "meta")
		b, err := k.Bundle(fingerprint, id, meta)
		if err != nil {
			rt.Fatal(err)
		}
		blob := SealBundle(b)
		got, err := OpenBundle(b.Hash(), blob)
		if err != nil {
			rt.Fatal(err)
		}
		if len(blob) != 4096 || got.Fingerprint() != fingerprint || got.SenderID() != id || !bytes.Equal(got.Meta(), meta) ||
			!bytes.Equal(got.QueueKey(), k.QueueKey().PublicKey().Bytes()) || got.Hash() != b.Hash() {
			rt.Fatal("another bundle came out")
		}
	})
}
