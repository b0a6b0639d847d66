package ratchet

import (
	"errors"
	"fmt"
)

// What an envelope or a bundle can be refused for (docs/protocol.md, Ratchet,
// Receiving). None of them changes a session.
var (
	ErrEnvelope   = errors.New("ratchet: not an envelope for this queue key")
	ErrType       = errors.New("ratchet: another type of envelope")
	ErrTag        = errors.New("ratchet: the tag does not open: a stranger's envelope, or a damaged one")
	ErrIdentity   = errors.New("ratchet: the guest's identity does not open: made for another invite, or damaged")
	ErrKey        = errors.New("ratchet: a low-order or malformed key")
	ErrRollback   = errors.New("ratchet: the peer has seen more than this session has sent")
	ErrNoKey      = errors.New("ratchet: no header key fits")
	ErrHeader     = errors.New("ratchet: a malformed header")
	ErrChain      = errors.New("ratchet: the header differs from the others of its chain")
	ErrJump       = errors.New("ratchet: a jump past the longest chain")
	ErrUsed       = errors.New("ratchet: the message key is used or forgotten")
	ErrCommitment = errors.New("ratchet: another key was committed to")
	ErrBody       = errors.New("ratchet: the body does not open")
	ErrPadding    = errors.New("ratchet: malformed padding")
	ErrBundle     = errors.New("ratchet: not the bundle of this invite, or a malformed one")
)

// ErrChainFull is returned by [Session.Seal] after 60,000 messages without an
// answer. Any message from the peer that starts a new chain ends it.
var ErrChainFull = errors.New("ratchet: too many messages without an answer")

// OpenError is a failure of [Session.Open] behind the tag: the peer made the
// tag, and Seq and Echo are what it says. Err is one of the sentinels above.
type OpenError struct {
	Seq  uint64 // the envelope's number among those that the peer sealed
	Echo uint64 // the highest seq that the peer had received
	Err  error
}

func (e *OpenError) Error() string { return fmt.Sprintf("%v (seq %d, echo %d)", e.Err, e.Seq, e.Echo) }

func (e *OpenError) Unwrap() error { return e.Err }
