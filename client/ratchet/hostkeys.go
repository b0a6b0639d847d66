package ratchet

import (
	"crypto/ecdh"
	"crypto/mlkem"
	"crypto/rand"
	"errors"
	"fmt"

	"kin/protocol"
)

// HostKeys are the private keys behind one invite (docs/protocol.md, Invite
// bundle). All but the queue's key die at the join, at revocation, or 15 days
// after the invite's expiry.
type HostKeys struct {
	identity *ecdh.PrivateKey // IKb
	oneTime  *ecdh.PrivateKey // OPKb
	ratchet  *ecdh.PrivateKey // RKb
	queue    *ecdh.PrivateKey // QEb

	handshakeKEM *mlkem.DecapsulationKey768 // ek_hs
	ratchetKEM   *mlkem.DecapsulationKey768 // ek_r
}

const (
	hostKeysVersion = 1
	hostKeysSize    = 1 + 4*keySize + 2*kemSeed // 257
)

// NewHostKeys makes fresh keys, for one invite only.
func NewHostKeys() (*HostKeys, error) {
	b := make([]byte, hostKeysSize)
	rand.Read(b)
	b[0] = hostKeysVersion
	return ParseHostKeys(b)
}

// Marshal is version1 ‖ IKb ‖ OPKb ‖ RKb ‖ QEb ‖ seed of ek_hs ‖ seed of ek_r:
// 257 secret bytes.
func (k *HostKeys) Marshal() []byte {
	b := append(make([]byte, 0, hostKeysSize), hostKeysVersion)
	for _, private := range []*ecdh.PrivateKey{k.identity, k.oneTime, k.ratchet, k.queue} {
		b = append(b, private.Bytes()...)
	}
	b = append(b, k.handshakeKEM.Bytes()...)
	return append(b, k.ratchetKEM.Bytes()...)
}

// ParseHostKeys parses what Marshal made.
func ParseHostKeys(b []byte) (*HostKeys, error) {
	if len(b) != hostKeysSize || b[0] != hostKeysVersion {
		return nil, errors.New("ratchet: malformed host keys")
	}
	var k HostKeys
	var err error
	b = b[1:]
	for _, private := range []**ecdh.PrivateKey{&k.identity, &k.oneTime, &k.ratchet, &k.queue} {
		if *private, err = ecdh.X25519().NewPrivateKey(b[:keySize]); err != nil {
			return nil, fmt.Errorf("ratchet: host keys: %w", err)
		}
		b = b[keySize:]
	}
	for _, private := range []**mlkem.DecapsulationKey768{&k.handshakeKEM, &k.ratchetKEM} {
		if *private, err = mlkem.NewDecapsulationKey768(b[:kemSeed]); err != nil {
			return nil, fmt.Errorf("ratchet: host keys: %w", err)
		}
		b = b[kemSeed:]
	}
	return &k, nil
}

// QueueKey is QEb, the envelope key of the host's queue. It lives as long as the queue.
func (k *HostKeys) QueueKey() *ecdh.PrivateKey { return k.queue }

// Bundle makes the invite's bundle. The fingerprint is the relay's, the sender id
// that of the host's queue there; meta has at most 1,400 bytes and is the
// client's own matter. Two bundles of the same keys differ in 32 random bytes.
func (k *HostKeys) Bundle(fingerprint [16]byte, senderID [24]byte, meta []byte) (*Bundle, error) {
	if len(meta) > protocol.MaxMeta {
		return nil, fmt.Errorf("ratchet: meta of %d bytes, at most %d fit", len(meta), protocol.MaxMeta)
	}
	b := &Bundle{
		identity:     k.identity.PublicKey(),
		oneTime:      k.oneTime.PublicKey(),
		ratchet:      k.ratchet.PublicKey(),
		handshakeKEM: k.handshakeKEM.EncapsulationKey(),
		ratchetKEM:   k.ratchetKEM.EncapsulationKey(),
		queue:        k.queue.PublicKey(),
		fingerprint:  fingerprint,
		senderID:     senderID,
		meta:         append([]byte{}, meta...),
	}
	rand.Read(b.random[:])
	return b, nil
}
