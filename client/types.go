package client

import (
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// State is where an outgoing message is, as far as this profile knows. Lost, late
// or unread is never shown as received.
type State string

// The states of interface.md; an incoming message is StateReceived.
const (
	StateQueued        State = "queued"          // in this profile only
	StateOnRelay       State = "on_relay"        // the relay has it on disk
	StateOnRelayMemory State = "on_relay_memory" // the relay has it in memory alone
	StateDelivered     State = "delivered"       // their device has it: a receipt came
	StateRead          State = "read"            // they switched this on, and it was shown
	StateExpiredUnread State = "expired_unread"  // its deadline passed with no sign of receipt
	StateCancelled     State = "cancelled"       // taken back, if not read before
	StateReceived      State = "received"
)

// Direction of a message.
type Direction string

// The two directions.
const (
	In  Direction = "in"
	Out Direction = "out"
)

// Message is a row of the history.
type Message struct {
	ID              uuid.UUID
	Contact         string // label
	IdentityChecked bool   // when it was received or sent
	Direction       Direction
	Sent            time.Time // the sender's clock
	Received        time.Time // zero for outgoing
	Text            string    // untrusted: filter before printing
	Urgent          bool
	Seq             uint64
	Gap             int // messages missing just before this one
	State           State
	Until           time.Time // its deadline
	Note            string    // "", or one of the notes below in place of a text
	Count           int       // how many messages the note tells of
}

// Notes: what stands in the place of a message that can't be shown.
const (
	NoteNewer       = "newer"       // of a kind that this version does not know
	NoteQuarantined = "quarantined" // could not be opened
	NoteLost        = "lost"        // its key is gone: lost, not a duplicate
	NoteForked      = "forked"      // the contact's profile was copied: two devices send as one
	NoteTakenBack   = "taken_back"  // they took back one or more messages before this profile collected them
)

// Status is an outgoing message's state with when and what next.
type Status struct {
	ID      uuid.UUID
	Contact string
	State   State
	Made    time.Time
	Changed time.Time // when it came to this state
	Until   time.Time // deadline
	Urgent  bool
	Parts   int    // envelopes that it takes
	OnRelay int    // of them, on the relay or beyond
	Reason  string // last refusal or network error while queued; untrusted
	Stopped bool   // it is queued and can't go out any more: its session has stopped or is gone
	Waits   bool   // it is queued until the identity is checked again
}

// Sent answers Send.
type Sent struct {
	ID      uuid.UUID
	Contact string
	State   State
	Until   time.Time
}

// Contact is a row of the contacts.
type Contact struct {
	Label           string
	CallsThemself   string // untrusted
	IdentityChecked bool
	MustAccept      bool // a new session for a known label: sending stops until check --ok or --accept
	Joined          bool
	Stopped         bool // this profile is older than what they have seen
	Invited         bool // an invite of ours is open
	LastReceived    time.Time
	Unread          int
}

// InviteInfo is a row of `kin invite list`.
type InviteInfo struct {
	Label   string
	Made    time.Time
	Expires time.Time
	State   string // "open", "used", "expired", "revoked": the relay's word
	Fetches int
	Tries   int // by others, after it was used
}

// Report tells what an exchange with the relays left behind.
type Report struct {
	Received int           // new messages in the profile
	Queued   int           // outgoing messages not out yet
	Wait     time.Duration // the longest wait that a relay told; 0 for none
	Joined   []string      // labels whose join was completed
	Events   []Event
}

// Event is something that a person should hear about a contact, once.
type Event struct {
	Contact string
	Kind    EventKind
	Count   int
}

// EventKind names an event.
type EventKind string

// The events.
const (
	EventJoined      EventKind = "joined"
	EventTried       EventKind = "tried"        // somebody else tried to use the invite
	EventQuarantined EventKind = "quarantined"  // Count envelopes could not be opened
	EventLost        EventKind = "lost"         // Count messages can no longer be opened
	EventUnsent      EventKind = "unsent"       // Count texts expired here: no relay ever had them whole
	EventStopped     EventKind = "stopped"      // this profile is older than what the contact has seen
	EventNewerCopy   EventKind = "newer_copy"   // in a replaced session they answer to a newer profile than this: what waits there is left to it
	EventForked      EventKind = "forked"       // the contact's profile was copied
	EventOtherGuest  EventKind = "other_guest"  // a second first flight on an invite
	EventRefused     EventKind = "join_refused" // the relay refused a join that had begun
	EventGone        EventKind = "gone"         // the relay no longer knows the queue of this contact
)

// SendOptions of Send; the zero value sends with the defaults and waits for nothing.
type SendOptions struct {
	TTL       time.Duration // life on the relay, 72 h if 0; 1 h to the operator's ceiling
	Until     time.Duration // deadline from now, 14 d if 0; at least 1 h
	Urgent    bool
	QueueOnly bool          // into the outbox, nothing more
	Wait      time.Duration // how long to try for the relay
}

// ReceiveOptions of Receive.
type ReceiveOptions struct {
	Contact string        // exact label or a prefix of one; "" for all
	Follow  bool          // until the context ends
	Wait    time.Duration // until a message or this long
	Slowly  bool          // showing waits for a person: the profile is not held meanwhile, and another process may show the same

	// Announce, with Follow, is told how many new messages wait, and whether one is
	// urgent, in place of their being shown.
	Announce func(n int, urgent bool)
}

// Sentinels that callers branch on; cmd/kin gives each an exit code.
var (
	ErrOffline     = errors.New("no connection to the relay")                                  // 3
	ErrStopped     = errors.New("this profile is older than what the contact has seen")        // 6
	ErrMustAccept  = errors.New("a new session for this contact must be compared or accepted") // 5
	ErrNoContact   = errors.New("no such contact")
	ErrNotJoined   = errors.New("the contact has not joined yet")
	ErrLabel       = errors.New("this label can't be used")
	ErrLabelTaken  = errors.New("a contact has this label or one that looks like it")
	ErrUnanswered  = errors.New("the contact has answered none of 60,000 envelopes")
	ErrTooLong     = errors.New("the text is too long")
	ErrNotUTF8     = errors.New("the text is not UTF-8")
	ErrNoMessage   = errors.New("no such message")
	ErrNoGrant     = errors.New("this profile has no grant: it can't make invites")
	ErrUnfinished  = errors.New("this profile was not made to its end") // by an earlier release, killed in the middle
	ErrInviteState = errors.New("the relay refused the invite")
)

// InviteRefusedError is the relay's word on an invite: used, expired, revoked,
// unknown or fetched too often.
type InviteRefusedError struct{ State string }

func (e *InviteRefusedError) Error() string { return fmt.Sprintf("the invite is %s", e.State) }
func (e *InviteRefusedError) Unwrap() error { return ErrInviteState }
