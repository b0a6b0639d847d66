package ratchet

import (
	"bytes"
	"crypto/ecdh"
	"testing"
)

// fuzzHostKeys are the same in every process of a fuzz run.
func fuzzHostKeys(t testing.TB) *HostKeys {
	b := make([]byte, hostKeysSize)
	for i := range b {
		b[i] = byte(i)
	}
	b[0] = hostKeysVersion
	k, err := ParseHostKeys(b)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func FuzzParseBundle(f *testing.F) {
	_, b := newBundle(f)
	f.Add(b.Marshal())
	f.Add(make([]byte, BundleSize))
	f.Fuzz(func(t *testing.T, in []byte) {
		b, err := ParseBundle(in)
		if err != nil {
			if b != nil {
				t.Fatal("a bundle beside an error")
			}
			return
		}
		if !bytes.Equal(b.Marshal(), in) {
			t.Fatal("marshals to other bytes")
		}
		if _, err := OpenBundle(b.Hash(), SealBundle(b)); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzParseHostKeys(f *testing.F) {
	k, err := NewHostKeys()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(k.Marshal())
	f.Add(k.Marshal()[1:])
	f.Fuzz(func(t *testing.T, in []byte) {
		k, err := ParseHostKeys(in)
		if err != nil {
			if k != nil {
				t.Fatal("keys beside an error")
			}
			return
		}
		if !bytes.Equal(k.Marshal(), in) {
			t.Fatal("marshals to other bytes")
		}
	})
}

func FuzzParseSession(f *testing.F) {
	p := newPair(f)
	f.Add(p.guest.Marshal())
	p.exchange(f)
	p.guest.say(f, "lost")
	p.host.hear(f, p.guest.say(f, "x"))
	p.guest.hear(f, p.host.say(f, "an answer"))
	p.guest.say(f, "lost")
	p.host.hear(f, p.guest.say(f, "x"))
	f.Add(p.host.Marshal())
	f.Fuzz(func(t *testing.T, in []byte) {
		s, err := ParseSession(in)
		if err != nil {
			if s != nil {
				t.Fatal("a session beside an error")
			}
			return
		}
		if !bytes.Equal(s.Marshal(), in) {
			t.Fatal("marshals to other bytes")
		}
		// Whatever parses can be used.
		if _, lost := s.Forget(noon); len(lost) > maxSkipped {
			t.Fatal("too many keys")
		}
		next, _, _, err := s.Seal(p.host.peerQE, nil)
		if err == nil && next.Sent() != s.Sent()+1 {
			t.Fatal("seq")
		}
	})
}

// FuzzOpen gives arbitrary bytes to everything that opens an envelope: as they
// are, inside the outer box, and inside the tag too.
func FuzzOpen(f *testing.F) {
	keys := fuzzHostKeys(f)
	qe := keys.QueueKey()
	b, err := keys.Bundle([16]byte{}, [24]byte{}, nil)
	if err != nil {
		f.Fatal(err)
	}
	g, flight, _, err := Begin(b, nil)
	if err != nil {
		f.Fatal(err)
	}
	host, _, _, err := keys.Accept(b.Hash(), flight)
	if err != nil {
		f.Fatal(err)
	}
	open := func(qe *ecdh.PrivateKey, e []byte) []byte {
		inner, err := openOuter(qe, e)
		if err != nil {
			f.Fatal(err)
		}
		return inner
	}
	_, message, _, err := g.Seal(qe.PublicKey().Bytes(), []byte("x"))
	if err != nil {
		f.Fatal(err)
	}
	inner := open(qe, message)
	f.Add(message, uint8(0))
	f.Add(flight, uint8(0))
	f.Add(inner, uint8(1))
	f.Add(open(qe, flight), uint8(1))
	h, _ := unseal(&g.send.hk, inner[1+tagSize:][:encHdrSize])
	f.Add(h, uint8(2))
	f.Add(h, uint8(3))
	f.Fuzz(func(t *testing.T, in []byte, depth uint8) {
		e, err := in, error(nil)
		switch fit := func(n int) []byte {
			return append(in[:min(len(in), n):min(len(in), n)], make([]byte, max(0, n-len(in)))...)
		}; depth % 4 {
		case 1:
			e, err = sealOuter(qe.PublicKey(), fit(innerSize))
		case 2, 3: // a header under a key that fits: of the same chain, or of a new one
			hk := &host.recv.hk
			if depth%4 == 3 {
				hk = &host.recvNext
			}
			h := fit(headerSize)
			body := bytes.Join([][]byte{{typeMessage}, sealTag(&host.tagRecv, 2, 0), seal(hk, h), make([]byte, messageBody)}, nil)
			e, err = sealOuter(qe.PublicKey(), body)
		}
		if err != nil {
			t.Fatal(err)
		}
		before := host.Marshal()
		next, m, err := host.Open(qe, e, noon)
		if (err == nil) != (next != nil) || err != nil && m.Plaintext != nil || !bytes.Equal(host.Marshal(), before) {
			t.Fatalf("Open: %+v, %v", m, err)
		}
		s, first, id, err := keys.Accept(b.Hash(), e)
		if (err == nil) != (s != nil) || err != nil && first != nil {
			t.Fatalf("Accept: %v", err)
		}
		if err == nil {
			if got, err := FlightID(b.Hash(), qe, e); err != nil || got != id.ID {
				t.Fatalf("FlightID: %v", err)
			}
		}
		if got, err := OpenBundle(b.Hash(), e); got != nil || err == nil {
			t.Fatal("OpenBundle opened it")
		}
	})
}
