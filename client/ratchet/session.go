package ratchet

import (
	"crypto/ecdh"
	"crypto/mlkem"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"time"

	"kin/protocol"
)

// Session is one side's ratchet state (docs/protocol.md, Ratchet). It never
// changes and may be used by many goroutines; a fork is prevented by whoever
// stores it, not here.
type Session struct {
	ad      key // names the handshake; bound into every message, and what the digits are made of
	tagSend key // Sa on the guest's side, Sb on the host's
	tagRecv key

	root key
	dh   *ecdh.PrivateKey           // DHs
	kem  *mlkem.DecapsulationKey768 // (eks, dks)
	ct   []byte                     // what this side encapsulated for the chain that it sends

	send     sendChain
	sent     uint64 // seq of the last envelope that this side sealed
	recv     recvChain
	recvNext key         // NHKr
	old      []skipChain // the newest first; each still has skipped keys
}

// sendChain is the chain that this side sends.
type sendChain struct {
	hk, ck key
	next   key    // NHKs
	n, pn  uint32 // messages in this chain and in the one before
}

// Sealed says what [Session.Seal] made.
type Sealed struct {
	Seq        uint64   // 1 for the first envelope of each side, the guest's first flight included
	Commitment [32]byte // names the message: the next one's prev
}

// Opened is a message that [Session.Open] opened.
type Opened struct {
	Plaintext  []byte // at most MaxPlaintext bytes
	Seq        uint64
	Echo       uint64   // the highest seq of this side's that the peer had received; 0: none
	Commitment [32]byte // equal to the sender's Sealed.Commitment
}

// Sent is the seq of the last envelope that this side sealed.
func (s *Session) Sent() uint64 { return s.sent }

// ChainFull tells whether Seal would fail with [ErrChainFull].
func (s *Session) ChainFull() bool { return s.send.n >= maxChain }

// Received is the highest seq that was opened; 0 means none. An [ErrNoKey] with
// a higher seq says that the peer has gone on with a newer state of this side.
func (s *Session) Received() uint64 { return s.recv.base + uint64(s.recv.n) - 1 }

// Seal makes the next envelope for the peer's queue, whose envelope key is qe
// (X25519, 32 bytes). The plaintext has at most [MaxPlaintext] bytes. The next
// state must be stored, with the envelope, before the envelope is sent: sealing
// twice with one state uses a message key twice. It fails with [ErrKey] on a
// low-order qe and with [ErrChainFull].
func (s *Session) Seal(qe, plaintext []byte) (next *Session, envelope []byte, sealed Sealed, err error) {
	peer, err := protocol.ParsePublicKey(qe)
	if err != nil {
		return nil, nil, Sealed{}, ErrKey
	}
	if len(plaintext) > MaxPlaintext {
		return nil, nil, Sealed{}, fmt.Errorf("ratchet: a plaintext of %d bytes, at most %d fit", len(plaintext), MaxPlaintext)
	}
	if s.ChainFull() {
		return nil, nil, Sealed{}, ErrChainFull
	}
	next = new(*s)
	encHdr, body, com := next.sealNext(plaintext, messageBody)
	inner := make([]byte, 0, innerSize)
	inner = append(inner, typeMessage)
	inner = append(inner, sealTag(&s.tagSend, next.sent, s.Received())...)
	inner = append(inner, encHdr...)
	inner = append(inner, body...)
	if envelope, err = sealOuter(peer, inner); err != nil {
		return nil, nil, Sealed{}, err
	}
	return next, envelope, Sealed{next.sent, com}, nil
}

// sealNext seals under the next message key and steps the chain behind it.
func (s *Session) sealNext(plaintext []byte, size int) (encHdr, body []byte, com key) {
	h := header{
		dh: s.dh.PublicKey().Bytes(), ek: s.kem.EncapsulationKey().Bytes(), ct: s.ct,
		pn: s.send.pn, n: s.send.n,
	}
	encHdr = seal(&s.send.hk, h.marshal())
	mk := messageKey(&s.send.ck)
	body, com = sealBody(&mk, &s.ad, encHdr, plaintext, size)
	s.send.ck = nextChainKey(&s.send.ck)
	s.send.n++
	s.sent++
	return encHdr, body, com
}

// Open opens an envelope that came on this side's queue, whose envelope key is
// qe. The time is remembered with the keys of messages that are skipped, for
// [Session.Forget]. The next state must be stored with the message before the
// relay may forget the envelope.
//
// Before the tag is open it fails with [ErrEnvelope], [ErrType] or [ErrTag];
// behind it with an *[OpenError] that says which message it was.
func (s *Session) Open(qe *ecdh.PrivateKey, envelope []byte, now time.Time) (next *Session, m Opened, err error) {
	inner, err := openOuter(qe, envelope)
	if err != nil {
		return nil, Opened{}, err
	}
	if inner[0] != typeMessage {
		return nil, Opened{}, ErrType
	}
	tag, encHdr, body := inner[1:1+tagSize], inner[1+tagSize:][:encHdrSize], inner[1+tagSize+encHdrSize:]
	seq, echo, ok := openTag(&s.tagRecv, tag)
	if !ok {
		return nil, Opened{}, ErrTag
	}
	if echo > s.sent {
		return nil, Opened{}, &OpenError{seq, echo, ErrRollback}
	}
	next, plaintext, com, err := s.openNext(seq, encHdr, body, now)
	if err != nil {
		return nil, Opened{}, &OpenError{seq, echo, err}
	}
	return next, Opened{plaintext, seq, echo, com}, nil
}

// openNext opens a header and its body on a copy of the state.
func (s *Session) openNext(seq uint64, encHdr, body []byte, now time.Time) (next *Session, plaintext []byte, com key, err error) {
	next = new(*s)
	mk, err := next.takeKey(seq, encHdr, now.Unix())
	if err != nil {
		return nil, nil, key{}, err
	}
	plaintext, com, err = openBody(&mk, &s.ad, encHdr, body)
	if err != nil {
		return nil, nil, key{}, err
	}
	return next, plaintext, com, nil
}

// takeKey finds the header key that fits and takes the message's key out of the
// state. It replaces slices and never writes into one, since the old state
// shares them.
func (s *Session) takeKey(seq uint64, encHdr []byte, now int64) (key, error) {
	if s.recv.n > 0 {
		if b, ok := unseal(&s.recv.hk, encHdr); ok {
			return s.takeCurrent(seq, b, now)
		}
	}
	if b, ok := unseal(&s.recvNext, encHdr); ok {
		return s.takeStep(seq, b, now)
	}
	for i := range s.old {
		if b, ok := unseal(&s.old[i].hk, encHdr); ok {
			return s.takeOld(i, seq, b)
		}
	}
	return key{}, ErrNoKey
}

// takeCurrent takes a key of the chain that is being received.
func (s *Session) takeCurrent(seq uint64, b []byte, now int64) (mk key, err error) {
	h, err := s.recv.check(seq, b)
	if err != nil {
		return key{}, err
	}
	if h.n < s.recv.n {
		s.recv.skipChain, mk, err = s.recv.take(h.n)
		return mk, err
	}
	s.recv = s.recv.skip(h.n, now)
	mk = s.recv.next()
	s.capSkipped()
	return mk, nil
}

// takeOld takes a skipped key of an old chain, and forgets the chain with its last.
func (s *Session) takeOld(i int, seq uint64, b []byte) (key, error) {
	h, err := s.old[i].check(seq, b)
	if err != nil {
		return key{}, err
	}
	chain, mk, err := s.old[i].take(h.n)
	if err != nil {
		return key{}, err
	}
	s.old = withChain(s.old, i, chain)
	return mk, nil
}

// takeStep makes a ratchet step: the peer has begun a new chain. The step
// replaces this side's DH and KEM keys too.
func (s *Session) takeStep(seq uint64, b []byte, now int64) (key, error) {
	h, err := parseHeader(b)
	if err != nil {
		return key{}, err
	}
	base := s.recv.base + uint64(h.pn)
	if h.pn < s.recv.n || s.recv.n == 0 && h.pn != 0 || seq != base+uint64(h.n) {
		return key{}, ErrHeader
	}
	peer, err := protocol.ParsePublicKey(h.dh)
	if err != nil {
		return key{}, ErrKey
	}
	peerKEM, err := mlkem.NewEncapsulationKey768(h.ek)
	if err != nil {
		return key{}, ErrKey
	}
	shared, err := s.dh.ECDH(peer)
	if err != nil {
		return key{}, ErrKey
	}
	ss, err := s.kem.Decapsulate(h.ct)
	if err != nil {
		return key{}, ErrKey
	}

	last := s.recv.skip(h.pn, now).skipChain
	s.old = withFirst(s.old, last)
	s.recv = recvChain{skipChain: skipChain{hk: s.recvNext, fixed: h.fixed(), base: base}}
	s.root, s.recv.ck, s.recvNext = kdfRoot(&s.root, shared, ss, turn{
		sender: h.dh, receiver: s.dh.PublicKey().Bytes(),
		to: s.kem.EncapsulationKey().Bytes(), ct: h.ct, sent: h.ek,
	})
	if err := s.beginChain(peer, peerKEM); err != nil {
		return key{}, err
	}
	s.recv = s.recv.skip(h.n, now)
	mk := s.recv.next()
	s.capSkipped()
	return mk, nil
}

// beginChain starts a sending chain with fresh DH and KEM keys, towards the peer's.
func (s *Session) beginChain(peer *ecdh.PublicKey, peerKEM *mlkem.EncapsulationKey768) (err error) {
	if s.dh, err = ecdh.X25519().GenerateKey(rand.Reader); err != nil {
		return err
	}
	if s.kem, err = mlkem.GenerateKey768(); err != nil {
		return err
	}
	shared, err := s.dh.ECDH(peer)
	if err != nil {
		return ErrKey
	}
	ss, ct := peerKEM.Encapsulate()
	s.ct = ct
	s.send = sendChain{hk: s.send.next, pn: s.send.n}
	s.root, s.send.ck, s.send.next = kdfRoot(&s.root, shared, ss, turn{
		sender: s.dh.PublicKey().Bytes(), receiver: peer.Bytes(),
		to: peerKEM.Bytes(), ct: ct, sent: s.kem.EncapsulationKey().Bytes(),
	})
	return nil
}

// sealTag returns nonce ‖ SB(S, seq ‖ echo).
func sealTag(s *key, seq, echo uint64) []byte {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], seq)
	binary.BigEndian.PutUint64(b[8:], echo)
	return seal(s, b[:])
}

func openTag(s *key, tag []byte) (seq, echo uint64, ok bool) {
	b, ok := unseal(s, tag)
	if !ok {
		return 0, 0, false
	}
	return binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:]), true
}
