package protocol

import (
	"crypto/ecdh"
	"crypto/subtle"

	"golang.org/x/crypto/nacl/box"
)

// Proof shows to the relay, and to nobody else, that a command comes from the
// holder of a queue's private key: a NaCl box over the command's hash, from that
// key to the connection's RA, under the command's own number as nonce. Either
// side could have made it, so it proves nothing to a third (docs/protocol.md,
// Proofs).
type Proof [ProofSize]byte

// ProofKey is the shared key of a queue's key and a connection's RA. Both sides
// compute it once for a queue and connection.
type ProofKey [32]byte

// NewProofKey agrees on the shared key: the client passes its queue's private
// key and RA, the relay RA's private key and the queue's key. ErrLowOrder if the
// peer's key is of low order.
func NewProofKey(own *ecdh.PrivateKey, peer *ecdh.PublicKey) (*ProofKey, error) {
	if _, err := own.ECDH(peer); err != nil {
		return nil, ErrLowOrder
	}
	var k ProofKey
	box.Precompute((*[32]byte)(&k), (*[32]byte)(peer.Bytes()), (*[32]byte)(own.Bytes()))
	return &k, nil
}

// Prove makes the proof of a command: signed is its SignedBytes.
func (k *ProofKey) Prove(sid [32]byte, corr Corr, signed []byte) Proof {
	var p Proof
	box.SealAfterPrecomputation(p[:0], Hash("kin/1 cmd", sid[:], corr[:], signed), (*[24]byte)(&corr), (*[32]byte)(k))
	return p
}

// Verify tells whether the proof is this command's.
func (k *ProofKey) Verify(p Proof, sid [32]byte, corr Corr, signed []byte) bool {
	var buf [32]byte
	got, ok := box.OpenAfterPrecomputation(buf[:0], p[:], (*[24]byte)(&corr), (*[32]byte)(k))
	return ok && subtle.ConstantTimeCompare(got, Hash("kin/1 cmd", sid[:], corr[:], signed)) == 1
}
