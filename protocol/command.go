package protocol

import (
	"encoding/binary"
)

// ID is a queue's receiver or sender id, an invite's location, a ticket or a
// grant: 24 bytes. Whoever knows one can use it; it is never logged.
type ID [IDSize]byte

// MessageID makes a PUT idempotent: 16 random bytes, other ones for each queue.
type MessageID [MessageIDSize]byte

// Corr numbers a command: 16 random bytes, then a big-endian u64 that strictly
// increases on a link. It is the nonce of the command's proofs.
type Corr [CorrSize]byte

// Number is the part that increases; answers name it.
func (c Corr) Number() uint64 { return binary.BigEndian.Uint64(c[16:]) }

// Command is a frame from client to relay.
type Command interface {
	// Type is the frame's type.
	Type() Type
	// SignedBytes is what the command's proofs cover: its type and its fields
	// without number, proofs and envelope.
	SignedBytes() []byte
	// Body is the frame's body.
	Body() []byte
}

// Issue asks for tickets: it inserts hashes of tickets that the client made, at
// most MaxIssue, and charges the grant for those that were not there.
type Issue struct {
	Corr   Corr
	Grant  ID
	Hashes [][32]byte // H(LP("kin/1 ticket", ticket))
}

// New makes a queue with a ticket. The answer is IDs; the same ticket and key get
// the same answer again.
type New struct {
	Corr   Corr
	Ticket ID
	Key    [KeySize]byte // the receiver's key; the proof is under it
	Proof  Proof
}

// Offer sets what a first sender must show, and an invite's blob if there is one.
type Offer struct {
	Corr      Corr
	Receiver  ID
	ClaimHash [32]byte // H(LP("kin/1 claim", claim))
	TTL       uint32   // epochs that the invite lives; 0 without a blob: as long as the queue
	Location  ID       // where the blob can be fetched; zero without a blob
	Proof     Proof
	Blob      []byte // EnvelopeSize bytes, or none
}

// Del deletes a queue, what waits in it and its invite.
type Del struct {
	Corr     Corr
	Receiver ID
	Proof    Proof
}

// Fetch reads an invite's blob. It consumes nothing; the relay counts.
type Fetch struct {
	Corr     Corr
	Location ID
}

// Put appends an envelope to a queue whose sender key is known.
type Put struct {
	Corr     Corr
	Sender   ID
	Message  MessageID
	Class    uint8 // index into TTLClasses
	Flags    uint8
	Proof    Proof
	Envelope []byte // EnvelopeSize
}

// First is a queue's first PUT: it shows the claim and registers the sender's key.
type First struct {
	Corr     Corr
	Sender   ID
	Claim    [32]byte
	Key      [KeySize]byte // the sender's key; the proof is under it
	Message  MessageID
	Class    uint8
	Flags    uint8
	Proof    Proof
	Envelope []byte
}

// Cancel erases an envelope that was put and not collected. The answer is the
// same whether it was there or not.
type Cancel struct {
	Corr    Corr
	Sender  ID
	Message MessageID
	Proof   Proof
}

// Sub subscribes to queues, 1 to MaxSub, with a proof under each one's key.
type Sub struct {
	Corr   Corr
	Queues []ID
	Proofs []Proof
}

// Unsub ends a subscription.
type Unsub struct {
	Corr   Corr
	Handle uint16
}

// Ack erases collected envelopes, 1 to MaxAck, of a subscription. It has no
// number and no answer: the websocket's close handshake shows that it was done.
type Ack struct {
	Handle    uint16
	Sequences []uint64
}

func (*Issue) Type() Type  { return TypeIssue }
func (*New) Type() Type    { return TypeNew }
func (*Offer) Type() Type  { return TypeOffer }
func (*Del) Type() Type    { return TypeDel }
func (*Fetch) Type() Type  { return TypeFetch }
func (*Put) Type() Type    { return TypePut }
func (*First) Type() Type  { return TypeFirst }
func (*Cancel) Type() Type { return TypeCancel }
func (*Sub) Type() Type    { return TypeSub }
func (*Unsub) Type() Type  { return TypeUnsub }
func (*Ack) Type() Type    { return TypeAck }

func concat(parts ...[]byte) []byte {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	out := make([]byte, 0, n)
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

func u16(v uint16) []byte { return binary.BigEndian.AppendUint16(nil, v) }
func u32(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }
func u64(v uint64) []byte { return binary.BigEndian.AppendUint64(nil, v) }

// SignedBytes of each command: its type and fields.
func (c *Issue) SignedBytes() []byte {
	b := concat([]byte{byte(TypeIssue)}, c.Grant[:], []byte{byte(len(c.Hashes))})
	for _, h := range c.Hashes {
		b = append(b, h[:]...)
	}
	return b
}
func (c *New) SignedBytes() []byte {
	return concat([]byte{byte(TypeNew)}, c.Ticket[:], c.Key[:])
}
func (c *Offer) SignedBytes() []byte {
	return concat([]byte{byte(TypeOffer)}, c.Receiver[:], c.ClaimHash[:], u32(c.TTL), c.Location[:])
}
func (c *Del) SignedBytes() []byte { return concat([]byte{byte(TypeDel)}, c.Receiver[:]) }
func (c *Fetch) SignedBytes() []byte {
	return concat([]byte{byte(TypeFetch)}, c.Location[:])
}
func (c *Put) SignedBytes() []byte {
	return concat([]byte{byte(TypePut)}, c.Sender[:], c.Message[:], []byte{c.Class, c.Flags})
}
func (c *First) SignedBytes() []byte {
	return concat([]byte{byte(TypeFirst)}, c.Sender[:], c.Claim[:], c.Key[:], c.Message[:], []byte{c.Class, c.Flags})
}
func (c *Cancel) SignedBytes() []byte {
	return concat([]byte{byte(TypeCancel)}, c.Sender[:], c.Message[:])
}
func (c *Sub) SignedBytes() []byte {
	b := append(make([]byte, 0, 2+len(c.Queues)*IDSize), byte(TypeSub), byte(len(c.Queues)))
	for _, q := range c.Queues {
		b = append(b, q[:]...)
	}
	return b
}
func (c *Unsub) SignedBytes() []byte {
	return concat([]byte{byte(TypeUnsub)}, u16(c.Handle))
}
func (c *Ack) SignedBytes() []byte {
	b := concat([]byte{byte(TypeAck)}, u16(c.Handle), u16(uint16(len(c.Sequences))))
	for _, s := range c.Sequences {
		b = binary.BigEndian.AppendUint64(b, s)
	}
	return b
}

// Body of each command: number, fields, proofs, envelope.
func (c *Issue) Body() []byte  { return concat(c.Corr[:], c.SignedBytes()[1:]) }
func (c *New) Body() []byte    { return concat(c.Corr[:], c.SignedBytes()[1:], c.Proof[:]) }
func (c *Offer) Body() []byte  { return concat(c.Corr[:], c.SignedBytes()[1:], c.Proof[:], c.Blob) }
func (c *Del) Body() []byte    { return concat(c.Corr[:], c.SignedBytes()[1:], c.Proof[:]) }
func (c *Fetch) Body() []byte  { return concat(c.Corr[:], c.SignedBytes()[1:]) }
func (c *Put) Body() []byte    { return concat(c.Corr[:], c.SignedBytes()[1:], c.Proof[:], c.Envelope) }
func (c *First) Body() []byte  { return concat(c.Corr[:], c.SignedBytes()[1:], c.Proof[:], c.Envelope) }
func (c *Cancel) Body() []byte { return concat(c.Corr[:], c.SignedBytes()[1:], c.Proof[:]) }
func (c *Sub) Body() []byte {
	b := concat(c.Corr[:], c.SignedBytes()[1:])
	for _, p := range c.Proofs {
		b = append(b, p[:]...)
	}
	return b
}
func (c *Unsub) Body() []byte { return concat(c.Corr[:], c.SignedBytes()[1:]) }
func (c *Ack) Body() []byte   { return c.SignedBytes()[1:] }

// ErrUnknownType is returned with the command's number for a type that this
// version doesn't know; the relay answers CodeNotBuilt.
type ErrUnknownType struct{ Corr Corr }

func (ErrUnknownType) Error() string { return "protocol: unknown command" }

// ParseCommand reads a frame from a client. Envelopes and blobs alias the frame.
func ParseCommand(f Frame) (Command, error) {
	r := &reader{b: f.Body}
	if f.Type == TypeAck {
		c := &Ack{Handle: r.u16()}
		n := int(r.u16())
		if n < 1 || n > MaxAck || len(r.b) != 8*n {
			return nil, ErrMalformed
		}
		c.Sequences = make([]uint64, n)
		for i := range c.Sequences {
			c.Sequences[i] = r.u64()
		}
		return c, nil
	}
	corr := Corr(r.take(CorrSize))
	var cmd Command
	switch f.Type {
	case TypeIssue:
		c := &Issue{Corr: corr, Grant: ID(r.take(IDSize))}
		n := int(r.u8())
		if r.err != nil || n < 1 || n > MaxIssue || len(r.b) != 32*n {
			return nil, ErrMalformed
		}
		c.Hashes = make([][32]byte, n)
		for i := range c.Hashes {
			c.Hashes[i] = [32]byte(r.take(32))
		}
		cmd = c
	case TypeNew:
		cmd = &New{Corr: corr, Ticket: ID(r.take(IDSize)), Key: [32]byte(r.take(KeySize)), Proof: Proof(r.take(ProofSize))}
	case TypeOffer:
		c := &Offer{Corr: corr, Receiver: ID(r.take(IDSize)), ClaimHash: [32]byte(r.take(32)),
			TTL: r.u32(), Location: ID(r.take(IDSize)), Proof: Proof(r.take(ProofSize))}
		if len(r.b) != 0 {
			c.Blob = r.take(EnvelopeSize)
		}
		if none := c.Blob == nil; none != (c.TTL == 0) || none != (c.Location == ID{}) {
			return nil, ErrMalformed
		}
		cmd = c
	case TypeDel:
		cmd = &Del{Corr: corr, Receiver: ID(r.take(IDSize)), Proof: Proof(r.take(ProofSize))}
	case TypeFetch:
		cmd = &Fetch{Corr: corr, Location: ID(r.take(IDSize))}
	case TypePut:
		cmd = &Put{Corr: corr, Sender: ID(r.take(IDSize)), Message: MessageID(r.take(MessageIDSize)),
			Class: r.u8(), Flags: r.u8(), Proof: Proof(r.take(ProofSize)), Envelope: r.take(EnvelopeSize)}
	case TypeFirst:
		cmd = &First{Corr: corr, Sender: ID(r.take(IDSize)), Claim: [32]byte(r.take(32)), Key: [32]byte(r.take(KeySize)),
			Message: MessageID(r.take(MessageIDSize)), Class: r.u8(), Flags: r.u8(), Proof: Proof(r.take(ProofSize)),
			Envelope: r.take(EnvelopeSize)}
	case TypeCancel:
		cmd = &Cancel{Corr: corr, Sender: ID(r.take(IDSize)), Message: MessageID(r.take(MessageIDSize)), Proof: Proof(r.take(ProofSize))}
	case TypeSub:
		c := &Sub{Corr: corr}
		n := int(r.u8())
		if r.err != nil || n < 1 || n > MaxSub || len(r.b) != n*(IDSize+ProofSize) {
			return nil, ErrMalformed
		}
		c.Queues, c.Proofs = make([]ID, n), make([]Proof, n)
		for i := range c.Queues {
			c.Queues[i] = ID(r.take(IDSize))
		}
		for i := range c.Proofs {
			c.Proofs[i] = Proof(r.take(ProofSize))
		}
		cmd = c
	case TypeUnsub:
		cmd = &Unsub{Corr: corr, Handle: r.u16()}
	default:
		if r.err != nil {
			return nil, ErrMalformed
		}
		return nil, ErrUnknownType{corr}
	}
	if r.end() != nil {
		return nil, ErrMalformed
	}
	return cmd, nil
}

// TicketHash is what ISSUE inserts for a ticket.
func TicketHash(t ID) [32]byte { return [32]byte(Hash("kin/1 ticket", t[:])) }

// ClaimHash is what OFFER sets for a claim.
func ClaimHash(claim [32]byte) [32]byte { return [32]byte(Hash("kin/1 claim", claim[:])) }
