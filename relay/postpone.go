package relay

import (
	"slices"
	"time"

	"kin/protocol"
)

// maxUnheard is for places of a connection. A client that has sixteen envelopes without
// an answer has at most 31: those, and what it has heard of and not said so.
const maxUnheard = 32

// place is where a sender's order is kept: a queue, and urgent texts in it apart.
type place struct {
	receiver hash
	urgent   bool
}

func placeOf(q *queue, flags uint8) place {
	return place{q.Receiver, flags&protocol.FlagUrgent != 0}
}

// unheard is a refusal for a while that its sender has not said to have heard: the last
// one of its place.
type unheard struct {
	place
	code   protocol.Code
	until  time.Time
	number uint8 // among all of this connection; as protocol.Heard counts
}

// heardOf tells whether who has heard so many has heard this one. There are never so many
// in between that it could not be told.
func (u unheard) heardOf(heard uint8) bool {
	return (heard-u.number)%protocol.HeardModulus < protocol.HeardModulus/2
}

// postpone refuses an envelope for a while, and with it all that is sent to the same place
// before its sender has heard so: that is not to overtake (docs/protocol.md, Error codes).
func (s *session) postpone(at place, n protocol.Corr, code protocol.Code, wait time.Duration) {
	s.mu.Lock()
	s.refusals++
	s.unheard = slices.DeleteFunc(s.unheard, func(u unheard) bool { return u.place == at })
	s.unheard = append(s.unheard, unheard{at, code, time.Now().Add(wait), s.refusals})
	s.say(refusal(n, code, wait)) // in the order of their numbers
	many := len(s.unheard) > maxUnheard
	s.mu.Unlock()
	if many {
		s.hangUp()
	}
}

// waits refuses an envelope that was sent before a refusal at its place was heard; it tells
// whether it was.
func (s *session) waits(at place, heard uint8, n protocol.Corr) bool {
	s.mu.Lock()
	s.unheard = slices.DeleteFunc(s.unheard, func(u unheard) bool { return u.heardOf(heard) })
	i := slices.IndexFunc(s.unheard, func(u unheard) bool { return u.place == at })
	if i < 0 {
		s.mu.Unlock()
		return false
	}
	u := s.unheard[i]
	s.mu.Unlock()
	s.postpone(at, n, u.code, max(time.Until(u.until), time.Second))
	return true
}
