package protocol

import (
	"crypto/ecdh"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"slices"
	"sync"
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
	whole := hashed.Get().(*[]byte)
	b := slices.Grow((*whole)[:0], n)
	b = binary.BigEndian.AppendUint32(b, uint32(len(label)))
	b = append(b, label...)
	for _, it := range items {
		b = binary.BigEndian.AppendUint32(b, uint32(len(it)))
		b = append(b, it...)
	}
	h := sha256.Sum256(b)
	clear(b)
	*whole = b
	hashed.Put(whole)
	return h[:]
}

// hashed are buffers for Hash, all zeros.
var hashed = sync.Pool{New: func() any { return new([]byte) }}

// Extract is HKDF-Extract with SHA-256 (RFC 5869, section 2.2): 32 bytes from a
// salt and the concatenation of the parts.
func Extract(salt []byte, parts ...[]byte) []byte { return appendMAC(nil, salt, parts...) }

// Expand is HKDF-Expand with SHA-256 (RFC 5869, section 2.3): n bytes, at most 8,160.
func Expand(prk []byte, info string, n int) []byte {
	if n > 255*sha256.Size {
		panic("kin: hkdf: too much is asked for")
	}
	out := make([]byte, 0, (n+sha256.Size-1)/sha256.Size*sha256.Size)
	for i := byte(1); len(out) < n; i++ {
		out = appendMAC(out, prk, out[max(0, len(out)-sha256.Size):], []byte(info), []byte{i})
	}
	clear(out[n:])
	return out[:n:n]
}

// appendMAC appends HMAC-SHA256(key, the concatenation of the parts). It is worked out
// here, for crypto/hmac and crypto/hkdf leave keys and what they were made from in
// memory, where nobody can overwrite them.
func appendMAC(dst, key []byte, parts ...[]byte) []byte {
	if len(key) > sha256.BlockSize {
		sum := sha256.Sum256(key)
		key = sum[:]
	}
	n := sha256.BlockSize
	for _, p := range parts {
		n += len(p)
	}
	inner, outer := make([]byte, sha256.BlockSize, n), make([]byte, sha256.BlockSize, sha256.BlockSize+sha256.Size)
	defer func() { clear(inner); clear(outer) }()
	copy(inner, key)
	copy(outer, key)
	for i := range sha256.BlockSize {
		inner[i] ^= 0x36
		outer[i] ^= 0x5c
	}
	for _, p := range parts {
		inner = append(inner, p...)
	}
	sum := sha256.Sum256(inner)
	outer = append(outer, sum[:]...)
	sum = sha256.Sum256(outer)
	return append(dst, sum[:]...)
}

// ErrLowOrder is returned for an X25519 public key with which every shared
// secret would be zero.
var ErrLowOrder = errors.New("protocol: low-order or malformed X25519 public key")

// lowOrder are all u-coordinates below 2²⁵⁵ with which every X25519 result is zero: of
// the points of orders 1, 2, 4 and 8 on the curve and its twist (Bernstein, "Curve25519:
// new Diffie-Hellman speed records", section 3, and cr.yp.to/ecdh.html).
var lowOrder = func() map[[KeySize]byte]bool {
	all := map[[KeySize]byte]bool{}
	for _, u := range []string{
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
		"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // p - 1
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // p, which is 0
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // p + 1, which is 1
	} {
		b, err := hex.DecodeString(u)
		if err != nil {
			panic(err)
		}
		all[[KeySize]byte(b)] = true
	}
	return all
}()

// ParsePublicKey parses a peer's X25519 public key, 32 bytes. Every peer key in
// Kin passes here: NaCl box accepts low-order points, crypto/ecdh does not
// (docs/protocol.md, Conventions).
func ParsePublicKey(b []byte) (*ecdh.PublicKey, error) {
	pub, err := ecdh.X25519().NewPublicKey(b)
	if err != nil {
		return nil, ErrLowOrder
	}
	u := [KeySize]byte(b)
	u[KeySize-1] &= 0x7f // X25519 ignores the top bit
	if lowOrder[u] {
		return nil, ErrLowOrder
	}
	return pub, nil
}
