package protocol

import (
	"bytes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/mlkem"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"time"

	"golang.org/x/crypto/chacha20poly1305"
)

// Errors of the link. Each closes the connection; none has a way round it.
var (
	ErrFingerprint = errors.New("protocol: the relay's key is not the one in its address")
	ErrVersion     = errors.New("protocol: no common version")
	ErrSeal        = errors.New("protocol: a frame does not open")
)

// Fingerprint is the first 16 bytes of SHA-256(RS).
type Fingerprint [FingerprintSize]byte

// FingerprintOf is the fingerprint of a relay's static public key.
func FingerprintOf(rs *ecdh.PublicKey) Fingerprint {
	h := sha256.Sum256(rs.Bytes())
	return Fingerprint(h[:FingerprintSize])
}

// Limits are the relay's, as its hello tells them: 8 bytes,
// epoch4 (seconds) ‖ maxttl2 (epochs) ‖ flags1 (bit 0: durable) ‖ window1.
type Limits struct {
	Epoch   time.Duration // whole seconds, at least one, at most MaxEpoch
	MaxTTL  uint16        // the operator's ceiling, in epochs
	Durable bool          // false: epoch keys are in memory alone
	Window  uint8         // MSGs of a subscription that may be unacknowledged
}

// MaxEpoch bounds a relay's epoch: what lives for an epoch more than was asked for must
// not live for years.
const MaxEpoch = 24 * time.Hour

// Hello is what the relay says first (docs/protocol.md, Link):
// n1 versions(n) RS32 RE32 RA32 ekR1184 nonce32 limits8.
type Hello struct {
	Versions   []byte // 1 to 8, ascending
	RS, RE, RA *ecdh.PublicKey
	EK         *mlkem.EncapsulationKey768
	Nonce      [32]byte
	Limits     Limits
}

// Marshal returns the hello's bytes.
func (h *Hello) Marshal() []byte {
	b := make([]byte, 0, 1+len(h.Versions)+3*KeySize+KEMKeySize+32+limitsSize)
	b = append(append(b, byte(len(h.Versions))), h.Versions...)
	b = append(b, h.RS.Bytes()...)
	b = append(b, h.RE.Bytes()...)
	b = append(b, h.RA.Bytes()...)
	b = append(b, h.EK.Bytes()...)
	b = append(b, h.Nonce[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(h.Limits.Epoch/time.Second))
	b = binary.BigEndian.AppendUint16(b, h.Limits.MaxTTL)
	var flags byte
	if h.Limits.Durable {
		flags = 1
	}
	return append(b, flags, h.Limits.Window)
}

// ParseHello reads a hello. Low-order keys and KEM keys that fail the check of
// FIPS 203 (section 7.2) are refused.
func ParseHello(b []byte) (*Hello, error) {
	if len(b) < 1 || b[0] < 1 || b[0] > 8 {
		return nil, ErrMalformed
	}
	n := int(b[0])
	if len(b) != 1+n+3*KeySize+KEMKeySize+32+limitsSize {
		return nil, ErrMalformed
	}
	h := &Hello{Versions: bytes.Clone(b[1 : 1+n])}
	for i := 1; i < n; i++ {
		if h.Versions[i] <= h.Versions[i-1] {
			return nil, ErrMalformed
		}
	}
	b = b[1+n:]
	for _, k := range []**ecdh.PublicKey{&h.RS, &h.RE, &h.RA} {
		pub, err := ParsePublicKey(b[:KeySize])
		if err != nil {
			return nil, err
		}
		*k, b = pub, b[KeySize:]
	}
	ek, err := mlkem.NewEncapsulationKey768(b[:KEMKeySize])
	if err != nil {
		return nil, ErrMalformed
	}
	h.EK, b = ek, b[KEMKeySize:]
	copy(h.Nonce[:], b)
	b = b[32:]
	h.Limits = Limits{
		Epoch:   time.Duration(binary.BigEndian.Uint32(b)) * time.Second,
		MaxTTL:  binary.BigEndian.Uint16(b[4:]),
		Durable: b[6] == 1,
		Window:  b[7],
	}
	if h.Limits.Epoch == 0 || h.Limits.Epoch > MaxEpoch || b[6] > 1 || h.Limits.MaxTTL == 0 || h.Limits.Window == 0 {
		return nil, ErrMalformed
	}
	return h, nil
}

// Connect is the client's half of the link: from the relay's hello and the
// fingerprint in the relay's address it makes the answer (ClientHello bytes) and
// the link. It fails closed with ErrFingerprint when the relay's key is another.
// Whether the relay holds that key shows when its first frame opens.
func Connect(hello []byte, pin Fingerprint) (answer []byte, l *Link, h *Hello, err error) {
	h, err = ParseHello(hello)
	if err != nil {
		return nil, nil, nil, err
	}
	fp := FingerprintOf(h.RS)
	if subtle.ConstantTimeCompare(fp[:], pin[:]) != 1 {
		return nil, nil, nil, ErrFingerprint
	}
	if !bytes.Contains(h.Versions, []byte{Version}) {
		return nil, nil, nil, ErrVersion
	}
	ce, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, nil, err
	}
	de, err := ce.ECDH(h.RE)
	if err != nil {
		return nil, nil, nil, ErrLowOrder
	}
	ds, err := ce.ECDH(h.RS)
	if err != nil {
		return nil, nil, nil, ErrLowOrder
	}
	ss, ct := h.EK.Encapsulate()
	answer = append([]byte{Version}, ce.PublicKey().Bytes()...)
	answer = append(answer, ct...)
	c2s, s2c, sid := linkKeys(hello, answer, de, ds, ss)
	return answer, newLink(c2s, s2c, sid), h, nil
}

// Accept is the relay's half: hello is what it sent, rs and re the private keys
// of RS and RE, dk that of ekR, answer the client's ClientHello bytes.
func Accept(hello []byte, rs, re *ecdh.PrivateKey, dk *mlkem.DecapsulationKey768, answer []byte) (*Link, error) {
	if len(answer) != ClientHello {
		return nil, ErrMalformed
	}
	if answer[0] != Version {
		return nil, ErrVersion
	}
	ce, err := ParsePublicKey(answer[1 : 1+KeySize])
	if err != nil {
		return nil, err
	}
	de, err := re.ECDH(ce)
	if err != nil {
		return nil, ErrLowOrder
	}
	ds, err := rs.ECDH(ce)
	if err != nil {
		return nil, ErrLowOrder
	}
	ss, err := dk.Decapsulate(answer[1+KeySize:])
	if err != nil {
		return nil, ErrMalformed
	}
	c2s, s2c, sid := linkKeys(hello, answer, de, ds, ss)
	return newLink(s2c, c2s, sid), nil
}

// linkKeys is the link's key schedule (docs/protocol.md, Link).
func linkKeys(hello, answer, de, ds, ss []byte) (c2s, s2c, sid []byte) {
	salt := Hash("kin/1 link", hello, answer[:1], answer[1:1+KeySize], answer[1+KeySize:])
	prk := Extract(salt, de, ds, ss)
	okm := Expand(prk, "kin/1 link keys", 96)
	return okm[:32], okm[32:64], okm[64:]
}

// Link seals and opens frames. Sealing and opening may run in two goroutines;
// each alone is for one goroutine at a time.
type Link struct {
	SID [32]byte // names this link in proofs; both sides know it

	seal, open     cipher.AEAD
	sealed, opened uint64 // frames so far: the nonce counters
}

func newLink(send, receive, sid []byte) *Link {
	seal, err := chacha20poly1305.New(send)
	if err != nil {
		panic(err)
	}
	open, err := chacha20poly1305.New(receive)
	if err != nil {
		panic(err)
	}
	return &Link{SID: [32]byte(sid), seal: seal, open: open}
}

func nonce(counter uint64) (n [12]byte) {
	binary.BigEndian.PutUint64(n[4:], counter)
	return n
}

// Seal appends one sealed frame to dst: class1 ‖ ChaCha20-Poly1305(padded
// plaintext), the class as associated data, the nonce four zero bytes and a
// 64-bit counter of this direction's frames. The body is made of the parts.
func (l *Link) Seal(dst []byte, t Type, parts ...[]byte) []byte {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	class := classFor(n)
	start := len(dst) + 1
	dst = appendPlain(append(dst, class), class, t, n, parts)
	num := nonce(l.sealed)
	l.sealed++
	return l.seal.Seal(dst[:start], num[:], dst[start:], dst[start-1:start])
}

// Open opens one sealed frame in place: the class byte and the SealedSize(class)
// bytes behind it. The frame's body aliases sealed. ErrSeal and ErrMalformed end
// the link.
func (l *Link) Open(class byte, sealed []byte) (Frame, error) {
	if n, err := SealedSize(class); err != nil || len(sealed) != n {
		return Frame{}, ErrMalformed
	}
	num := nonce(l.opened)
	plain, err := l.open.Open(sealed[:0], num[:], sealed, []byte{class})
	if err != nil {
		return Frame{}, ErrSeal
	}
	l.opened++
	return parsePlain(class, plain)
}
