package client

import (
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/google/uuid"

	"kin/protocol"
)

// The vault's tables. Records are JSON unless said otherwise.
const (
	tableSelf       = "self"       // one record, id "self"
	tableContact    = "contact"    // contact's id
	tableRatchet    = "ratchet"    // session's id: ratchet.Session, under rotating keys
	tableHostKeys   = "hostkeys"   // invite's id: ratchet.HostKeys, under rotating keys
	tableMessage    = "message"    // contact's id ‖ direction1 ‖ uuid16, under the keys of retention days
	tableOutbox     = "outbox"     // the PUT's message id
	tableSent       = "sent"       // session's id ‖ seq8: sentRecord, under the keys of retention days
	tableSeen       = "seen"       // session's id ‖ (seq mod 2,048)2: seq8 ‖ H(envelope)16 ‖ commitment16
	tableHeld       = "held"       // invite's id ‖ n1: an envelope that came before its flight
	tableQuarantine = "quarantine" // contact's id ‖ n1: an envelope that could not be opened
	tableDel        = "del"        // receiver id: a queue that the relay is yet to delete
)

// seenWindow is how many envelopes back a duplicate can be told from a loss.
const seenWindow = 2048

type id [16]byte

func newID() (i id) {
	rand.Read(i[:])
	return i
}

func newKey() (k [32]byte) {
	rand.Read(k[:])
	return k
}

// privateKey parses an X25519 private key that this profile stored.
func privateKey(b [32]byte) *ecdh.PrivateKey {
	k, err := ecdh.X25519().NewPrivateKey(b[:])
	if err != nil {
		panic(err) // any 32 bytes are a key
	}
	return k
}

// self is what a profile is by itself.
type self struct {
	Name    string
	Relay   *protocol.Address `json:",omitempty"` // a caseworker's
	Grant   protocol.ID
	Tickets []protocol.ID `json:",omitempty"` // issued at init, for the first invite
}

// contact is the other person.
type contact struct {
	ID           id
	Label        string
	Calls        string // calls themself
	Checked      bool
	MustAccept   bool
	Session      *session   `json:",omitempty"`
	Old          []*session `json:",omitempty"` // replaced: read until done with, then deleted at the relay; left alone if stopped
	Invites      []*invite  `json:",omitempty"`
	Join         *joining   `json:",omitempty"`
	Compared     id         `json:",omitzero"` // the session whose digits were shown last; zero: none since the last check
	Next         uint64     // number of the next row
	Quarantined  uint64     // how many there were
	LastReceived time.Time
}

// session is the client's side of a ratchet session; the ratchet's own state is a
// record of its own.
type session struct {
	ID        id
	In        inQueue
	Out       outQueue
	Hash      [32]byte  // h; zero on the guest's side
	Flight    [32]byte  // th2
	Prev      [32]byte  // commitment of the envelope that was sealed last
	Missing   spans     `json:",omitempty"`
	Shown     uint64    `json:",omitempty"` // what is missing up to here stands as the gap of some row
	Due       []due     `json:",omitempty"`
	Quiet     []uint64  `json:",omitempty"` // sealed with nothing to show, not yet echoed
	TakenBack []listed  `json:",omitempty"`
	Notice    byte      `json:",omitempty"`
	Stopped   bool      `json:",omitempty"`
	Left      bool      `json:",omitempty"` // replaced, and the user has gone on with a newer one
	Replaced  time.Time `json:",omitzero"`  // when
	Forked    bool      `json:",omitempty"`
	Guest     bool      `json:",omitempty"` // this side joined
}

// due is a receipt that is to be sent.
type due struct {
	receipt
	At time.Time
}

// listed is a cancelled envelope, and the first that told of it.
type listed struct{ Seq, By uint64 }

// inQueue is a queue that this profile reads.
type inQueue struct {
	Relay    protocol.Address
	Key      [32]byte // private: the receiver's
	Envelope [32]byte // private: the queue's envelope key
	Receiver protocol.ID
	Sender   protocol.ID
	Tries    uint8 // by others, as far as the user was told
}

// outQueue is a queue that this profile writes to.
type outQueue struct {
	Relay      protocol.Address
	Sender     protocol.ID
	Claim      [32]byte
	Key        [32]byte // private: the sender's
	Envelope   [32]byte // the queue's envelope key
	Registered bool     // the relay knows the sender's key
}

// invite is an invite of this profile's that nobody has joined with.
type invite struct {
	ID      id
	Made    time.Time
	TTL     time.Duration
	Expires time.Time // the end of its epoch at the relay; zero until it was offered
	Tickets []protocol.ID
	In      inQueue
	Bundle  []byte `json:",omitempty"`
	Blob    []byte `json:",omitempty"` // the bundle, sealed, until the relay has said that it has it
	Hash    [32]byte
	Offered bool
	State   string // the relay's word, or "revoked"
	Fetches int
	Tries   int
	Held    int // envelopes in the held table
}

// joining is a join that the relay has not confirmed.
type joining struct {
	Invite  protocol.Invite
	Bundle  []byte
	Ticket  protocol.ID
	Name    string
	In      inQueue
	Claim   [32]byte
	Session *session  `json:",omitempty"` // once the flight is made
	Refused time.Time `json:",omitzero"`  // when the relay refused the flight, of which the host may know better
}

// row is a line of the history.
type row struct {
	N        uint64 // order within the contact; of a text that is whole
	ID       uuid.UUID
	In       bool
	Checked  bool
	Made     time.Time // the sender's clock
	Received time.Time
	Until    time.Time
	Text     []byte   `json:",omitempty"`
	Parts    [][]byte `json:",omitempty"` // incoming, incomplete
	Have     int      `json:",omitempty"`
	GivenUp  bool     `json:",omitempty"` // incomplete for ever: its parts were forgotten
	Urgent   bool     `json:",omitempty"`
	Session  id
	Seq      uint64 // of its last envelope
	GapFrom  uint64 // with Seq: where missing envelopes count as its gap; 0: none
	Note     string `json:",omitempty"`
	Count    int    `json:",omitempty"` // of what the note tells
	Shown    bool   `json:",omitempty"`

	// Outgoing.
	State   State     `json:",omitempty"`
	Changed time.Time `json:",omitzero"`
	Sent    []part    `json:",omitempty"`
	Before  []sealing `json:",omitempty"` // in sessions that were replaced
	Reason  string    `json:",omitempty"`
}

// sealing is a text as it was sealed in one session.
type sealing struct {
	Session id
	Parts   []part
}

// part is one envelope of an outgoing text.
type part struct {
	Seq       uint64
	Op        protocol.MessageID
	OnRelay   bool
	Memory    bool
	Delivered bool
	Read      bool
}

// op is something to be done with an envelope at a relay.
type op struct {
	ID       protocol.MessageID
	Contact  id
	Session  id
	Seq      uint64
	Envelope []byte `json:",omitempty"`
	Message  *uuid.UUID
	Made     time.Time
	TTL      time.Duration
	Deadline time.Time
	Urgent   bool
	Flight   bool // a first flight
	Control  bool // nothing to show: put once
	Cancel   bool // take back what was put
	Had      bool `json:",omitempty"` // a relay said OK once
	Told     bool `json:",omitempty"` // the user was: its deadline is over, and it never went out

	Receipts []receipt `json:",omitempty"` // that the envelope carries
	Notice   byte      `json:",omitempty"`

	Until  time.Time // put again then, if no receipt has come; zero: the relay never said OK
	Memory bool      // and in memory alone
	Code   protocol.Code
	Retry  time.Time // the relay asked to wait
	Reason string
}

// sentRecord leads from a receipt to what it is for.
type sentRecord struct {
	Op      protocol.MessageID
	Message *uuid.UUID
	Mark    mark // of the envelope
}

// del is a queue to be deleted.
type del struct {
	Relay    protocol.Address
	Key      [32]byte
	Receiver protocol.ID
	Made     time.Time
}

func messageKey(contact id, in bool, u uuid.UUID) []byte {
	dir := byte(0)
	if in {
		dir = 1
	}
	return append(append(append([]byte{}, contact[:]...), dir), u[:]...)
}

func sentKey(session id, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(append([]byte{}, session[:]...), seq)
}

func seenKey(session id, seq uint64) []byte {
	return binary.BigEndian.AppendUint16(append([]byte{}, session[:]...), uint16(seq%seenWindow))
}

// envelopeHash is how an envelope is known again.
func envelopeHash(envelope []byte) [16]byte {
	h := sha256.Sum256(envelope)
	return [16]byte(h[:16])
}

// markOf is an envelope's mark in a receipt.
func markOf(envelope []byte) mark {
	h := envelopeHash(envelope)
	return mark(binary.BigEndian.Uint64(h[:]))
}
