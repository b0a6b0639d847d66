package ratchet

import (
	"bytes"
	"crypto/ecdh"
	"crypto/mlkem"
	"encoding/binary"
	"errors"
	"flag"
	"hash/fnv"
	"os"
	"path/filepath"
	"testing"
	"testing/cryptotest"

	"kin/protocol"
)

var update = flag.Bool("update", false, "write testdata/vectors anew")

// recipe makes one file. The random source is seeded with the name, so that a
// file only changes with the protocol.
type recipe struct {
	name, kind, expect, comment string

	make func(t *testing.T, v *vector)
}

func writeVectors(t *testing.T) {
	old, _ := filepath.Glob("testdata/vectors/*.txt")
	for _, path := range old {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range append(goodRecipes(), badRecipes()...) {
		t.Run("update "+r.name, func(t *testing.T) {
			seed := fnv.New64a()
			seed.Write([]byte(r.name))
			cryptotest.SetGlobalRandom(t, seed.Sum64())
			v := &vector{name: r.name, kind: r.kind, expect: r.expect, comment: r.comment}
			r.make(t, v)
			v.write(t)
		})
	}
}

func goodRecipes() []recipe {
	list := []recipe{
		{"bundle-good", "bundle", "ok", "a bundle from its private keys", func(t *testing.T, v *vector) {
			v.addBundle(newBundle(t))
		}},
		{"bundle-meta-none", "bundle", "ok", "meta is empty", func(t *testing.T, v *vector) {
			v.addBundle(metaBundle(t, 0))
		}},
		{"bundle-meta-longest", "bundle", "ok", "meta of 1,400 bytes", func(t *testing.T, v *vector) {
			v.addBundle(metaBundle(t, protocol.MaxMeta))
		}},
		{"blob-good", "blob", "ok", "what the relay holds for an invite, and what is derived from h", func(t *testing.T, v *vector) {
			_, b := newBundle(t)
			h := b.Hash()
			s := DeriveInvite(h)
			v.add("h", h[:])
			v.add("location", s.Location[:])
			v.add("key", s.Key[:])
			v.add("claim", s.Claim[:])
			v.add("bundle", b.Marshal())
			v.add("blob", SealBundle(b))
		}},
	}
	for name, n := range map[string]int{"good": 20, "empty": 0, "longest": MaxFirst} {
		list = append(list, recipe{"handshake-" + name, "handshake", "ok", "a first flight, and both states behind it", func(t *testing.T, v *vector) {
			v.addHandshake(t, bytes.Repeat([]byte("hello "), 80)[:n])
		}})
	}
	for name, ad := range map[string][]byte{"zero": zero32, "ff": bytes.Repeat([]byte{0xff}, 32), "count": unhex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f")} {
		list = append(list, recipe{"digits-" + name, "digits", "ok", "the digits of an AD; the field digits is ASCII", func(t *testing.T, v *vector) {
			v.add("AD", ad)
			v.add("digits", []byte(digits((*key)(ad))))
		}})
	}
	// A conversation: who speaks, and whether it is the sealing or the opening that is shown.
	for _, turn := range []struct {
		name, comment string
		speakers      string // g and h; the last is the one shown
	}{
		{"guest-second", "the guest's second message: the chain of the first flight", "g"},
		{"host-first", "the host's first message: a step for the guest, who had no receiving chain", "h"},
		{"guest-answers", "the guest's first answer: a step for the host", "hg"},
		{"host-again", "two messages of one chain: no step", "hgh" + "h"},
		{"host-answers", "the fifth chain", "hghgh"},
	} {
		play := func(t *testing.T) (p *pair, from, to *side) {
			p = newPair(t)
			for i, who := range turn.speakers {
				if from, to = &p.guest, &p.host; who == 'h' {
					from, to = to, from
				}
				if i < len(turn.speakers)-1 {
					to.hear(t, from.say(t, "before"))
				}
			}
			return p, from, to
		}
		list = append(list, recipe{"seal-" + turn.name, "seal", "ok", turn.comment, func(t *testing.T, v *vector) {
			_, from, to := play(t)
			v.addSeal(t, from, to, "Nine were seen at the garrison.")
		}}, recipe{"open-" + turn.name, "open", "ok", turn.comment, func(t *testing.T, v *vector) {
			_, from, to := play(t)
			seed := from.kem.Bytes()
			v.addOpen(t, to, from.say(t, "Nine were seen at the garrison."), seed)
		}})
	}
	return append(list, []recipe{
		{"seal-empty", "seal", "ok", "an empty plaintext", func(t *testing.T, v *vector) {
			p := newPair(t)
			v.addSeal(t, &p.host, &p.guest, "")
		}},
		{"seal-longest", "seal", "ok", "a plaintext of 1,562 bytes that ends in what looks like padding", func(t *testing.T, v *vector) {
			p := newPair(t)
			v.addSeal(t, &p.host, &p.guest, string(append(bytes.Repeat([]byte{0x80}, MaxPlaintext-3), 0, 0, 0)))
		}},
		{"open-empty", "open", "ok", "an empty plaintext", func(t *testing.T, v *vector) {
			p := newPair(t)
			v.addOpen(t, &p.host, p.guest.say(t, ""), nil)
		}},
		{"open-longest", "open", "ok", "a plaintext of 1,562 bytes that ends in what looks like padding", func(t *testing.T, v *vector) {
			p := newPair(t)
			v.addOpen(t, &p.host, p.guest.say(t, string(append(bytes.Repeat([]byte{0x80}, MaxPlaintext-3), 0, 0, 0))), nil)
		}},
		{"open-skip", "open", "ok", "three messages are skipped in a chain", func(t *testing.T, v *vector) {
			p := newPair(t)
			p.guest.lose(t, 3)
			v.addOpen(t, &p.host, p.guest.say(t, "the fourth"), nil)
		}},
		{"open-late", "open", "ok", "a skipped message of the chain that is being received", func(t *testing.T, v *vector) {
			p := newPair(t)
			p.guest.lose(t, 1)
			late := p.guest.say(t, "late")
			p.host.hear(t, p.guest.say(t, "in time"))
			v.addOpen(t, &p.host, late, nil)
		}},
		{"open-late-old-chain", "open", "ok", "a skipped message of an old chain, of which another stays missing", func(t *testing.T, v *vector) {
			p, late := newOldChain(t, 2)
			v.addOpen(t, &p.host, late, nil)
		}},
		{"open-late-last", "open", "ok", "the last message of an old chain: its header key goes with it", func(t *testing.T, v *vector) {
			p, late := newOldChain(t, 1)
			v.addOpen(t, &p.host, late, nil)
		}},
		{"open-step-skips", "open", "ok", "a step that skips at the end of the old chain and at the start of the new one", func(t *testing.T, v *vector) {
			p := newPair(t)
			p.exchange(t)
			p.guest.lose(t, 2)
			p.guest.hear(t, p.host.say(t, "an answer"))
			p.guest.lose(t, 3)
			seed := p.guest.kem.Bytes()
			v.addOpen(t, &p.host, p.guest.say(t, "x"), seed)
		}},
		{"open-jump-513", "open", "ok", "513 messages are skipped: the key of the first is not kept", func(t *testing.T, v *vector) {
			p := newPair(t)
			v.addOpen(t, &p.host, forge(p.guest).jump(1+513).to(t, p.host.qe), nil)
		}},
		{"open-jump-largest", "open", "ok", "n is 65,536, the highest", func(t *testing.T, v *vector) {
			p := newPair(t)
			v.addOpen(t, &p.host, forge(p.guest).jump(maxJump).to(t, p.host.qe), nil)
		}},
		{"open-sixth-old-chain", "open", "ok", "a step that drops the oldest of five old chains for another", func(t *testing.T, v *vector) {
			p := newPair(t)
			for range maxOldChains + 1 {
				p.guest.lose(t, 1)
				p.host.hear(t, p.guest.say(t, "in time"))
				p.guest.hear(t, p.host.say(t, "an answer"))
			}
			seed := p.guest.kem.Bytes()
			v.addOpen(t, &p.host, p.guest.say(t, "x"), seed)
		}},
		{"open-unusual-echo", "open", "ok", "an echo below what was echoed before is no error", func(t *testing.T, v *vector) {
			p := newPair(t)
			p.exchange(t)
			f := forge(p.guest)
			f.echo = 0
			v.addOpen(t, &p.host, f.to(t, p.host.qe), nil)
		}},
	}...)
}

// newOldChain is a pair whose host misses n messages of an old chain, and the
// last of them.
func newOldChain(t testing.TB, n int) (p *pair, late []byte) {
	p = newPair(t)
	for range n {
		late = p.guest.say(t, "late")
	}
	p.host.hear(t, p.guest.say(t, "in time"))
	p.exchange(t)
	return p, late
}

func metaBundle(t testing.TB, n int) (*HostKeys, *Bundle) {
	t.Helper()
	k, err := NewHostKeys()
	if err != nil {
		t.Fatal(err)
	}
	b, err := k.Bundle([16]byte{1, 2, 3}, [24]byte{4, 5, 6}, bytes.Repeat([]byte{0xee}, n))
	if err != nil {
		t.Fatal(err)
	}
	return k, b
}

// lose seals n messages that nobody will see.
func (s *side) lose(t testing.TB, n int) {
	for range n {
		s.say(t, "lost")
	}
}

func (v *vector) addHostKeys(k *HostKeys) {
	v.add("ikb", k.identity.Bytes())
	v.add("opkb", k.oneTime.Bytes())
	v.add("rkb", k.ratchet.Bytes())
	v.add("qeb", k.queue.Bytes())
	v.add("ek_hs_seed", k.handshakeKEM.Bytes())
	v.add("ek_r_seed", k.ratchetKEM.Bytes())
}

func (v *vector) addBundle(k *HostKeys, b *Bundle) {
	v.addHostKeys(k)
	v.add("IKb", b.identity.Bytes())
	v.add("OPKb", b.oneTime.Bytes())
	v.add("RKb", b.ratchet.Bytes())
	v.add("ek_hs", b.handshakeKEM.Bytes())
	v.add("ek_r", b.ratchetKEM.Bytes())
	v.add("QEb", b.queue.Bytes())
	v.add("fingerprint", b.fingerprint[:])
	v.add("sender_id", b.senderID[:])
	v.add("meta", b.meta)
	v.add("rand32", b.random[:])
	h := b.Hash()
	v.add("B", b.encode())
	v.add("h", h[:])
	v.add("bundle", b.Marshal())
}

func (v *vector) addHandshake(t *testing.T, first []byte) {
	k, b := newBundle(t)
	ika, eka := newX25519(t), newX25519(t)
	guest, envelope, f, err := begin(b, first, ika, eka)
	if err != nil {
		t.Fatal(err)
	}
	host, _, _, err := k.Accept(b.Hash(), envelope)
	if err != nil {
		t.Fatal(err)
	}
	fl, err := openFlight(k.queue, envelope)
	if err != nil {
		t.Fatal(err)
	}
	h := b.Hash()
	v.addHostKeys(k)
	v.add("h", h[:])
	v.add("ika", ika.Bytes())
	v.add("IKa", ika.PublicKey().Bytes())
	v.add("eka", eka.Bytes())
	v.add("EKa", eka.PublicKey().Bytes())
	v.add("ct", fl.ct)
	d1, d2, d3 := agree(t, eka, b.identity), agree(t, eka, b.oneTime), agree(t, ika, b.oneTime)
	ss, err := k.handshakeKEM.Decapsulate(fl.ct)
	if err != nil {
		t.Fatal(err)
	}
	var a agreement
	a.begin(h, fl.eka, fl.ct, d1, d2, ss)
	a.finish(fl.cid, d3)
	v.add("d1", d1)
	v.add("d2", d2)
	v.add("d3", d3)
	v.add("ss", ss)
	v.add("th1", a.th1)
	v.add("p1", a.p1)
	v.add("cid", fl.cid)
	v.add("th2", a.th2)
	v.add("p2", a.p2)
	out := split(protocol.Expand(a.p2, "kin/1 hs session", 160))
	for i, name := range []string{"SK", "HKa", "NHKb", "Sa", "Sb"} {
		v.add(name, out[i][:])
	}
	v.add("AD", host.ad[:])
	v.add("digits", []byte(host.Digits()))
	hdr, _ := unseal(&out[1], fl.encHdr)
	v.add("header", hdr)
	start := a.session(ika.PublicKey(), b.identity, false)
	start.dh, start.kem = k.ratchet, k.ratchetKEM
	mk, err := new(*start).takeKey(1, fl.encHdr, 0)
	if err != nil {
		t.Fatal(err)
	}
	v.addStep(t, start, host, hdr, guest.kem.Bytes())
	v.addBody(mk, host.ad, fl.encHdr)
	v.add("plaintext", first)
	v.add("envelope", envelope)
	v.addState("guest", guest)
	v.addState("host", host)
	if f.ID != [32]byte(a.th2) {
		t.Fatal("th2")
	}
}

// addStep writes what happens inside a step: 1 is the receiving half, 2 the sending one.
func (v *vector) addStep(t *testing.T, before, after *Session, hdr, peerSeed []byte) {
	h, err := parseHeader(hdr)
	if err != nil {
		t.Fatal(err)
	}
	peer, err := ecdh.X25519().NewPublicKey(h.dh)
	if err != nil {
		t.Fatal(err)
	}
	peerKEM, err := mlkem.NewDecapsulationKey768(peerSeed)
	if err != nil {
		t.Fatal(err)
	}
	root := before.root
	half := func(n string, private *ecdh.PrivateKey, kem *mlkem.DecapsulationKey768, ct []byte, tr turn) {
		dh := agree(t, private, peer)
		ss, err := kem.Decapsulate(ct)
		if err != nil {
			t.Fatal(err)
		}
		hash := tr.hash()
		rk, ck, nhk := kdfRoot(&root, dh, ss, tr)
		v.add("step.dh"+n, dh)
		v.add("step.ss"+n, ss)
		v.add("step.turn"+n, hash[:])
		v.add("step.rk"+n, rk[:])
		v.add("step.ck"+n, ck[:])
		v.add("step.nhk"+n, nhk[:])
		root = rk
	}
	half("1", before.dh, before.kem, h.ct, turn{
		sender: h.dh, receiver: before.dh.PublicKey().Bytes(), to: before.kem.EncapsulationKey().Bytes(), ct: h.ct, sent: h.ek,
	})
	half("2", after.dh, peerKEM, after.ct, turn{
		sender: after.dh.PublicKey().Bytes(), receiver: h.dh, to: h.ek, ct: after.ct, sent: after.kem.EncapsulationKey().Bytes(),
	})
}

func (v *vector) addBody(mk, ad key, encHdr []byte) {
	k, com := bodyKeys(&mk, &ad, encHdr)
	v.add("mk", mk[:])
	v.add("k", k[:])
	v.add("com", com[:])
}

func (v *vector) addNumbers(seq, echo uint64) {
	v.add("seq", binary.BigEndian.AppendUint64(nil, seq))
	v.add("echo", binary.BigEndian.AppendUint64(nil, echo))
}

func (v *vector) addSeal(t *testing.T, from, to *side, text string) {
	next, envelope, s, err := from.Seal(from.peerQE, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	v.addState("before", from.Session)
	v.add("qe", to.qe.Bytes())
	v.add("qe_public", from.peerQE)
	v.add("plaintext", []byte(text))
	v.addNumbers(s.Seq, from.Received())
	v.addInside(t, from.Session, to.qe, envelope, &from.tagSend, messageKey(&from.send.ck), from.send.hk)
	v.add("envelope", envelope)
	v.addState("after", next)
}

// addInside writes what is in an envelope, layer by layer.
func (v *vector) addInside(t *testing.T, s *Session, qe *ecdh.PrivateKey, envelope []byte, tagKey *key, mk, hk key) (hdr []byte) {
	inner, err := openOuter(qe, envelope)
	if err != nil {
		t.Fatal(err)
	}
	tag, ok := unseal(tagKey, inner[1:1+tagSize])
	encHdr := inner[1+tagSize:][:encHdrSize]
	hdr, ok2 := unseal(&hk, encHdr)
	if !ok || !ok2 {
		t.Fatal("the inside does not open")
	}
	v.add("tag", tag)
	v.add("hk", hk[:])
	v.add("header", hdr)
	v.addBody(mk, s.ad, encHdr)
	return hdr
}

// addOpen writes an envelope and what opening it leads to, good or bad. peerSeed
// is wanted if it makes a step.
func (v *vector) addOpen(t *testing.T, to *side, envelope, peerSeed []byte) {
	t.Helper()
	v.addState("before", to.Session)
	v.add("qe", to.qe.Bytes())
	v.add("now", binary.BigEndian.AppendUint64(nil, uint64(noon.Unix())))
	v.add("envelope", envelope)
	next, m, err := to.Open(to.qe, envelope, noon)
	if !errors.Is(err, expectations[v.expect]) {
		t.Fatalf("%v; want %q", err, v.expect)
	}
	var oe *OpenError
	if errors.As(err, &oe) {
		v.addNumbers(oe.Seq, oe.Echo)
	}
	if err != nil {
		return
	}
	v.add("plaintext", m.Plaintext)
	v.addNumbers(m.Seq, m.Echo)

	s := to.Session
	inner, err := openOuter(to.qe, envelope)
	if err != nil {
		t.Fatal(err)
	}
	encHdr := inner[1+tagSize:][:encHdrSize]
	mk, err := new(*s).takeKey(m.Seq, encHdr, noon.Unix())
	if err != nil {
		t.Fatal(err)
	}
	keys := []key{s.recvNext}
	if s.recv.n > 0 {
		keys = append(keys, s.recv.hk)
	}
	for _, c := range s.old {
		keys = append(keys, c.hk)
	}
	for _, hk := range keys {
		if _, ok := unseal(&hk, encHdr); ok {
			hdr := v.addInside(t, s, to.qe, envelope, &s.tagRecv, mk, hk)
			if hk == s.recvNext {
				v.add("peer_kem_seed", peerSeed)
				v.addStep(t, s, next, hdr, peerSeed)
			}
		}
	}
	v.addState("after", next)
}

// addFlight writes an envelope for Accept that must be refused.
func (v *vector) addFlight(t *testing.T, k *HostKeys, h [32]byte, envelope []byte) {
	t.Helper()
	if _, _, _, err := k.Accept(h, envelope); !errors.Is(err, expectations[v.expect]) {
		t.Fatalf("%v; want %q", err, v.expect)
	}
	v.addHostKeys(k)
	v.add("h", h[:])
	v.add("envelope", envelope)
}
