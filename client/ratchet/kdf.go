package ratchet

import (
	"crypto/hmac"
	"crypto/sha256"

	"kin/protocol"
)

// lpHash is SHA-256(LP(items…)), without a label: its results only go into an
// Expand info, behind that info's label.
func lpHash(items ...[]byte) [32]byte {
	return sha256.Sum256(protocol.LP(items...))
}

// split cuts b into keys.
func split(b []byte) []key {
	keys := make([]key, len(b)/keySize)
	for i := range keys {
		keys[i] = key(b[i*keySize:])
	}
	return keys
}

// kdfRoot is KDF_RK: the root key, chain key and next header key that follow a
// DH and a KEM secret. turn names the five public values of the step.
func kdfRoot(root *key, dh, ss []byte, turn turn) (rk, ck, nhk key) {
	bound := turn.hash()
	out := split(protocol.Expand(protocol.Extract(root[:], dh, ss), "kin/1 rk"+string(bound[:]), 96))
	return out[0], out[1], out[2]
}

// turn is what one half of a ratchet step shows: who sends with which keys, to which.
type turn struct {
	sender, receiver []byte // dh, 32 each
	to, ct, sent     []byte // ek encapsulated to, the ciphertext, ek sent along
}

func (t turn) hash() [32]byte { return lpHash(t.sender, t.receiver, t.to, t.ct, t.sent) }

// messageKey is the key of the message that a chain key stands for.
func messageKey(ck *key) key { return chainHMAC(ck, 1) }

// nextChainKey is the chain key behind that message.
func nextChainKey(ck *key) key { return chainHMAC(ck, 2) }

func chainHMAC(ck *key, b byte) (out key) {
	mac := hmac.New(sha256.New, ck[:])
	mac.Write([]byte{b})
	mac.Sum(out[:0])
	return out
}
