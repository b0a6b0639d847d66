package protocol

// Sizes in bytes (docs/protocol.md, Sizes). These are the protocol's: to change
// one is a new version.
const (
	Version = 1

	KeySize         = 32   // an X25519 key, a claim, a hash
	KEMKeySize      = 1184 // an ML-KEM-768 encapsulation key
	KEMCipherSize   = 1088 // an ML-KEM-768 ciphertext
	FingerprintSize = 16   // the first bytes of H(RS)
	IDSize          = 24   // a queue's receiver or sender id, a location, a ticket, a grant
	MessageIDSize   = 16   // a PUT's idempotency key
	CorrSize        = 24   // a command's number: 16 random bytes, then a u64 that increases
	ProofSize       = 48   // a box over a 32-byte hash
	EnvelopeSize    = 4096 // a sealed message, and an invite's blob
	ChunkSize       = 65536

	frameHeader  = 1 + 4              // type, length of the body
	SmallFrame   = 256                // plaintext of a frame of class 0
	MessageFrame = EnvelopeSize + 256 // of class 1
	ChunkFrame   = ChunkSize + 256    // of class 2
	sealOverhead = 1 + 16             // class, Poly1305 tag
	HelloMax     = 1 + 8 + 3*KeySize + KEMKeySize + 32 + limitsSize
	ClientHello  = 1 + KeySize + KEMCipherSize

	limitsSize = 4 + 2 + 1 + 1

	// MaxWireMessage is the largest websocket message that either side may send:
	// one chunk frame, or several smaller frames.
	MaxWireMessage = ChunkFrame + sealOverhead

	MaxIssue = 16  // tickets in one ISSUE
	MaxSub   = 40  // queues in one SUB
	MaxAck   = 256 // sequences in one ACK
	Window   = 16  // MSGs of a subscription that may be unacknowledged

	MaxFetches    = 16 // times that an invite's blob may be fetched
	MaxMeta       = 1400
	MaxHosts      = 4
	MaxHostLength = 64

	// Subprotocol is the websocket subprotocol of version 1.
	Subprotocol = "kin.v1"
)

// TTLClasses are the lives that a PUT may ask for, in epochs; an epoch's length
// stands in the relay's hello (docs/protocol.md, Queues).
var TTLClasses = [...]uint16{1, 6, 24, 72, 168, 336}

// FlagUrgent marks an envelope that may use the urgent reserve. The relay sees it.
const FlagUrgent = 1

// HeardModulus is what Heard counts to.
const HeardModulus = 128

// Heard are the other flags of a PUT and a FIRST: to how many of them a client has read a
// "wait" answer on the connection, modulo HeardModulus (docs/protocol.md, Error codes).
func Heard(flags uint8) uint8 { return flags >> 1 }

// FlagsOf makes flags of both.
func FlagsOf(urgent bool, heard uint8) uint8 {
	if urgent {
		return heard<<1 | FlagUrgent
	}
	return heard << 1
}
