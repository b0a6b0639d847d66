package ratchet

import (
	"bytes"
	"crypto/ecdh"
	"crypto/mlkem"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"kin/protocol"
)

// Bundle is what a guest needs to begin: the host's public keys, the queue that
// the guest writes to, and meta (docs/protocol.md, Invite bundle).
type Bundle struct {
	identity, oneTime, ratchet, queue *ecdh.PublicKey
	handshakeKEM, ratchetKEM          *mlkem.EncapsulationKey768

	fingerprint [16]byte
	senderID    [24]byte
	meta        []byte
	random      [32]byte
}

// Sizes of an invite's bundle, in bytes.
const (
	BundleSize = 4056                // B and its padding
	BlobSize   = BundleSize + sealed // 4,096: what the relay holds
)

const bundleLabel = "kin/1 bundle"

// Fingerprint is the first 16 bytes of the hash of the relay's static key. The
// guest compares it with the invite's.
func (b *Bundle) Fingerprint() [16]byte { return b.fingerprint }

// SenderID is the sender id of the host's queue on that relay.
func (b *Bundle) SenderID() [24]byte { return b.senderID }

// QueueKey is QEb, the envelope key of the host's queue: what [Session.Seal] takes.
func (b *Bundle) QueueKey() []byte { return b.queue.Bytes() }

// Meta is what the host added, at most 1,400 bytes. The caller must not change it.
func (b *Bundle) Meta() []byte { return b.meta }

// encode is B, without its padding.
func (b *Bundle) encode() []byte {
	return protocol.LP([]byte(bundleLabel),
		b.identity.Bytes(), b.oneTime.Bytes(), b.ratchet.Bytes(),
		b.handshakeKEM.Bytes(), b.ratchetKEM.Bytes(), b.queue.Bytes(),
		append(b.fingerprint[:], b.senderID[:]...), b.meta, b.random[:])
}

// Hash is h, SHA-256 of B: what the invite carries and everything is checked against.
func (b *Bundle) Hash() [32]byte { return sha256.Sum256(b.encode()) }

// Marshal is B padded with zeros, 4,056 bytes.
func (b *Bundle) Marshal() []byte {
	padded := make([]byte, BundleSize)
	copy(padded, b.encode())
	return padded
}

// ParseBundle parses what Marshal made, and checks every key in it. It fails
// with [ErrBundle].
func ParseBundle(padded []byte) (*Bundle, error) {
	if len(padded) != BundleSize {
		return nil, fmt.Errorf("%w: %d bytes", ErrBundle, len(padded))
	}
	fields, rest, ok := cutFields(padded,
		len(bundleLabel), keySize, keySize, keySize, kemPublic, kemPublic, keySize, 16+24, -protocol.MaxMeta, 32)
	if !ok || string(fields[0]) != bundleLabel {
		return nil, fmt.Errorf("%w: its fields", ErrBundle)
	}
	if !allZero(rest) {
		return nil, fmt.Errorf("%w: its padding", ErrBundle)
	}
	b := &Bundle{
		fingerprint: [16]byte(fields[7]), senderID: [24]byte(fields[7][16:]),
		meta: bytes.Clone(fields[8]), random: [32]byte(fields[9]),
	}
	var errs [6]error
	b.identity, errs[0] = protocol.ParsePublicKey(fields[1])
	b.oneTime, errs[1] = protocol.ParsePublicKey(fields[2])
	b.ratchet, errs[2] = protocol.ParsePublicKey(fields[3])
	b.handshakeKEM, errs[3] = mlkem.NewEncapsulationKey768(fields[4])
	b.ratchetKEM, errs[4] = mlkem.NewEncapsulationKey768(fields[5])
	b.queue, errs[5] = protocol.ParsePublicKey(fields[6])
	if errors.Join(errs[:]...) != nil {
		return nil, fmt.Errorf("%w: %w", ErrBundle, ErrKey)
	}
	return b, nil
}

// cutFields reads LP items of exactly these sizes; a negative size is a most.
func cutFields(b []byte, sizes ...int) (fields [][]byte, rest []byte, ok bool) {
	for _, size := range sizes {
		if len(b) < 4 {
			return nil, nil, false
		}
		n := binary.BigEndian.Uint32(b)
		b = b[4:]
		if size >= 0 && n != uint32(size) || size < 0 && n > uint32(-size) || uint64(n) > uint64(len(b)) {
			return nil, nil, false
		}
		fields = append(fields, b[:n])
		b = b[n:]
	}
	return fields, b, true
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// InviteSecrets are what follows from h: where the blob lies, what it is sealed
// under, and what lets the first sender register.
type InviteSecrets struct {
	Location   [24]byte
	Key, Claim [32]byte
}

// DeriveInvite derives an invite's secrets from h.
func DeriveInvite(h [32]byte) InviteSecrets {
	prk := protocol.Extract([]byte("kin/1 invite"), h[:])
	return InviteSecrets{
		Location: [24]byte(protocol.Expand(prk, "kin/1 invite location", 24)),
		Key:      [32]byte(protocol.Expand(prk, "kin/1 invite key", 32)),
		Claim:    [32]byte(protocol.Expand(prk, "kin/1 invite claim", 32)),
	}
}

// SealBundle makes the blob that the relay holds, 4,096 bytes.
func SealBundle(b *Bundle) []byte {
	k := DeriveInvite(b.Hash()).Key
	return seal(&k, b.Marshal())
}

// OpenBundle opens a blob that was fetched for h, and checks that it is the
// bundle that h names. It fails with [ErrBundle].
func OpenBundle(h [32]byte, blob []byte) (*Bundle, error) {
	k := DeriveInvite(h).Key
	if len(blob) != BlobSize {
		return nil, fmt.Errorf("%w: a blob of %d bytes", ErrBundle, len(blob))
	}
	padded, ok := unseal(&k, blob)
	if !ok {
		return nil, fmt.Errorf("%w: the blob does not open", ErrBundle)
	}
	b, err := ParseBundle(padded)
	if err != nil {
		return nil, err
	}
	if b.Hash() != h {
		return nil, fmt.Errorf("%w: another hash", ErrBundle)
	}
	return b, nil
}
