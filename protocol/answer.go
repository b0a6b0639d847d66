package protocol

// Answer is a frame from relay to client.
type Answer interface {
	// Type is the frame's type.
	Type() Type
	// Body is the frame's body.
	Body() []byte
}

// InviteState is what the relay says of the invite that was offered on a queue.
// It is the relay's word and shown as such.
type InviteState uint8

// The states of an invite.
const (
	InviteNone InviteState = iota // no claim was set, or a reply queue
	InviteOpen
	InviteUsed
	InviteExpired
	InviteRevoked
)

// OK answers a command that was done; a PUT or FIRST only once it is durable.
type OK struct{ Corr uint64 }

// Error answers a command that was refused.
type Error struct {
	Corr uint64
	Code Code
	Wait uint32 // seconds; 0 where waiting does not help
}

// Issued answers ISSUE with what is left on the grant.
type Issued struct {
	Corr      uint64
	Remaining uint32
}

// IDs answers NEW.
type IDs struct {
	Corr             uint64
	Receiver, Sender ID
}

// Blob answers FETCH.
type Blob struct {
	Corr   uint64
	Expiry uint64 // Unix seconds, the end of an epoch
	Blob   []byte // EnvelopeSize
}

// Subscription is one queue's part of Subbed.
type Subscription struct {
	Code    Code // CodeOK, or why there is no subscription
	Handle  uint16
	Waiting uint32
	Invite  InviteState
	Fetches uint8 // of the invite's blob
	Tries   uint8 // of its claim by another key, 255 at most
}

// Subbed answers SUB, in its order.
type Subbed struct {
	Corr   uint64
	Queues []Subscription
}

// Msg delivers an envelope of a subscribed queue. The window counts those not
// acknowledged; the same one may come again on another connection.
type Msg struct {
	Handle   uint16
	Sequence uint64
	Flags    uint8
	Envelope []byte // EnvelopeSize
}

// Tried tells a subscriber that its invite's state changed.
type Tried struct {
	Handle  uint16
	Invite  InviteState
	Fetches uint8
	Tries   uint8
}

func (*OK) Type() Type     { return TypeOK }
func (*Error) Type() Type  { return TypeError }
func (*Issued) Type() Type { return TypeIssued }
func (*IDs) Type() Type    { return TypeIDs }
func (*Blob) Type() Type   { return TypeBlob }
func (*Subbed) Type() Type { return TypeSubbed }
func (*Msg) Type() Type    { return TypeMsg }
func (*Tried) Type() Type  { return TypeTried }

// Body of each answer.
func (a *OK) Body() []byte     { return u64(a.Corr) }
func (a *Error) Body() []byte  { return concat(u64(a.Corr), u16(uint16(a.Code)), u32(a.Wait)) }
func (a *Issued) Body() []byte { return concat(u64(a.Corr), u32(a.Remaining)) }
func (a *IDs) Body() []byte    { return concat(u64(a.Corr), a.Receiver[:], a.Sender[:]) }
func (a *Blob) Body() []byte   { return concat(u64(a.Corr), u64(a.Expiry), a.Blob) }
func (a *Subbed) Body() []byte {
	b := append(u64(a.Corr), byte(len(a.Queues)))
	for _, s := range a.Queues {
		b = append(b, concat(u16(uint16(s.Code)), u16(s.Handle), u32(s.Waiting), []byte{byte(s.Invite), s.Fetches, s.Tries})...)
	}
	return b
}
func (a *Msg) Body() []byte { return append(a.Head(), a.Envelope...) }

// Head is Msg's body without the envelope, for a writer that seals both parts
// into one buffer.
func (a *Msg) Head() []byte { return concat(u16(a.Handle), u64(a.Sequence), []byte{a.Flags}) }
func (a *Tried) Body() []byte {
	return concat(u16(a.Handle), []byte{byte(a.Invite), a.Fetches, a.Tries})
}

func (r *reader) invite() InviteState {
	s := InviteState(r.u8())
	if s > InviteRevoked {
		r.err = ErrMalformed
	}
	return s
}

// ParseAnswer reads a frame from a relay: nil without an error for a type that
// this version does not know. Envelopes and blobs alias the frame.
func ParseAnswer(f Frame) (Answer, error) {
	r := &reader{b: f.Body}
	var a Answer
	switch f.Type {
	case TypeOK:
		a = &OK{r.u64()}
	case TypeError:
		a = &Error{r.u64(), Code(r.u16()), r.u32()}
	case TypeIssued:
		a = &Issued{r.u64(), r.u32()}
	case TypeIDs:
		a = &IDs{r.u64(), ID(r.take(IDSize)), ID(r.take(IDSize))}
	case TypeBlob:
		a = &Blob{r.u64(), r.u64(), r.take(EnvelopeSize)}
	case TypeSubbed:
		s := &Subbed{Corr: r.u64()}
		n := int(r.u8())
		if r.err != nil || n < 1 || n > MaxSub || len(r.b) != 11*n {
			return nil, ErrMalformed
		}
		s.Queues = make([]Subscription, n)
		for i := range s.Queues {
			s.Queues[i] = Subscription{Code(r.u16()), r.u16(), r.u32(), r.invite(), r.u8(), r.u8()}
		}
		a = s
	case TypeMsg:
		a = &Msg{r.u16(), r.u64(), r.u8(), r.take(EnvelopeSize)}
	case TypeTried:
		a = &Tried{r.u16(), r.invite(), r.u8(), r.u8()}
	default:
		return nil, nil
	}
	if r.end() != nil {
		return nil, ErrMalformed
	}
	return a, nil
}
