package ratchet

import (
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"kin/protocol"
)

// Flight names a first flight (docs/protocol.md, Handshake).
type Flight struct {
	ID         [32]byte // th2: the same join always has the same
	Commitment [32]byte // of the message in it, as in [Sealed] and [Opened]: seq 1, echo 0
}

// agreement is the handshake's key schedule, in the order in which each side
// learns its inputs.
type agreement struct {
	th1, p1 []byte
	th2, p2 []byte
}

// begin takes what follows from EKa alone: d1, d2 and ss.
func (a *agreement) begin(h [32]byte, eka, ct, d1, d2, ss []byte) {
	a.th1 = protocol.Hash("kin/1 hs1", h[:], eka, ct)
	var prefix key
	for i := range prefix {
		prefix[i] = 0xff
	}
	a.p1 = protocol.Extract(a.th1, prefix[:], d1, d2, ss)
}

// identityKey is what IKa is sealed under.
func (a *agreement) identityKey() *key {
	k := key(protocol.Expand(a.p1, "kin/1 hs identity", 32))
	return &k
}

// finish takes cid, and what follows from IKa: d3.
func (a *agreement) finish(cid, d3 []byte) {
	a.th2 = flightID(a.th1, cid)
	a.p2 = protocol.Extract(a.th2, a.p1, d3)
}

func flightID(th1, cid []byte) []byte { return protocol.Hash("kin/1 hs2", th1, cid) }

// session is the state that both sides derive, seen from one of them; it has no
// chain yet.
func (a *agreement) session(ika, ikb *ecdh.PublicKey, guest bool) *Session {
	out := split(protocol.Expand(a.p2, "kin/1 hs session", 160))
	sk, hka, nhkb, sa, sb := out[0], out[1], out[2], out[3], out[4]
	s := &Session{
		ad:   key(protocol.Hash("kin/1 ad", ika.Bytes(), ikb.Bytes(), a.th2)),
		root: sk,
		recv: recvChain{skipChain: skipChain{base: 1}},
	}
	if guest {
		s.tagSend, s.tagRecv = sa, sb
		s.send.next, s.recvNext = hka, nhkb
	} else {
		s.tagSend, s.tagRecv = sb, sa
		s.send.next, s.recvNext = nhkb, hka
	}
	return s
}

// Begin makes a guest's session and its first flight, one envelope for the
// bundle's queue. first has at most [MaxFirst] bytes. Fresh identity and
// handshake keys are made and forgotten. A join that is repeated sends these
// bytes again; Begin called twice makes another guest.
func Begin(b *Bundle, first []byte) (s *Session, envelope []byte, f Flight, err error) {
	ika, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, Flight{}, err
	}
	eka, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, Flight{}, err
	}
	return begin(b, first, ika, eka)
}

func begin(b *Bundle, first []byte, ika, eka *ecdh.PrivateKey) (s *Session, envelope []byte, f Flight, err error) {
	if len(first) > MaxFirst {
		return nil, nil, Flight{}, fmt.Errorf("ratchet: a first message of %d bytes, at most %d fit", len(first), MaxFirst)
	}
	d1, err1 := eka.ECDH(b.identity)
	d2, err2 := eka.ECDH(b.oneTime)
	d3, err3 := ika.ECDH(b.oneTime)
	if errors.Join(err1, err2, err3) != nil {
		return nil, nil, Flight{}, ErrKey
	}
	ss, ct := b.handshakeKEM.Encapsulate()
	var a agreement
	a.begin(b.Hash(), eka.PublicKey().Bytes(), ct, d1, d2, ss)
	cid := seal(a.identityKey(), ika.PublicKey().Bytes())
	a.finish(cid, d3)

	s = a.session(ika.PublicKey(), b.identity, true)
	if err := s.beginChain(b.ratchet, b.ratchetKEM); err != nil {
		return nil, nil, Flight{}, err
	}
	encHdr, body, com := s.sealNext(first, flightBody)

	inner := make([]byte, 0, innerSize)
	inner = append(inner, typeFlight)
	inner = append(inner, eka.PublicKey().Bytes()...)
	inner = append(inner, ct...)
	inner = append(inner, cid...)
	inner = append(inner, encHdr...)
	inner = append(inner, body...)
	if envelope, err = sealOuter(b.queue, inner); err != nil {
		return nil, nil, Flight{}, err
	}
	return s, envelope, Flight{[32]byte(a.th2), com}, nil
}

// Accept opens a first flight that was made for the bundle with hash h, and makes
// the host's session. Only a flight that opens fully may burn the invite. It
// fails with [ErrEnvelope], [ErrType] (a message, to be held until its flight
// comes), [ErrIdentity], [ErrKey], or what can be wrong with a header or a body.
func (k *HostKeys) Accept(h [32]byte, envelope []byte) (s *Session, first []byte, f Flight, err error) {
	fl, err := openFlight(k.queue, envelope)
	if err != nil {
		return nil, nil, Flight{}, err
	}
	eka, err := protocol.ParsePublicKey(fl.eka)
	if err != nil {
		return nil, nil, Flight{}, ErrKey
	}
	d1, err1 := k.identity.ECDH(eka)
	d2, err2 := k.oneTime.ECDH(eka)
	ss, err3 := k.handshakeKEM.Decapsulate(fl.ct)
	if errors.Join(err1, err2, err3) != nil {
		return nil, nil, Flight{}, ErrKey
	}
	var a agreement
	a.begin(h, fl.eka, fl.ct, d1, d2, ss)
	identity, ok := unseal(a.identityKey(), fl.cid)
	if !ok {
		return nil, nil, Flight{}, ErrIdentity
	}
	ika, err := protocol.ParsePublicKey(identity)
	if err != nil {
		return nil, nil, Flight{}, ErrKey
	}
	d3, err := k.oneTime.ECDH(ika)
	if err != nil {
		return nil, nil, Flight{}, ErrKey
	}
	a.finish(fl.cid, d3)

	s = a.session(ika, k.identity.PublicKey(), false)
	s.dh, s.kem = k.ratchet, k.ratchetKEM
	// Nothing can be skipped before the first message, so no time is needed.
	s, first, com, err := s.openNext(1, fl.encHdr, fl.body, time.Time{})
	if err != nil {
		return nil, nil, Flight{}, err
	}
	return s, first, Flight{[32]byte(a.th2), com}, nil
}

// FlightID is the [Flight] ID of an envelope that is a first flight for the
// bundle with hash h. It needs only the queue's key, so that a repeated join is
// known after the others are destroyed. It proves nothing about who made the
// flight. It fails with [ErrEnvelope] or [ErrType].
func FlightID(h [32]byte, qe *ecdh.PrivateKey, envelope []byte) (id [32]byte, err error) {
	fl, err := openFlight(qe, envelope)
	if err != nil {
		return [32]byte{}, err
	}
	th1 := protocol.Hash("kin/1 hs1", h[:], fl.eka, fl.ct)
	return [32]byte(flightID(th1, fl.cid)), nil
}

// flight is what lies behind the type of a first flight.
type flight struct{ eka, ct, cid, encHdr, body []byte }

func openFlight(qe *ecdh.PrivateKey, envelope []byte) (flight, error) {
	inner, err := openOuter(qe, envelope)
	if err != nil {
		return flight{}, err
	}
	if inner[0] != typeFlight {
		return flight{}, ErrType
	}
	var f flight
	rest := inner[1:]
	for _, part := range []struct {
		b    *[]byte
		size int
	}{{&f.eka, keySize}, {&f.ct, kemCipher}, {&f.cid, cidSize}, {&f.encHdr, encHdrSize}, {&f.body, flightBody}} {
		*part.b, rest = rest[:part.size], rest[part.size:]
	}
	return f, nil
}
