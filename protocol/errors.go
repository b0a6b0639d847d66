package protocol

import (
	"errors"
	"fmt"
	"time"
)

// ErrMalformed is returned for bytes that are not what docs/protocol.md lays out.
var ErrMalformed = errors.New("protocol: malformed bytes")

// Code is a relay's reason for refusing a command (docs/protocol.md, Error codes).
type Code uint16

// The codes of version 1.
const (
	CodeOK           Code = 0  // only in a SUB's answer
	CodeMalformed    Code = 1  // the command is not laid out as it must be
	CodeProof        Code = 2  // the proof does not fit the queue's key
	CodeUnknownQueue Code = 3  // no such queue; also one that was deleted
	CodeQueueFull    Code = 4  // wait: the receiver has not collected
	CodeRelayFull    Code = 5  // wait: the relay's disk or index is at its limit
	CodeSlowDown     Code = 6  // wait: too many commands
	CodeTicket       Code = 7  // the ticket is unknown, expired, or was used with another key
	CodeGrant        Code = 8  // the grant is unknown, expired, revoked or used up
	CodeUsed         Code = 9  // the claim was used by another key
	CodeExpired      Code = 10 // the invite expired
	CodeRevoked      Code = 11 // the invite was revoked
	CodeUnknown      Code = 12 // no such invite, or its claim is not this one
	CodeFetches      Code = 13 // the invite was fetched too often
	CodeTTL          Code = 14 // the class is longer than the relay allows, or no class
	CodeConflict     Code = 15 // repeated with other bytes than the first time
	CodeSubscribers  Code = 16 // wait: the queue has four subscribers
	CodeInternal     Code = 17 // wait: the relay failed; nothing was accepted
	CodeNotBuilt     Code = 18 // a command that this relay does not know yet
)

var codeText = map[Code]string{
	CodeOK:           "ok",
	CodeMalformed:    "malformed command",
	CodeProof:        "proof refused",
	CodeUnknownQueue: "no such queue",
	CodeQueueFull:    "queue full",
	CodeRelayFull:    "relay full",
	CodeSlowDown:     "too fast",
	CodeTicket:       "ticket refused",
	CodeGrant:        "grant refused",
	CodeUsed:         "invite used",
	CodeExpired:      "invite expired",
	CodeRevoked:      "invite revoked",
	CodeUnknown:      "no such invite",
	CodeFetches:      "invite fetched too often",
	CodeTTL:          "lifetime refused",
	CodeConflict:     "repeated with other bytes",
	CodeSubscribers:  "too many subscribers",
	CodeInternal:     "relay failed",
	CodeNotBuilt:     "not built yet",
}

func (c Code) String() string {
	if s, ok := codeText[c]; ok {
		return s
	}
	return fmt.Sprintf("code %d", uint16(c))
}

// Temporary tells whether the same command may succeed later.
func (c Code) Temporary() bool {
	switch c {
	case CodeQueueFull, CodeRelayFull, CodeSlowDown, CodeSubscribers, CodeInternal:
		return true
	}
	return false
}

// Refusal is a relay's refusal as an error. Wait, in whole seconds on the wire,
// is how long to wait before the next try when the code is temporary.
type Refusal struct {
	Code Code
	Wait time.Duration
}

func (r *Refusal) Error() string {
	if r.Code.Temporary() {
		return fmt.Sprintf("relay: %v; try again in %v", r.Code, r.Wait)
	}
	return "relay: " + r.Code.String()
}
