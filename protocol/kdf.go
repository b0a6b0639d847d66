package protocol

import (
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
)

// LP joins items, each behind its length as a big-endian u32
// (docs/protocol.md, Conventions).
func LP(items ...[]byte) []byte {
	n := 0
	for _, it := range items {
		n += 4 + len(it)
	}
	out := make([]byte, 0, n)
	for _, it := range items {
		out = binary.BigEndian.AppendUint32(out, uint32(len(it)))
		out = append(out, it...)
	}
	return out
}

// Hash is SHA-256(LP(label, items…)), 32 bytes. It keeps nothing of the items.
func Hash(label string, items ...[]byte) []byte {
	n := 4 + len(label)
	for _, it := range items {
		n += 4 + len(it)
	}
	b := binary.BigEndian.AppendUint32(make([]byte, 0, n), uint32(len(label)))
	b = append(b, label...)
	for _, it := range items {
		b = binary.BigEndian.AppendUint32(b, uint32(len(it)))
		b = append(b, it...)
	}
	h := sha256.Sum256(b)
	clear(b)
	return h[:]
}

// Extract is HKDF-Extract with SHA-256 (RFC 5869, section 2.2): 32 bytes from a
// salt and the concatenation of the parts.
func Extract(salt []byte, parts ...[]byte) []byte {
	ikm := concat(parts...)
	defer clear(ikm)
	prk, err := hkdf.Extract(sha256.New, ikm, salt)
	if err != nil {
		panic("kin: hkdf: " + err.Error()) // only in FIPS-only mode with short keys
	}
	return prk
}

// Expand is HKDF-Expand with SHA-256 (RFC 5869, section 2.3): n bytes, at most 8,160.
// crypto/hkdf leaves copies of what it returns in memory; these are the only ones.
func Expand(prk []byte, info string, n int) []byte {
	if n > 255*sha256.Size {
		panic("kin: hkdf: too much is asked for")
	}
	m := hmac.New(sha256.New, prk)
	out := make([]byte, 0, (n+sha256.Size-1)/sha256.Size*sha256.Size)
	for i := byte(1); len(out) < n; i++ {
		m.Reset()
		m.Write(out[max(0, len(out)-sha256.Size):])
		m.Write([]byte(info))
		m.Write([]byte{i})
		out = m.Sum(out)
	}
	m.Reset()
	m.Write(zeros[:sha256.BlockSize-1]) // over the last block, which the hash keeps
	clear(out[n:])
	return out[:n:n]
}

// ErrLowOrder is returned for an X25519 public key with which every shared
// secret would be zero.
var ErrLowOrder = errors.New("protocol: low-order or malformed X25519 public key")

// probe is a fixed private key. What it agrees on is thrown away: the operation
// only shows whether a peer's key has a low order.
var probe = func() *ecdh.PrivateKey {
	k, err := ecdh.X25519().NewPrivateKey(Hash("kin/1 low-order probe"))
	if err != nil {
		panic(err)
	}
	return k
}()

// ParsePublicKey parses a peer's X25519 public key, 32 bytes. Every peer key in
// Kin passes here: NaCl box accepts low-order points, crypto/ecdh does not
// (docs/protocol.md, Conventions).
func ParsePublicKey(b []byte) (*ecdh.PublicKey, error) {
	pub, err := ecdh.X25519().NewPublicKey(b)
	if err != nil {
		return nil, ErrLowOrder
	}
	if _, err := probe.ECDH(pub); err != nil {
		return nil, ErrLowOrder
	}
	return pub, nil
}
