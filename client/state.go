package client

import (
	"slices"
	"time"
)

// settle derives an outgoing row's state from its parts. What was said again is delivered
// when the session in use has it; what was taken back, if any has. It stays so.
func (r *row) settle(now time.Time) {
	delivered, relay, memory, read := true, true, false, true
	for _, pt := range r.Sent {
		delivered = delivered && pt.Delivered
		read = read && pt.Read
		relay = relay && (pt.OnRelay || pt.Delivered)
		memory = memory || pt.Memory && !pt.Delivered
	}
	switch r.State {
	case StateDelivered:
		delivered = true
	case StateRead:
		delivered, read = true, true
	case StateCancelled:
		delivered = delivered || slices.ContainsFunc(r.Before, sealing.delivered)
	}
	st := r.State
	switch {
	case delivered && read:
		st = StateRead
	case delivered:
		st = StateDelivered
	case r.State == StateCancelled:
	case relay && memory:
		st = StateOnRelayMemory
	case relay:
		st = StateOnRelay
	case r.State == StateOnRelay, r.State == StateOnRelayMemory: // once
		st = StateQueued
	}
	if st != r.State {
		r.State, r.Changed = st, now
	}
}

// delivered tells whether a receipt came for each part.
func (s sealing) delivered() bool {
	return !slices.ContainsFunc(s.Parts, func(pt part) bool { return !pt.Delivered })
}

// state is a row's state now: a deadline passes without anybody's doing.
func (r *row) state(now time.Time) State {
	switch {
	case r.In:
		return StateReceived
	case !now.Before(r.Until) && (r.State == StateQueued || r.State == StateOnRelay || r.State == StateOnRelayMemory):
		return StateExpiredUnread
	}
	return r.State
}
