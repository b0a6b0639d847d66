package relay

import (
	"container/list"
	"net"
	"time"
)

// Shares of the disk that must be free.
const (
	roomForQueues = 0.20
	roomForAll    = 0.10
	roomForUrgent = 0.05
)

// connectionsAKey are those of one queue's key that make way for nobody: its subscribers, or
// its sender's, and some that are dead and not known to be.
const connectionsAKey = 16

// admit tells whether one more connection may begin, and counts it.
func (r *Relay) admit(remote string) (prefix, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return prefix{}, false
	}
	p := r.prefixes.of(remote)
	if !r.prefixes.open(p) {
		return prefix{}, false
	}
	if r.unlinked >= r.cfg.Unlinked && !r.unknown[stranger].makeWay() ||
		len(r.sessions) >= r.cfg.Connections && !r.unknown[loiterer].makeWay() && !r.unknown[stranger].makeWay() {
		r.prefixes.close(p)
		return prefix{}, false
	}
	r.unlinked++
	return p, true
}

// linkUp notes that a session's link is up: its prefix is not counted any more. It is an
// error if the session has made way.
func (r *Relay) linkUp(s *session) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.minute.ek.release()
	if !s.unlinked {
		return net.ErrClosed
	}
	r.discount(s)
	r.rank(s, loiterer)
	return nil
}

// known notes that a session has shown a key of a queue, unless connectionsAKey others have:
// who has one queue is not to take everybody's place. Its reader calls it.
func (r *Relay) known(s *session, key [32]byte) {
	if s.rank == proven {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.proofs[key] == connectionsAKey {
		return
	}
	r.proofs[key]++
	s.by = key
	r.rank(s, proven)
}

// Ranks of sessions. Where there is no room for one more, the oldest of the lowest
// makes way: who only holds connections keeps nobody out.
const (
	stranger = iota // no link yet
	loiterer        // a link, but no key of a queue was shown
	proven
)

// unknown are sessions of one rank, the oldest in front.
type unknown struct{ list.List }

// makeWay closes the oldest one; it tells whether there was one. Relay.mu is held.
func (u *unknown) makeWay() bool {
	e := u.Front()
	if e == nil {
		return false
	}
	s := u.Remove(e).(*session)
	s.at = nil
	s.relay.discount(s) // its place is free, however long its reader takes to see that
	delete(s.relay.sessions, s)
	s.hangUp()
	return true
}

// newcomersWait is how long it takes until one more may come: where somebody who has no
// link yet has to make way for it, that one gets the time that a slow line takes to answer.
func (r *Relay) newcomersWait() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	strangers := r.unlinked + r.coming
	full := strangers >= r.cfg.Unlinked || len(r.sessions)+r.coming >= r.cfg.Connections && r.unknown[loiterer].Len() == 0
	if !full || strangers == 0 {
		return 0
	}
	if first := r.unknown[stranger].Front(); first != nil {
		return slowAnswer - first.Value.(*session).silent()
	}
	return slowAnswer // of who is about to be a stranger
}

// leave tells who waits for a place that there may be one.
func (r *Relay) leave() {
	select {
	case r.left <- struct{}{}:
	default:
	}
}

// rank puts a session among those of its rank. mu is held.
func (r *Relay) rank(s *session, rank int) {
	if s.at != nil {
		r.unknown[s.rank].Remove(s.at)
		s.at = nil
	}
	if s.rank = rank; rank < proven {
		s.at = r.unknown[rank].PushBack(s)
	}
}

// dismiss notes that a connection which was admitted ended before it had a session.
func (r *Relay) dismiss(p prefix) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.countDown(p)
	r.leave()
}

// discount takes a session out of the count of those without a link, if it is there.
// mu is held.
func (r *Relay) discount(s *session) {
	if s.unlinked {
		s.unlinked = false
		r.countDown(s.prefix)
	}
	r.leave()
}

func (r *Relay) countDown(p prefix) {
	r.unlinked--
	r.prefixes.close(p)
}

// room is the share of the disk that is free, as of a second ago at most.
func (r *Relay) room() float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now(); now.Sub(r.roomAt) > time.Second {
		r.roomIs, r.roomAt = freeShare(r.cfg.Dir), now
	}
	return r.roomIs
}
