package protocol

import (
	"bytes"
	"crypto/ecdh"
	"crypto/mlkem"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// lowOrderEncoded are the seven u-coordinates of low order and other encodings of them
// (Bernstein, "Curve25519: new Diffie-Hellman speed records"; RFC 7748, section 6.1).
var lowOrderEncoded = []string{
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000000",
	"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
	"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"0000000000000000000000000000000000000000000000000000000000000080",
	"0100000000000000000000000000000000000000000000000000000000000080",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
}

func lowOrderKeys(t *testing.T) (keys [][]byte) {
	for _, s := range lowOrderEncoded {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, b)
	}
	return keys
}

func newX25519(t testing.TB) *ecdh.PrivateKey {
	k, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// relaySide is what a relay knows of a connection.
type relaySide struct {
	rs, re, ra *ecdh.PrivateKey
	dk         *mlkem.DecapsulationKey768
	hello      []byte
}

func newRelaySide(t testing.TB) *relaySide {
	r := &relaySide{rs: newX25519(t), re: newX25519(t), ra: newX25519(t)}
	var err error
	if r.dk, err = mlkem.GenerateKey768(); err != nil {
		t.Fatal(err)
	}
	h := &Hello{Versions: []byte{1}, RS: r.rs.PublicKey(), RE: r.re.PublicKey(), RA: r.ra.PublicKey(), EK: r.dk.EncapsulationKey(),
		Limits: Limits{Epoch: time.Hour, MaxTTL: 336, Durable: true, Window: 16}}
	rand.Read(h.Nonce[:])
	r.hello = h.Marshal()
	return r
}

func (r *relaySide) pin() Fingerprint { return FingerprintOf(r.rs.PublicKey()) }

func connected(t testing.TB) (client, relay *Link) {
	r := newRelaySide(t)
	answer, client, _, err := Connect(r.hello, r.pin())
	if err != nil {
		t.Fatal(err)
	}
	if relay, err = Accept(r.hello, r.rs, r.re, r.dk, answer); err != nil {
		t.Fatal(err)
	}
	return client, relay
}

func TestLinkCarriesFramesBothWays(t *testing.T) {
	c, r := connected(t)
	if c.SID != r.SID {
		t.Fatal("the sides name the link differently")
	}
	for _, n := range []int{0, 1, SmallFrame - 5, SmallFrame - 4, MessageFrame - 5, MessageFrame - 4, ChunkFrame - 5} {
		for _, d := range []struct{ from, to *Link }{{c, r}, {r, c}} {
			body := make([]byte, n)
			rand.Read(body)
			sealed := d.from.Seal(nil, TypePut, body[:n/2], body[n/2:])
			f, err := d.to.Open(sealed[0], sealed[1:])
			if err != nil || f.Type != TypePut || !bytes.Equal(f.Body, body) {
				t.Fatalf("%d bytes: %v", n, err)
			}
		}
	}
}

func TestWrongFingerprintFailsClosed(t *testing.T) {
	r := newRelaySide(t)
	pin := r.pin()
	for i := range pin {
		wrong := pin
		wrong[i] ^= 1
		if answer, l, h, err := Connect(r.hello, wrong); !errors.Is(err, ErrFingerprint) || answer != nil || l != nil || h != nil {
			t.Fatalf("byte %d: %v", i, err)
		}
	}
}

func TestRelayWithoutTheStaticKeyCannotAnswer(t *testing.T) {
	r := newRelaySide(t)
	answer, c, _, err := Connect(r.hello, r.pin())
	if err != nil {
		t.Fatal(err)
	}
	false_, err := Accept(r.hello, newX25519(t), r.re, r.dk, answer)
	if err != nil {
		t.Fatal(err)
	}
	sealed := false_.Seal(nil, TypeOK, make([]byte, 8))
	if _, err := c.Open(sealed[0], sealed[1:]); !errors.Is(err, ErrSeal) {
		t.Fatal(err)
	}
}

func TestTamperedReplayedAndReorderedFramesAreRefused(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		c, r := connected(t)
		first, second := c.Seal(nil, TypePut, []byte("first")), c.Seal(nil, TypePut, []byte("second"))
		if _, err := r.Open(second[0], bytes.Clone(second[1:])); !errors.Is(err, ErrSeal) {
			rt.Fatal("reordered:", err)
		}
		bad := bytes.Clone(first)
		bad[rapid.IntRange(1, len(bad)-1).Draw(rt, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(rt, "bit")
		if _, err := r.Open(bad[0], bad[1:]); !errors.Is(err, ErrSeal) {
			rt.Fatal("tampered:", err)
		}
		if _, err := r.Open(first[0], bytes.Clone(first[1:])); err != nil {
			rt.Fatal(err)
		}
		if _, err := r.Open(first[0], bytes.Clone(first[1:])); !errors.Is(err, ErrSeal) {
			rt.Fatal("replayed:", err)
		}
	})
}

func TestPlaintextIsCanonical(t *testing.T) {
	good := appendPlain(nil, 0, TypeOK, 3, [][]byte{{1, 2, 3}})
	if _, err := parsePlain(0, good); err != nil {
		t.Fatal(err)
	}
	padding := bytes.Clone(good)
	padding[len(padding)-1] = 1
	long := bytes.Clone(good)
	long[3] = 1 // 256 + 3 bytes
	wide := append(appendPlain(nil, 0, TypeOK, 3, [][]byte{{1, 2, 3}}), make([]byte, MessageFrame-SmallFrame)...)
	for name, c := range map[string]struct {
		class byte
		b     []byte
	}{"padding": {0, padding}, "length": {0, long}, "class": {1, wide}, "no class": {3, good}, "short": {0, good[:255]}} {
		if _, err := parsePlain(c.class, c.b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestParsePublicKeyAgreesWithECDH: it refuses the keys that crypto/ecdh agrees on
// nothing with, and no others: among the smallest and the largest encodings, with the
// top bit and without, and at random.
func TestParsePublicKeyAgreesWithECDH(t *testing.T) {
	own := newX25519(t)
	check := func(b []byte) (low bool) {
		t.Helper()
		pub, err := ecdh.X25519().NewPublicKey(b)
		if err != nil {
			t.Fatal(err)
		}
		_, err = own.ECDH(pub)
		if _, parsed := ParsePublicKey(b); (err == nil) != (parsed == nil) {
			t.Errorf("%x: %v; ECDH says %v", b, parsed, err)
		}
		return err != nil
	}
	n := 0
	for _, top := range []byte{0, 0x80} {
		for i := range 256 {
			small, large := make([]byte, KeySize), bytes.Repeat([]byte{0xff}, KeySize)
			small[0], large[0] = byte(i), byte(i)
			small[KeySize-1], large[KeySize-1] = top, 0x7f|top
			for _, b := range [][]byte{small, large} {
				if check(b) {
					n++
				}
			}
		}
	}
	if n != 10 { // 0, 1, p-1, p and p+1, twice
		t.Errorf("%d keys of low order", n)
	}
	for _, low := range lowOrderKeys(t) {
		if !check(low) {
			t.Errorf("%x agrees on something", low)
		}
	}
	for range 100 {
		check(newX25519(t).PublicKey().Bytes())
	}
}

func TestLowOrderKeysAreRefusedWhereverAKeyIsParsed(t *testing.T) {
	r := newRelaySide(t)
	answer, _, _, err := Connect(r.hello, r.pin())
	if err != nil {
		t.Fatal(err)
	}
	for _, low := range lowOrderKeys(t) {
		if _, err := ParsePublicKey(low); !errors.Is(err, ErrLowOrder) {
			t.Errorf("ParsePublicKey(%x): %v", low, err)
		}
		for i, name := range []string{"RS", "RE", "RA"} {
			hello := bytes.Clone(r.hello)
			copy(hello[2+i*KeySize:], low)
			if _, err := ParseHello(hello); !errors.Is(err, ErrLowOrder) {
				t.Errorf("%s %x: %v", name, low, err)
			}
		}
		bad := bytes.Clone(answer)
		copy(bad[1:], low)
		if _, err := Accept(r.hello, r.rs, r.re, r.dk, bad); !errors.Is(err, ErrLowOrder) {
			t.Errorf("CE %x: %v", low, err)
		}
	}
}

func TestProofIsForOneCommandOnOneLink(t *testing.T) {
	queue, ra := newX25519(t), newX25519(t)
	mine, err := NewProofKey(queue, ra.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := NewProofKey(ra, queue.PublicKey())
	if err != nil || *mine != *theirs {
		t.Fatal("the sides have different keys", err)
	}
	sid, corr, cmd := [32]byte{1}, Corr{2}, &Del{Receiver: ID{3}}
	p := mine.Prove(sid, corr, cmd.SignedBytes())
	if !theirs.Verify(p, sid, corr, cmd.SignedBytes()) {
		t.Fatal("a good proof is refused")
	}
	bad := p
	bad[40] ^= 1
	other := &Del{Receiver: ID{4}}
	if theirs.Verify(bad, sid, corr, cmd.SignedBytes()) || theirs.Verify(p, [32]byte{9}, corr, cmd.SignedBytes()) ||
		theirs.Verify(p, sid, Corr{9}, cmd.SignedBytes()) || theirs.Verify(p, sid, corr, other.SignedBytes()) {
		t.Fatal("a proof for something else is taken")
	}
}

func FuzzHello(f *testing.F) {
	f.Add(newRelaySide(f).hello)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseHello(b)
		if err != nil {
			if h != nil {
				t.Fatal("a result with an error")
			}
			return
		}
		if !bytes.Equal(h.Marshal(), b) {
			t.Fatal("what parses does not marshal to the same bytes")
		}
	})
}
