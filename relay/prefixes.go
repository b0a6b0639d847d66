package relay

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"net"
	"net/netip"
	"time"

	"golang.org/x/time/rate"
)

// Limits of an address prefix (/24, /48).
const (
	prefixOpen  = 64 // websockets whose link is not up
	prefixRate  = 10 // connections a second
	prefixBurst = 20
)

// prefix is a keyed hash of an address prefix; the zero one is exempt: loopback,
// where a proxy or Tor connects from.
type prefix [16]byte

// prefixes counts connections by prefix, in RAM, under a key of the day. Relay.mu guards
// it.
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

// sweep forgets those of which nothing is counted.
func (p *prefixes) sweep(now time.Time) {
	if now.Sub(p.made) > 24*time.Hour {
		p.reset()
	}
	for of, c := range p.by {
		if c.open == 0 && c.pace.TokensAt(now) >= prefixBurst {
			delete(p.by, of)
		}
	}
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

func (p *prefixes) count(of prefix) *prefixCount {
	c := p.by[of]
	if c == nil {
		c = &prefixCount{pace: rate.NewLimiter(prefixRate, prefixBurst)}
		p.by[of] = c
	}
	return c
}

// allow tells whether a connection may come now, and counts it.
func (p *prefixes) allow(of prefix) bool { return of == prefix{} || p.count(of).pace.Allow() }

// open tells whether one more websocket may be open, and counts it until close.
func (p *prefixes) open(of prefix) bool {
	if of == (prefix{}) {
		return true
	}
	c := p.count(of)
	if c.open >= prefixOpen {
		return false
	}
	c.open++
	return true
}

func (p *prefixes) close(of prefix) {
	if c := p.by[of]; c != nil { // since the last reset
		c.open--
	}
}
