// Package ratchet turns an invite into a session of two people, and messages
// into envelopes that only the other one can open: the invite's bundle, the
// handshake, and a Double Ratchet with encrypted headers and ML-KEM-768 in every
// step. Everything follows docs/protocol.md, version 1: Invite bundle,
// Handshake, Ratchet, Envelope, and Checking an identity.
//
// The guest calls [Begin] with a bundle, the host [HostKeys.Accept] with what
// came; from then on both call [Session.Seal] and [Session.Open]. Nothing here
// does I/O or reads a clock. A [Session] never changes: every operation returns
// the next one, and the caller stores it before the network hears of it. If an
// operation fails, the old session is still the right one.
//
// Formats that cross the network are fixed by version 1 of the protocol. What
// [Session.Marshal] and [HostKeys.Marshal] return stays on one device and may
// change between releases; each begins with a version byte.
package ratchet

import "kin/protocol"

// Sizes that both sides share, in bytes (docs/protocol.md, Envelope). Each is
// the sum of its parts.
const (
	EnvelopeSize = protocol.EnvelopeSize          // 4,096
	MaxPlaintext = messageBody - bodyOverhead - 1 // 1,562: one byte of padding at least
	MaxFirst     = flightBody - bodyOverhead - 1  // 426: the same, in a first flight

	keySize   = protocol.KeySize
	kemSeed   = 64
	kemPublic = protocol.KEMKeySize
	kemCipher = protocol.KEMCipherSize
	nonceSize = 24
	sealed    = nonceSize + 16 // what nonce ‖ SB(…) adds
	anonymous = 32 + 16        // what the outer box adds

	innerSize    = EnvelopeSize - anonymous                    // 4,048
	tagSize      = sealed + 8 + 8                              // 56: seq ‖ echo
	headerSize   = keySize + kemPublic + kemCipher + 4 + 4 + 4 // 2,316: dh ‖ ek ‖ ct ‖ pn ‖ n ‖ version, flags
	encHdrSize   = sealed + headerSize                         // 2,356
	bodyOverhead = nonceSize + 32 + 16                         // 72: nonce ‖ commitment ‖ box tag
	cidSize      = sealed + keySize                            // 72
	flightSize   = keySize + kemCipher + cidSize               // 1,192: EKa ‖ ct ‖ cid
	messageBody  = innerSize - 1 - tagSize - encHdrSize        // 1,635
	flightBody   = innerSize - 1 - flightSize - encHdrSize     // 499
)

// The first byte inside the outer box.
const (
	typeFlight  = 1
	typeMessage = 2
)

// Limits (docs/protocol.md, Ratchet).
const (
	maxChain      = 60_000 // messages that a sender puts on one chain without an answer
	maxJump       = 65_536 // highest n and pn that a receiver follows
	maxSkipStep   = 512    // skipped keys kept from one jump, the newest
	maxSkipped    = 2_048  // skipped keys kept in a session
	maxOldChains  = 5      // old header keys that are tried
	skippedSecs   = 15 * 24 * 60 * 60
	headerVersion = 1
)
