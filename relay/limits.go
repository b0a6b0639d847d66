package relay

import (
	"container/list"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"net"
	"net/netip"
	"time"

	"golang.org/x/time/rate"
)

// Limits of an address prefix (/24, /48) before the link is up.
const (
	prefixOpen  = 64
	prefixRate  = 10
	prefixBurst = 20
)

// Shares of the disk that must be free.
const (
	roomForQueues = 0.20
	roomForAll    = 0.10
	roomForUrgent = 0.05
)

// prefix is a keyed hash of an address prefix; the zero one is exempt: loopback,
// where a proxy or Tor connects from.
type prefix [16]byte

// prefixes counts connections by prefix, in RAM, under a key of the day.
type prefixes struct {
	key  [32]byte
	made time.Time
	by   map[prefix]*prefixCount
}

type prefixCount struct {
	open int
	pace *rate.Limiter
}

func (p *prefixes) reset() {
	rand.Read(p.key[:])
	p.made, p.by = time.Now(), map[prefix]*prefixCount{}
}

func (p *prefixes) of(remote string) prefix {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		host = remote
	}
	a, err := netip.ParseAddr(host)
	if err != nil || a.IsLoopback() {
		return prefix{}
	}
	bits := 48
	if a = a.Unmap(); a.Is4() {
		bits = 24
	}
	net, err := a.WithZone("").Prefix(bits)
	if err != nil {
		return prefix{}
	}
	m := hmac.New(sha256.New, p.key[:])
	m.Write(net.Addr().AsSlice())
	return prefix(m.Sum(nil))
}

// admit tells whether one more connection may begin, and counts it.
func (r *Relay) admit(remote string) (prefix, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return prefix{}, false
	}
	p := r.prefixes.of(remote)
	if p != (prefix{}) {
		c := r.prefixes.by[p]
		if c == nil {
			c = &prefixCount{pace: rate.NewLimiter(prefixRate, prefixBurst)}
			r.prefixes.by[p] = c
		}
		if c.open >= prefixOpen || !c.pace.Allow() {
			return prefix{}, false
		}
		c.open++
	}
	if r.unlinked >= r.cfg.Unlinked && !r.unknown[stranger].makeWay() ||
		len(r.sessions) >= r.cfg.Connections && !r.unknown[loiterer].makeWay() && !r.unknown[stranger].makeWay() {
		r.uncount(p)
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

// known notes that a session has shown the key of a queue.
func (r *Relay) known(s *session) {
	r.mu.Lock()
	defer r.mu.Unlock()
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
}

// discount takes a session out of the count of those without a link, if it is there.
// mu is held.
func (r *Relay) discount(s *session) {
	if s.unlinked {
		s.unlinked = false
		r.countDown(s.prefix)
	}
}

func (r *Relay) countDown(p prefix) {
	r.unlinked--
	r.uncount(p)
}

func (r *Relay) uncount(p prefix) {
	if c := r.prefixes.by[p]; c != nil {
		c.open--
	}
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
