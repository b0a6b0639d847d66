package ratchet

import (
	"crypto/ecdh"
	"crypto/rand"
	"crypto/subtle"

	"golang.org/x/crypto/nacl/box"
	"golang.org/x/crypto/nacl/secretbox"

	"kin/protocol"
)

// key is a symmetric key, or a 32-byte value that keys are made of.
type key = [keySize]byte

func newNonce() (n [nonceSize]byte) {
	rand.Read(n[:]) // never fails: it stops the program instead
	return n
}

// seal returns nonce ‖ SB(k, plain).
func seal(k *key, plain []byte) []byte {
	nonce := newNonce()
	return secretbox.Seal(nonce[:], plain, &nonce, k)
}

// unseal opens what seal made.
func unseal(k *key, b []byte) (plain []byte, ok bool) {
	if len(b) < sealed {
		return nil, false
	}
	return secretbox.Open(nil, b[nonceSize:], (*[nonceSize]byte)(b), k)
}

// sealOuter puts inner into the outer box for a queue's envelope key.
func sealOuter(qe *ecdh.PublicKey, inner []byte) ([]byte, error) {
	return box.SealAnonymous(nil, inner, (*key)(qe.Bytes()), rand.Reader)
}

// openOuter opens the outer box: innerSize bytes, the first of which is the type.
func openOuter(qe *ecdh.PrivateKey, envelope []byte) (inner []byte, err error) {
	if len(envelope) != EnvelopeSize {
		return nil, ErrEnvelope
	}
	// The box itself would take a low-order key, with which anybody can open it.
	if _, err := protocol.ParsePublicKey(envelope[:keySize]); err != nil {
		return nil, ErrEnvelope
	}
	inner, ok := box.OpenAnonymous(nil, envelope, (*key)(qe.PublicKey().Bytes()), (*key)(qe.Bytes()))
	if !ok {
		return nil, ErrEnvelope
	}
	return inner, nil
}

// bodyKeys are k and com of one message. ad and encHdr are bound here, because a
// box binds neither.
func bodyKeys(mk *key, ad *key, encHdr []byte) (k, com key) {
	bound := lpHash(ad[:], encHdr)
	out := protocol.Expand(mk[:], "kin/1 msg"+string(bound[:]), 64)
	return key(out[:32]), key(out[32:])
}

// sealBody returns nonce ‖ com ‖ box(padded) in size bytes.
func sealBody(mk, ad *key, encHdr, plaintext []byte, size int) (body []byte, com key) {
	k, com := bodyKeys(mk, ad, encHdr)
	nonce := newNonce()
	body = append(nonce[:], com[:]...)
	return box.SealAfterPrecomputation(body, pad(plaintext, size-bodyOverhead), &nonce, &k), com
}

// openBody compares the commitment before it opens the box.
func openBody(mk, ad *key, encHdr, body []byte) (plaintext []byte, com key, err error) {
	k, com := bodyKeys(mk, ad, encHdr)
	if subtle.ConstantTimeCompare(com[:], body[nonceSize:nonceSize+32]) != 1 {
		return nil, key{}, ErrCommitment
	}
	padded, ok := box.OpenAfterPrecomputation(nil, body[nonceSize+32:], (*[nonceSize]byte)(body), &k)
	if !ok {
		return nil, key{}, ErrBody
	}
	plaintext, ok = unpad(padded)
	if !ok {
		return nil, key{}, ErrPadding
	}
	return plaintext, com, nil
}

// pad appends 0x80 and zeros up to size. There is one padded form of every plaintext.
func pad(plaintext []byte, size int) []byte {
	padded := make([]byte, size)
	padded[copy(padded, plaintext)] = 0x80
	return padded
}

// unpad removes what pad added.
func unpad(padded []byte) (plaintext []byte, ok bool) {
	i := len(padded) - 1
	for i >= 0 && padded[i] == 0 {
		i--
	}
	if i < 0 || padded[i] != 0x80 {
		return nil, false
	}
	return padded[:i:i], true
}
