package ratchet

import (
	"bytes"
	"crypto/ecdh"
	"crypto/mlkem"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"testing"
	"time"

	"golang.org/x/crypto/blake2b"
	"golang.org/x/crypto/nacl/box"

	"kin/protocol"
)

var noon = time.Unix(1_800_000_000, 0)

// side is one party: its session, its queue's envelope key, and the peer's.
type side struct {
	*Session
	qe     *ecdh.PrivateKey
	peerQE []byte
}

// pair is a host and a guest behind a handshake.
type pair struct {
	keys        *HostKeys
	bundle      *Bundle
	flight      []byte // the first envelope
	id          Flight
	guest, host side
}

func newX25519(t testing.TB) *ecdh.PrivateKey {
	t.Helper()
	k, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newBundle(t testing.TB) (*HostKeys, *Bundle) {
	t.Helper()
	keys, err := NewHostKeys()
	if err != nil {
		t.Fatal(err)
	}
	var fingerprint [16]byte
	var senderID [24]byte
	rand.Read(fingerprint[:])
	rand.Read(senderID[:])
	b, err := keys.Bundle(fingerprint, senderID, []byte("calls themself Bob"))
	if err != nil {
		t.Fatal(err)
	}
	return keys, b
}

func newPair(t testing.TB) *pair {
	t.Helper()
	keys, b := newBundle(t)
	first := []byte("a reply descriptor")
	g, envelope, f, err := Begin(b, first)
	if err != nil {
		t.Fatal(err)
	}
	h, got, id, err := keys.Accept(b.Hash(), envelope)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, first) || id != f {
		t.Fatalf("Accept: %q, %x; want %q, %x", got, id, first, f)
	}
	guestQE := newX25519(t)
	return &pair{
		keys: keys, bundle: b, flight: envelope, id: f,
		guest: side{g, guestQE, keys.QueueKey().PublicKey().Bytes()},
		host:  side{h, keys.QueueKey(), guestQE.PublicKey().Bytes()},
	}
}

// say seals on s and goes on with the next state.
func (s *side) say(t testing.TB, text string) []byte {
	t.Helper()
	next, envelope, _, err := s.Seal(s.peerQE, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	s.Session = next
	return envelope
}

// hear opens on s and goes on with the next state.
func (s *side) hear(t testing.TB, envelope []byte) Opened {
	t.Helper()
	next, m, err := s.Open(s.qe, envelope, noon)
	if err != nil {
		t.Fatal(err)
	}
	s.Session = next
	return m
}

// exchange lets the host and the guest answer each other, so that both have a
// chain that they receive.
func (p *pair) exchange(t testing.TB) {
	t.Helper()
	p.guest.hear(t, p.host.say(t, "from the host"))
	p.host.hear(t, p.guest.say(t, "from the guest"))
}

// forgery is a message from somebody who has the keys but not the manners. It
// starts as the right next message, and a test changes one thing.
type forgery struct {
	typ       byte
	tagKey    key
	seq, echo uint64
	hk        key
	header    header
	version   uint32
	ck        key // of message header.n
	ad        key
	padded    []byte
}

// forge is the next message of the peer of the one that is to receive it.
func forge(from side) forgery {
	s := from.Session
	return forgery{
		typ: typeMessage, tagKey: s.tagSend, seq: s.sent + 1, echo: s.Received(),
		hk: s.send.hk,
		header: header{
			dh: s.dh.PublicKey().Bytes(), ek: s.kem.EncapsulationKey().Bytes(), ct: s.ct,
			pn: s.send.pn, n: s.send.n,
		},
		version: headerVersion << 24,
		ck:      s.send.ck, ad: s.ad, padded: pad([]byte("forged"), messageBody-bodyOverhead),
	}
}

// forgeChain is the first message of a chain that the receiver has not seen,
// made with this DH key, shared secret and KEM key. pn is right.
func forgeChain(to *Session, dh, shared, ek []byte) forgery {
	ss, ct := to.kem.EncapsulationKey().Encapsulate()
	_, ck, _ := kdfRoot(&to.root, shared, ss, turn{
		sender: dh, receiver: to.dh.PublicKey().Bytes(),
		to: to.kem.EncapsulationKey().Bytes(), ct: ct, sent: ek,
	})
	return forgery{
		typ: typeMessage, tagKey: to.tagRecv, seq: to.Received() + 1, echo: to.sent,
		hk: to.recvNext, header: header{dh: dh, ek: ek, ct: ct, pn: to.recv.n},
		version: headerVersion << 24,
		ck:      ck, ad: to.ad, padded: pad([]byte("forged"), messageBody-bodyOverhead),
	}
}

// jump moves a forgery to message n of its chain, with the right keys and seq.
func (f forgery) jump(n uint32) forgery {
	for f.header.n < n {
		f.ck = nextChainKey(&f.ck)
		f.header.n++
		f.seq++
	}
	return f
}

// inner is what goes into the outer box.
func (f forgery) inner() []byte {
	h := f.header.marshal()
	binary.BigEndian.PutUint32(h[headerSize-4:], f.version)
	encHdr := seal(&f.hk, h)
	mk := messageKey(&f.ck)
	k, com := bodyKeys(&mk, &f.ad, encHdr)
	nonce := newNonce()
	body := box.SealAfterPrecomputation(append(nonce[:], com[:]...), f.padded, &nonce, &k)
	return bytes.Join([][]byte{{f.typ}, sealTag(&f.tagKey, f.seq, f.echo), encHdr, body}, nil)
}

func (f forgery) to(t testing.TB, qe *ecdh.PrivateKey) []byte { return outer(t, qe, f.inner()) }

func outer(t testing.TB, qe *ecdh.PrivateKey, inner []byte) []byte {
	t.Helper()
	envelope, err := sealOuter(qe.PublicKey(), inner)
	if err != nil {
		t.Fatal(err)
	}
	return envelope
}

// reseal opens an envelope's outer box, changes the inside, and closes it again.
func reseal(t testing.TB, qe *ecdh.PrivateKey, envelope []byte, change func(inner []byte)) []byte {
	t.Helper()
	inner, err := openOuter(qe, envelope)
	if err != nil {
		t.Fatal(err)
	}
	change(inner)
	return outer(t, qe, inner)
}

// flightForgery is a first flight from somebody who has the invite but not the manners.
type flightForgery struct {
	bundle         *Bundle
	eka, ika       []byte
	d1, d2, d3     []byte
	dh, shared, ek []byte // of the first ratchet message
	pn, n          uint32
	padded         []byte
}

func forgeFlight(t testing.TB, b *Bundle) flightForgery {
	t.Helper()
	eka, ika, dh := newX25519(t), newX25519(t), newX25519(t)
	kem, err := mlkem.GenerateKey768()
	if err != nil {
		t.Fatal(err)
	}
	return flightForgery{
		bundle: b, eka: eka.PublicKey().Bytes(), ika: ika.PublicKey().Bytes(),
		d1: agree(t, eka, b.identity), d2: agree(t, eka, b.oneTime), d3: agree(t, ika, b.oneTime),
		dh: dh.PublicKey().Bytes(), shared: agree(t, dh, b.ratchet), ek: kem.EncapsulationKey().Bytes(),
		padded: pad([]byte("forged"), flightBody-bodyOverhead),
	}
}

func agree(t testing.TB, private *ecdh.PrivateKey, public *ecdh.PublicKey) []byte {
	t.Helper()
	shared, err := private.ECDH(public)
	if err != nil {
		t.Fatal(err)
	}
	return shared
}

func (f flightForgery) envelope(t testing.TB, qe *ecdh.PrivateKey) []byte {
	t.Helper()
	ss, ct := f.bundle.handshakeKEM.Encapsulate()
	var a agreement
	a.begin(f.bundle.Hash(), f.eka, ct, f.d1, f.d2, ss)
	cid := seal(a.identityKey(), f.ika)
	a.finish(cid, f.d3)
	out := split(protocol.Expand(a.p2, "kin/1 hs session", 160))
	ad := key(protocol.Hash("kin/1 ad", f.ika, f.bundle.identity.Bytes(), a.th2))
	ss2, ct2 := f.bundle.ratchetKEM.Encapsulate()
	_, ck, _ := kdfRoot(&out[0], f.shared, ss2, turn{
		sender: f.dh, receiver: f.bundle.ratchet.Bytes(), to: f.bundle.ratchetKEM.Bytes(), ct: ct2, sent: f.ek,
	})
	message := forgery{
		hk: out[1], header: header{dh: f.dh, ek: f.ek, ct: ct2, pn: f.pn}, version: headerVersion << 24,
		ck: ck, ad: ad, padded: f.padded,
	}.jump(f.n).inner()
	return outer(t, qe, bytes.Join([][]byte{{typeFlight}, f.eka, ct, cid, message[1+tagSize:]}, nil))
}

// lowOrder are the seven u-coordinates with which every X25519 result is zero,
// from the list of small-order points at cr.yp.to/ecdh.html. The last three are
// p-1, p and p+1.
var lowOrder = [][]byte{
	unhex("0000000000000000000000000000000000000000000000000000000000000000"),
	unhex("0100000000000000000000000000000000000000000000000000000000000000"),
	unhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
	unhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
	unhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
	unhex("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
	unhex("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
}

// withTopBits is lowOrder twice: the top bit is ignored by X25519.
func withTopBits() [][]byte {
	all := lowOrder
	for _, p := range lowOrder {
		q := bytes.Clone(p)
		q[31] |= 0x80
		all = append(all, q)
	}
	return all
}

var zero32 = make([]byte, 32)

// badKEM is no ML-KEM-768 key: its first coefficient is not below q.
func badKEM(ek []byte) []byte {
	bad := bytes.Clone(ek)
	bad[0], bad[1] = 0xff, bad[1]|0x0f
	return bad
}

// lowOrderOuter closes an outer box from a low-order key: everybody knows what
// it agrees on.
func lowOrderOuter(point []byte, qe *ecdh.PrivateKey, inner []byte) []byte {
	var shared key
	box.Precompute(&shared, (*key)(point), (*key)(qe.Bytes()))
	h, _ := blake2b.New(nonceSize, nil)
	h.Write(point)
	h.Write(qe.PublicKey().Bytes())
	nonce := [nonceSize]byte(h.Sum(nil))
	return box.SealAfterPrecomputation(bytes.Clone(point), inner, &nonce, &shared)
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}
