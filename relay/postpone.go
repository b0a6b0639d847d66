package relay

import (
	"encoding/binary"
	"maps"
	"time"

	"kin/protocol"
)

const (
	maxPostponed = 32              // places of a connection that are told apart
	underWay     = 16              // PUTs and FIRSTs that a client may have without an answer
	comesAgain   = 5 * time.Second // for what was sent before its sender heard, and is read after the time
)

// place is where a sender's order is kept: a queue, and urgent texts in it apart.
type place struct {
	receiver hash
	urgent   bool
}

func placeOf(q *queue, flags uint8) place {
	return place{q.Receiver, flags&protocol.FlagUrgent != 0}
}

// postponed is what a connection's PUTs and FIRSTs were refused for a while. It is there
// from the first refusal on.
type postponed struct {
	read   uint64 // PUTs and FIRSTs, since
	places map[place]hold
	others hold // of all places at once, when there are more

	refused  [2 * underWay]refused // the last, round and round: those under way when a hold begins, and those read until it is known
	refusals int
}

// hold is what was said of a place: it is refused all until the time is over and its
// sender has heard.
type hold struct {
	code  protocol.Code
	until time.Time
	from  uint64 // what had been read when it began
}

type refused struct {
	id   uint32 // its beginning
	read uint64 // by then
}

func short(id protocol.MessageID) uint32 { return binary.BigEndian.Uint32(id[:]) }

func (p *postponed) refuse(id protocol.MessageID) {
	p.refused[p.refusals%len(p.refused)] = refused{short(id), p.read}
	p.refusals++
}

// heard tells whether who sends an envelope, the last that was read, knew that a hold had
// begun: it was refused since, or too many others were read since.
func (p *postponed) heard(h hold, id protocol.MessageID) bool {
	if p.read >= h.from+underWay {
		return true
	}
	for _, r := range p.refused[:min(p.refusals, len(p.refused))] {
		if r.id == short(id) && r.read >= h.from {
			return true
		}
	}
	return false
}

// add begins a hold, or makes one longer.
func (p *postponed) add(at place, code protocol.Code, now, until time.Time) {
	h, ok := p.places[at]
	if !ok {
		h.from = p.read
	}
	if until.After(h.until) {
		h.code, h.until = code, until
	}
	if !ok && len(p.places) >= maxPostponed {
		maps.DeleteFunc(p.places, func(_ place, h hold) bool { return !now.Before(h.until) && p.read >= h.from+underWay })
	}
	if ok || len(p.places) < maxPostponed {
		p.places[at] = h
		return
	}
	if code != protocol.CodeRelayFull { // others need not wait so long
		h.until = now.Add(comesAgain)
	}
	p.others = h
}

// waits tells for how long an envelope, the last that was read, has to wait.
func (p *postponed) waits(at place, id protocol.MessageID, now time.Time) (code protocol.Code, wait time.Duration) {
	h, ok := p.places[at]
	if !ok {
		h = p.others
	}
	left, heard := h.until.Sub(now), p.heard(h, id)
	switch {
	case h.code == protocol.CodeOK: // there is none
		return 0, 0
	case heard && !ok:
		p.others = hold{}
		return 0, 0
	case heard && left <= 0:
		delete(p.places, at)
		return 0, 0
	case left <= 0:
		left = comesAgain
	}
	p.refuse(id)
	return h.code, left
}

// postpone refuses an envelope for a while, and with it all that follows for the same
// place on this connection: its sender had sent that too before the refusal came, and it
// is not to overtake (docs/protocol.md, Error codes).
func (s *session) postpone(at place, id protocol.MessageID, n protocol.Corr, code protocol.Code, wait time.Duration) {
	now := time.Now()
	s.mu.Lock()
	if s.later == nil {
		s.later = &postponed{places: map[place]hold{}}
	}
	s.later.add(at, code, now, now.Add(wait))
	s.later.refuse(id)
	s.mu.Unlock()
	s.refuse(n, code, wait)
}

// waits refuses an envelope whose place is postponed; it tells whether it is.
func (s *session) waits(at place, id protocol.MessageID, n protocol.Corr) bool {
	s.mu.Lock()
	if s.later == nil {
		s.mu.Unlock()
		return false
	}
	s.later.read++
	code, wait := s.later.waits(at, id, time.Now())
	s.mu.Unlock()
	if code != protocol.CodeOK {
		s.refuse(n, code, wait)
	}
	return code != protocol.CodeOK
}
