package ratchet

import (
	"crypto/ecdh"
	"crypto/mlkem"
	"encoding/binary"
	"errors"
	"math"
)

const (
	sessionVersion = 1

	// version ‖ ad ‖ tagSend ‖ tagRecv ‖ root ‖ dh ‖ kem seed ‖ ct ‖
	// send: hk ‖ ck ‖ next ‖ n ‖ pn ‖ sent ‖ recvNext ‖ recv: ck ‖ n
	sessionFixed = 1 + 5*keySize + kemSeed + kemCipher + 3*keySize + 4 + 4 + 8 + keySize + keySize + 4
	chainFixed   = keySize + 32 + 8 + 2 // hk ‖ fixed ‖ base ‖ count of skipped keys
	skippedSize  = 4 + keySize + 8      // n ‖ mk ‖ at
)

var errSession = errors.New("ratchet: malformed session")

// Marshal is the state as bytes, all secret: 1,568 bytes, and 44 for each
// skipped key. Equal states have equal bytes.
func (s *Session) Marshal() []byte {
	b := make([]byte, 0, sessionFixed+chainFixed+1)
	b = append(b, sessionVersion)
	for _, k := range [][]byte{
		s.ad[:], s.tagSend[:], s.tagRecv[:], s.root[:], s.dh.Bytes(), s.kem.Bytes(), s.ct,
		s.send.hk[:], s.send.ck[:], s.send.next[:],
	} {
		b = append(b, k...)
	}
	b = binary.BigEndian.AppendUint32(b, s.send.n)
	b = binary.BigEndian.AppendUint32(b, s.send.pn)
	b = binary.BigEndian.AppendUint64(b, s.sent)
	b = append(b, s.recvNext[:]...)
	b = append(b, s.recv.ck[:]...)
	b = binary.BigEndian.AppendUint32(b, s.recv.n)
	b = s.recv.append(b)
	b = append(b, byte(len(s.old)))
	for _, c := range s.old {
		b = c.append(b)
	}
	return b
}

func (c skipChain) append(b []byte) []byte {
	b = append(b, c.hk[:]...)
	b = append(b, c.fixed[:]...)
	b = binary.BigEndian.AppendUint64(b, c.base)
	b = binary.BigEndian.AppendUint16(b, uint16(len(c.skipped)))
	for _, k := range c.skipped {
		b = binary.BigEndian.AppendUint32(b, k.n)
		b = append(b, k.mk[:]...)
		b = binary.BigEndian.AppendUint64(b, uint64(k.at))
	}
	return b
}

// ParseSession parses what Marshal made. It refuses numbers that no operation
// leads to; what it takes marshals to the same bytes.
func ParseSession(b []byte) (*Session, error) {
	r := reader{b: b}
	version := r.take(1)
	s := &Session{ad: r.key(), tagSend: r.key(), tagRecv: r.key(), root: r.key()}
	dh, kem := r.take(keySize), r.take(kemSeed)
	s.ct = append([]byte{}, r.take(kemCipher)...)
	s.send = sendChain{hk: r.key(), ck: r.key(), next: r.key(), n: r.uint32(), pn: r.uint32()}
	s.sent = r.uint64()
	s.recvNext = r.key()
	s.recv = recvChain{ck: r.key(), n: r.uint32()}
	s.recv.skipChain = r.chain()
	for range int(r.take(1)[0]) {
		if len(s.old) == maxOldChains {
			return nil, errSession
		}
		s.old = append(s.old, r.chain())
	}
	if r.short || len(r.b) > 0 || version[0] != sessionVersion || !s.valid() {
		return nil, errSession
	}
	var err error
	if s.dh, err = ecdh.X25519().NewPrivateKey(dh); err != nil {
		return nil, errSession
	}
	if s.kem, err = mlkem.NewDecapsulationKey768(kem); err != nil {
		return nil, errSession
	}
	return s, nil
}

// valid says whether the numbers fit each other.
func (s *Session) valid() bool {
	if s.send.n > maxChain || s.send.pn > maxChain || s.sent < uint64(s.send.n)+uint64(s.send.pn) {
		return false
	}
	if s.recv.n == 0 {
		first := recvChain{skipChain: skipChain{base: 1}}
		return s.recv.hk == first.hk && s.recv.fixed == first.fixed && s.recv.base == 1 &&
			s.recv.ck == first.ck && len(s.recv.skipped) == 0 && len(s.old) == 0
	}
	if s.recv.n > maxJump+1 || s.recv.base == 0 || s.recv.base > math.MaxInt64 {
		return false
	}
	total := len(s.recv.skipped)
	if !s.recv.ascends(s.recv.n) {
		return false
	}
	newer := s.recv.base
	for _, c := range s.old {
		if len(c.skipped) == 0 || c.base == 0 || c.base >= newer || !c.ascends(uint32(min(newer-c.base, maxJump))) {
			return false
		}
		newer = c.base
		total += len(c.skipped)
	}
	return total <= maxSkipped
}

// ascends says whether the skipped keys are in order and all before n.
func (c skipChain) ascends(n uint32) bool {
	for i, k := range c.skipped {
		if k.n >= n || i > 0 && k.n <= c.skipped[i-1].n {
			return false
		}
	}
	return true
}

// reader cuts fixed sizes off b. Once b is too short it returns zeros, and short
// stays true.
type reader struct {
	b     []byte
	short bool
}

func (r *reader) take(n int) []byte {
	if len(r.b) < n {
		r.b, r.short = nil, true
		return make([]byte, n)
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) key() key       { return key(r.take(keySize)) }
func (r *reader) uint32() uint32 { return binary.BigEndian.Uint32(r.take(4)) }
func (r *reader) uint64() uint64 { return binary.BigEndian.Uint64(r.take(8)) }

func (r *reader) chain() skipChain {
	c := skipChain{hk: r.key(), fixed: r.key(), base: r.uint64()}
	count := int(binary.BigEndian.Uint16(r.take(2)))
	if count*skippedSize > len(r.b) {
		r.b, r.short = nil, true
		return skipChain{}
	}
	for range count {
		c.skipped = append(c.skipped, skippedKey{n: r.uint32(), mk: r.key(), at: int64(r.uint64())})
	}
	return c
}
