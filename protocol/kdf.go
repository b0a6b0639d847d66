package protocol

import (
	"crypto/ecdh"
	"crypto/hkdf"
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

// Hash is SHA-256(LP(label, items…)), 32 bytes.
func Hash(label string, items ...[]byte) []byte {
	h := sha256.Sum256(LP(append([][]byte{[]byte(label)}, items...)...))
	return h[:]
}

// Extract is HKDF-Extract with SHA-256 (RFC 5869, section 2.2): 32 bytes from a
// salt and the concatenation of the parts.
func Extract(salt []byte, parts ...[]byte) []byte {
	var ikm []byte
	for _, p := range parts {
		ikm = append(ikm, p...)
	}
	prk, err := hkdf.Extract(sha256.New, ikm, salt)
	if err != nil {
		panic("kin: hkdf: " + err.Error()) // only in FIPS-only mode with short keys
	}
	return prk
}

// Expand is HKDF-Expand with SHA-256 (RFC 5869, section 2.3): n bytes, at most 8,160.
func Expand(prk []byte, info string, n int) []byte {
	out, err := hkdf.Expand(sha256.New, prk, info, n)
	if err != nil {
		panic("kin: hkdf: " + err.Error())
	}
	return out
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
