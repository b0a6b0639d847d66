package ratchet

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"kin/protocol"
)

// badRecipes are files that must be refused. Each is right but for one thing.
func badRecipes() (list []recipe) {
	return append(append(append(badBundles(), badBlobs()...), badFlights()...), append(badMessages(), badSeals()...)...)
}

func badBundles() (list []recipe) {
	add := func(name, comment string, change func(b []byte) []byte) {
		list = append(list, recipe{"bundle-" + name, "bundle", "bundle", comment, func(t *testing.T, v *vector) {
			_, b := newBundle(t)
			v.add("bundle", change(b.Marshal()))
		}})
	}
	put := func(at int, what []byte) func(b []byte) []byte {
		return func(b []byte) []byte { copy(b[at:], what); return b }
	}
	for i, point := range lowOrder {
		add(fmt.Sprintf("low-order-ikb-%d", i+1), "IKb has a low order", put(20, point))
	}
	add("low-order-opkb", "OPKb has a low order", put(56, lowOrder[2]))
	add("low-order-rkb", "RKb has a low order", put(92, lowOrder[3]))
	add("low-order-qeb", "QEb has a low order", put(2504, lowOrder[0]))
	add("low-order-top-bit", "IKb has a low order: its top bit is ignored", put(20, withTopBits()[7+3]))
	add("kem-hs", "a coefficient of ek_hs is not below q", func(b []byte) []byte { copy(b[128:], badKEM(b[128:128+kemPublic])); return b })
	add("kem-r", "a coefficient of ek_r is not below q", func(b []byte) []byte { copy(b[1316:], badKEM(b[1316:1316+kemPublic])); return b })
	add("label", "another label", put(4, []byte("kin/2 bundle")))
	add("length-ikb", "the length of IKb is 33, that of OPKb 31", func(b []byte) []byte {
		b[19] = 33
		copy(b[53:], []byte{0, 0, 0, 31})
		return b
	})
	add("length-huge", "the length of meta is 2^32-1", func(b []byte) []byte {
		binary.BigEndian.PutUint32(b[2580:], 1<<32-1)
		return b
	})
	add("meta-too-long", "meta of 1,401 bytes", func(b []byte) []byte {
		return padded(b[:2580], protocol.LP(make([]byte, 1401), make([]byte, 32)))
	})
	add("rand-short", "rand32 has 31 bytes", func(b []byte) []byte {
		return padded(b[:2580], protocol.LP(nil, make([]byte, 31)))
	})
	add("padding-first", "the first byte behind B is not zero", func(b []byte) []byte {
		return padded(b[:2580], protocol.LP(nil, make([]byte, 32)), []byte{1})
	})
	add("padding-last", "the last byte is not zero", put(BundleSize-1, []byte{1}))
	add("short", "4,055 bytes", func(b []byte) []byte { return b[:BundleSize-1] })
	add("long", "4,057 bytes", func(b []byte) []byte { return append(b, 0) })
	return list
}

func padded(parts ...[]byte) []byte {
	b := bytes.Join(parts, nil)
	return append(b, make([]byte, BundleSize-len(b))...)
}

func badBlobs() (list []recipe) {
	add := func(name, comment string, change func(h [32]byte, b *Bundle) ([32]byte, []byte)) {
		list = append(list, recipe{"blob-" + name, "blob", "bundle", comment, func(t *testing.T, v *vector) {
			_, b := newBundle(t)
			h, blob := change(b.Hash(), b)
			v.add("h", h[:])
			v.add("blob", blob)
		}})
	}
	flip := func(at int) func(h [32]byte, b *Bundle) ([32]byte, []byte) {
		return func(h [32]byte, b *Bundle) ([32]byte, []byte) {
			blob := SealBundle(b)
			blob[at] ^= 1
			return h, blob
		}
	}
	add("nonce", "a bit of the nonce", flip(0))
	add("mac", "a bit of the authenticator", flip(24))
	add("text", "a bit of the ciphertext", flip(1000))
	add("last", "a bit of the last byte", flip(BlobSize-1))
	add("short", "4,095 bytes", func(h [32]byte, b *Bundle) ([32]byte, []byte) { return h, SealBundle(b)[:BlobSize-1] })
	add("other-h", "a blob for another invite", func(h [32]byte, b *Bundle) ([32]byte, []byte) { h[0] ^= 1; return h, SealBundle(b) })
	add("swapped", "another bundle, sealed under this invite's key by somebody who knows h", func(h [32]byte, b *Bundle) ([32]byte, []byte) {
		other := *b
		other.random[0] ^= 1
		k := DeriveInvite(h).Key
		return h, seal(&k, other.Marshal())
	})
	return list
}

func badFlights() (list []recipe) {
	add := func(name, expect, comment string, make func(t *testing.T, p *pair) []byte) {
		list = append(list, recipe{"flight-" + name, "handshake", expect, comment, func(t *testing.T, v *vector) {
			p := newPair(t)
			v.addFlight(t, p.keys, p.bundle.Hash(), make(t, p))
		}})
	}
	flip := func(at int) func(t *testing.T, p *pair) []byte {
		return func(t *testing.T, p *pair) []byte {
			return reseal(t, p.host.qe, p.flight, func(inner []byte) { inner[at] ^= 1 })
		}
	}
	forged := func(change func(f *flightForgery)) func(t *testing.T, p *pair) []byte {
		return func(t *testing.T, p *pair) []byte {
			f := forgeFlight(t, p.bundle)
			change(&f)
			return f.envelope(t, p.host.qe)
		}
	}
	outside := func(at int) func(t *testing.T, p *pair) []byte {
		return func(t *testing.T, p *pair) []byte { p.flight[at] ^= 1; return p.flight }
	}
	const encHdr, body = 1 + flightSize, 1 + flightSize + encHdrSize
	add("outer-key", "envelope", "a bit of the outer box's ephemeral key", outside(0))
	add("outer-mac", "envelope", "a bit of the outer box's authenticator", outside(32))
	add("outer-last", "envelope", "a bit of the envelope's last byte", outside(EnvelopeSize-1))
	add("short", "envelope", "4,095 bytes, rightly sealed", resized(flightOf, -1))
	add("long", "envelope", "4,097 bytes, rightly sealed", resized(flightOf, 1))
	add("other-queue", "envelope", "sealed to another queue's key", func(t *testing.T, p *pair) []byte {
		return outerAgain(t, p.host.qe, p.guest.qe, p.flight)
	})
	add("low-order-outer", "envelope", "the outer box's ephemeral key has a low order", func(t *testing.T, p *pair) []byte {
		inner, err := openOuter(p.host.qe, p.flight)
		if err != nil {
			t.Fatal(err)
		}
		return lowOrderOuter(lowOrder[2], p.host.qe, inner)
	})
	add("type-0", "type", "type 0", func(t *testing.T, p *pair) []byte {
		return reseal(t, p.host.qe, p.flight, func(inner []byte) { inner[0] = 0 })
	})
	add("type-message", "type", "a message, which has come before its flight", func(t *testing.T, p *pair) []byte { return p.guest.say(t, "early") })
	add("eka", "identity", "a bit of EKa", flip(1))
	add("ct", "identity", "a bit of ct", flip(33+500))
	add("cid-nonce", "identity", "a bit of cid's nonce", flip(1121))
	add("cid-mac", "identity", "a bit of cid's authenticator", flip(1145))
	add("cid-text", "identity", "a bit of the sealed IKa", flip(1192))
	add("header-nonce", "no-key", "a bit of the header's nonce", flip(encHdr))
	add("header-text", "no-key", "a bit of the sealed header", flip(encHdr+1000))
	add("body-nonce", "body", "a bit of the body's nonce", flip(body))
	add("commitment", "commitment", "a bit of the commitment", flip(body+24))
	add("body-mac", "body", "a bit of the body's authenticator", flip(body+56))
	add("body-text", "body", "a bit of the sealed body", flip(innerSize-1))
	for i, point := range lowOrder {
		add(fmt.Sprintf("low-order-eka-%d", i+1), "key", "EKa has a low order; d1 and d2 are zero", forged(func(f *flightForgery) {
			f.eka, f.d1, f.d2 = point, zero32, zero32
		}))
	}
	add("low-order-ika-1", "key", "IKa is zero; so is d3", forged(func(f *flightForgery) { f.ika, f.d3 = lowOrder[0], zero32 }))
	add("low-order-ika-2", "key", "IKa has a low order; d3 is zero", forged(func(f *flightForgery) { f.ika, f.d3 = lowOrder[3], zero32 }))
	add("low-order-dh", "key", "the header's dh has a low order", forged(func(f *flightForgery) { f.dh, f.shared = lowOrder[2], zero32 }))
	add("kem", "key", "a coefficient of the header's ek is not below q", forged(func(f *flightForgery) { f.ek = badKEM(f.ek) }))
	add("n", "header", "n is 1 in a first flight", forged(func(f *flightForgery) { f.n = 1 }))
	add("pn", "header", "pn is 1 in a first flight", forged(func(f *flightForgery) { f.pn = 1 }))
	add("padding", "padding", "the padding does not begin with 0x80", forged(func(f *flightForgery) { f.padded[len("forged")] = 1 }))
	add("padding-tail", "padding", "the last byte of the padding is 1", forged(func(f *flightForgery) { f.padded[len(f.padded)-1] = 1 }))
	list = append(list, recipe{"flight-other-h", "handshake", "identity", "made for a bundle with the same keys and another rand32", func(t *testing.T, v *vector) {
		p := newPair(t)
		other := *p.bundle
		other.random[0] ^= 1
		v.addFlight(t, p.keys, other.Hash(), p.flight)
	}}, recipe{"flight-other-keys", "handshake", "identity", "the host's one-time keys are others", func(t *testing.T, v *vector) {
		p, q := newPair(t), newPair(t)
		q.keys.queue = p.keys.queue
		v.addFlight(t, q.keys, p.bundle.Hash(), p.flight)
	}})
	return list
}

func badMessages() (list []recipe) {
	add := func(name, expect, comment string, make func(t *testing.T, p *pair) []byte) {
		list = append(list, recipe{"message-" + name, "open", expect, comment, func(t *testing.T, v *vector) {
			p := newPair(t)
			p.exchange(t)
			e := make(t, p)
			v.addOpen(t, &p.host, e, nil)
		}})
	}
	outside := func(at int) func(t *testing.T, p *pair) []byte {
		return func(t *testing.T, p *pair) []byte { e := p.guest.say(t, "x"); e[at] ^= 1; return e }
	}
	inside := func(at int) func(t *testing.T, p *pair) []byte {
		return func(t *testing.T, p *pair) []byte {
			return reseal(t, p.host.qe, p.guest.say(t, "x"), func(inner []byte) { inner[at] ^= 1 })
		}
	}
	// forged is the next message of the chain that the host receives; started the
	// first of the next one.
	forged := func(change func(f *forgery)) func(t *testing.T, p *pair) []byte {
		return func(t *testing.T, p *pair) []byte {
			f := forge(p.guest)
			change(&f)
			return f.to(t, p.host.qe)
		}
	}
	started := func(change func(f *forgery)) func(t *testing.T, p *pair) []byte {
		return func(t *testing.T, p *pair) []byte {
			dh := newX25519(t)
			f := forgeChain(p.host.Session, dh.PublicKey().Bytes(), agree(t, dh, p.host.dh.PublicKey()), p.guest.kem.EncapsulationKey().Bytes())
			change(&f)
			return f.to(t, p.host.qe)
		}
	}
	const encHdr, body = 1 + tagSize, 1 + tagSize + encHdrSize
	add("outer-key", "envelope", "a bit of the outer box's ephemeral key", outside(31))
	add("outer-mac", "envelope", "a bit of the outer box's authenticator", outside(32))
	add("outer-text", "envelope", "a bit of the outer box's text", outside(2000))
	add("short", "envelope", "4,095 bytes, rightly sealed", resized(messageOf, -1))
	add("long", "envelope", "4,097 bytes, rightly sealed", resized(messageOf, 1))
	add("empty", "envelope", "nothing", func(t *testing.T, p *pair) []byte { return nil })
	for i, point := range lowOrder {
		add(fmt.Sprintf("low-order-outer-%d", i+1), "envelope", "the outer box's ephemeral key has a low order", func(t *testing.T, p *pair) []byte {
			return lowOrderOuter(point, p.host.qe, forge(p.guest).inner())
		})
	}
	add("type-flight", "type", "the guest's first flight once more", func(t *testing.T, p *pair) []byte { return p.flight })
	add("type-3", "type", "type 3", typed(3))
	add("tag-nonce", "tag", "a bit of the tag's nonce", inside(1))
	add("tag-mac", "tag", "a bit of the tag's authenticator", inside(25))
	add("tag-text", "tag", "a bit of the sealed seq", inside(48))
	add("tag-stranger", "tag", "a stranger who knows the queue's key", forged(func(f *forgery) { f.tagKey[0] ^= 1 }))
	add("reflected", "tag", "the host's own message, sent back", func(t *testing.T, p *pair) []byte {
		return outerAgain(t, p.guest.qe, p.host.qe, p.host.say(t, "x"))
	})
	add("rollback", "rollback", "the echo is above what the host has sent", forged(func(f *forgery) { f.echo++ }))
	add("rollback-most", "rollback", "the echo is 2^64-1", forged(func(f *forgery) { f.echo = 1<<64 - 1 }))
	add("rollback-before-key", "rollback", "the echo is too high and no header key fits: the echo counts", forged(func(f *forgery) { f.echo++; f.hk[0] ^= 1 }))
	add("header-nonce", "no-key", "a bit of the header's nonce", inside(encHdr))
	add("header-mac", "no-key", "a bit of the header's authenticator", inside(encHdr+24))
	add("header-text", "no-key", "a bit of the sealed header", inside(encHdr+encHdrSize-1))
	add("no-key-new", "no-key", "a new seq under a header key that does not fit: the peer knows a newer state", forged(func(f *forgery) { f.hk[31] ^= 1 }))
	add("body-nonce", "body", "a bit of the body's nonce", inside(body))
	add("commitment-first", "commitment", "a bit of the commitment's first byte", inside(body+24))
	add("commitment-last", "commitment", "a bit of the commitment's last byte", inside(body+55))
	add("body-mac", "body", "a bit of the body's authenticator", inside(body+56))
	add("body-text", "body", "a bit of the sealed plaintext", inside(body+72))
	add("body-last", "body", "a bit of the last byte", inside(innerSize-1))
	add("other-ad", "commitment", "sealed with another AD", forged(func(f *forgery) { f.ad[0] ^= 1 }))
	add("other-key", "commitment", "sealed with the key of the message behind", forged(func(f *forgery) { f.ck = nextChainKey(&f.ck) }))
	add("spliced-body", "commitment", "the header of one message and the body of another", func(t *testing.T, p *pair) []byte {
		other, err := openOuter(p.host.qe, p.guest.say(t, "one"))
		if err != nil {
			t.Fatal(err)
		}
		return reseal(t, p.host.qe, p.guest.say(t, "two"), func(inner []byte) { copy(inner[body:], other[body:]) })
	})
	add("spliced-tag", "header", "the tag of one message and the rest of another", func(t *testing.T, p *pair) []byte {
		other, err := openOuter(p.host.qe, p.guest.say(t, "one"))
		if err != nil {
			t.Fatal(err)
		}
		return reseal(t, p.host.qe, p.guest.say(t, "two"), func(inner []byte) { copy(inner[:encHdr], other) })
	})
	add("seq", "header", "seq is one too high for the header", forged(func(f *forgery) { f.seq++ }))
	add("seq-zero", "header", "seq is 0", forged(func(f *forgery) { f.seq = 0 }))
	add("step-seq", "header", "seq is one too high for the header, in a new chain", started(func(f *forgery) { f.seq++ }))
	add("version", "header", "version 2 in the header", forged(func(f *forgery) { f.version = 2 << 24 }))
	add("flags", "header", "a flag that version 1 doesn't have", forged(func(f *forgery) { f.version |= 1 }))
	add("step-version", "header", "version 0 in the header of a new chain", started(func(f *forgery) { f.version = 0 }))
	change := func(b []byte) []byte { b = bytes.Clone(b); b[5] ^= 1; return b }
	add("chain-dh", "chain", "another dh within a chain", forged(func(f *forgery) { f.header.dh = change(f.header.dh) }))
	add("chain-ek", "chain", "another ek within a chain", forged(func(f *forgery) { f.header.ek = change(f.header.ek) }))
	add("chain-ct", "chain", "another ct within a chain", forged(func(f *forgery) { f.header.ct = change(f.header.ct) }))
	add("chain-pn", "chain", "another pn within a chain", forged(func(f *forgery) { f.header.pn++ }))
	add("chain-low-order", "chain", "a low-order dh within a chain", forged(func(f *forgery) { f.header.dh = lowOrder[0] }))
	add("jump-n", "jump", "n is 65,537", func(t *testing.T, p *pair) []byte { return forge(p.guest).jump(maxJump+1).to(t, p.host.qe) })
	add("jump-n-most", "jump", "n is 2^32-1", forged(func(f *forgery) { f.header.n = 1<<32 - 1 }))
	add("jump-pn", "jump", "pn is 65,537, in a new chain", started(func(f *forgery) { f.seq += uint64(maxJump + 1 - f.header.pn); f.header.pn = maxJump + 1 }))
	add("jump-step-n", "jump", "n is 65,537, in a new chain", started(func(f *forgery) { *f = f.jump(maxJump + 1) }))
	add("pn-low", "header", "pn is below what was received of the old chain", started(func(f *forgery) { f.header.pn--; f.seq-- }))
	for i, point := range lowOrder {
		add(fmt.Sprintf("low-order-dh-%d", i+1), "key", "dh has a low order; its secret is zero", func(t *testing.T, p *pair) []byte {
			return forgeChain(p.host.Session, point, zero32, p.guest.kem.EncapsulationKey().Bytes()).to(t, p.host.qe)
		})
	}
	add("kem", "key", "a coefficient of ek is not below q", func(t *testing.T, p *pair) []byte {
		dh := newX25519(t)
		bad := badKEM(p.guest.kem.EncapsulationKey().Bytes())
		return forgeChain(p.host.Session, dh.PublicKey().Bytes(), agree(t, dh, p.host.dh.PublicKey()), bad).to(t, p.host.qe)
	})
	pads := map[string]func(b []byte){
		"padding-none":   func(b []byte) { clear(b) },
		"padding-start":  func(b []byte) { b[len("forged")] = 0x01 },
		"padding-bit":    func(b []byte) { b[len("forged")] = 0x81 },
		"padding-middle": func(b []byte) { b[700] = 0x40 },
		"padding-last":   func(b []byte) { b[len(b)-1] = 0xff },
	}
	for name, pad := range pads {
		add(name, "padding", "a malformed padding", forged(func(f *forgery) { pad(f.padded) }))
	}
	add("replayed", "used", "the same message twice, in the chain that is being received", func(t *testing.T, p *pair) []byte {
		e := p.guest.say(t, "x")
		p.host.hear(t, e)
		return e
	})
	add("replayed-late", "used", "a late message twice", func(t *testing.T, p *pair) []byte {
		e := p.guest.say(t, "late")
		p.host.hear(t, p.guest.say(t, "x"))
		p.host.hear(t, e)
		return e
	})
	add("replayed-old-chain", "used", "a message of an old chain of which another is missing", func(t *testing.T, p *pair) []byte {
		p.guest.lose(t, 1)
		e := p.guest.say(t, "x")
		p.host.hear(t, e)
		p.exchange(t)
		return e
	})
	add("replayed-done-chain", "no-key", "a message of an old chain of which none is missing; its seq is old", func(t *testing.T, p *pair) []byte {
		e := p.guest.say(t, "x")
		p.host.hear(t, e)
		p.exchange(t)
		return e
	})
	add("dropped-key", "used", "the 513th before a jump", func(t *testing.T, p *pair) []byte {
		first := forge(p.guest)
		p.host.hear(t, first.jump(first.header.n+513).to(t, p.host.qe))
		return first.to(t, p.host.qe)
	})
	add("forgotten", "used", "a message that came 15 days after it was skipped", func(t *testing.T, p *pair) []byte {
		late := p.guest.say(t, "late")
		p.guest.lose(t, 1)
		p.host.hear(t, p.guest.say(t, "x"))
		p.host.Session, _ = p.host.Forget(noon.AddDate(0, 0, 15))
		return late
	})
	guest := func(name, expect, comment string, change func(f *forgery)) {
		list = append(list, recipe{"message-" + name, "open", expect, comment, func(t *testing.T, v *vector) {
			p := newPair(t)
			f := forge(p.host)
			change(&f)
			v.addOpen(t, &p.guest, f.to(t, p.guest.qe), nil)
		}})
	}
	guest("zero-key", "no-key", "a header under the zero key, before the guest has a receiving chain", func(f *forgery) { f.hk = key{} })
	guest("first-pn", "header", "pn is 1 in the host's first chain", func(f *forgery) { f.header.pn, f.seq = 1, 2 })
	return list
}

func flightOf(_ *testing.T, p *pair) []byte  { return p.flight }
func messageOf(t *testing.T, p *pair) []byte { return p.guest.say(t, "x") }

// resized is an envelope whose inside is longer or shorter by some bytes.
func resized(of func(*testing.T, *pair) []byte, by int) func(t *testing.T, p *pair) []byte {
	return func(t *testing.T, p *pair) []byte {
		inner, err := openOuter(p.host.qe, of(t, p))
		if err != nil {
			t.Fatal(err)
		}
		return outer(t, p.host.qe, append(inner, make([]byte, 1)...)[:len(inner)+by])
	}
}

// typed sets the type of a message.
func typed(typ byte) func(t *testing.T, p *pair) []byte {
	return func(t *testing.T, p *pair) []byte {
		return reseal(t, p.host.qe, p.guest.say(t, "x"), func(inner []byte) { inner[0] = typ })
	}
}

func badSeals() (list []recipe) {
	add := func(name, expect, comment string, change func(s *Session, qe *[]byte)) {
		list = append(list, recipe{"seal-" + name, "seal", expect, comment, func(t *testing.T, v *vector) {
			p := newPair(t)
			qe := p.guest.peerQE
			s := new(*p.guest.Session)
			change(s, &qe)
			v.addState("before", s)
			v.add("qe_public", qe)
			v.add("plaintext", []byte("x"))
		}})
	}
	for i, point := range lowOrder {
		add(fmt.Sprintf("low-order-%d", i+1), "key", "the queue's key has a low order", func(_ *Session, qe *[]byte) { *qe = point })
	}
	add("chain-full", "chain-full", "the chain has 60,000 messages", func(s *Session, _ *[]byte) { s.send.n, s.sent = maxChain, maxChain })
	return list
}
