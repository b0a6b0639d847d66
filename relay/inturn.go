package relay

import (
	"net"
	"sync"
	"time"
)

// InTurn is l for a server of this relay, which is to listen through it alone. Who comes
// waits in the kernel's queue, where nobody has to make way: until those who are in, and
// have no link yet, had their turn, so that a crowd comes in at the pace at which links come
// up; and, where one of them has to make way, until that one had time to answer. Who comes
// faster than an address prefix may is turned away at once, before TLS: those are not to
// take what others need in the door.
func (r *Relay) InTurn(l net.Listener) net.Listener { return inTurn{l, r} }

type inTurn struct {
	net.Listener
	relay *Relay
}

// Accept waits for its turn, and for the next connection that may come.
func (l inTurn) Accept() (net.Conn, error) {
	for {
		l.relay.awaitPlace()
		l.relay.comers.Wait()
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.relay.mayCome(c.RemoteAddr()) {
			return &comer{Conn: c, relay: l.relay}, nil
		}
		if tcp, ok := c.(*net.TCPConn); ok {
			tcp.SetLinger(0) // the kernel is to keep nothing of it
		}
		c.Close()
	}
}

// awaitPlace waits until one more may come, or the relay stops.
func (r *Relay) awaitPlace() {
	for {
		wait := r.newcomersWait()
		if wait <= 0 {
			return
		}
		select {
		case <-r.left:
		case <-r.stop:
			return
		case <-time.After(wait):
		}
	}
}

// mayCome tells whether a connection may come in now, and counts it until it is taken.
func (r *Relay) mayCome(from net.Addr) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.prefixes.allow(r.prefixes.of(from.String())) {
		return false
	}
	r.coming++
	return true
}

// comer is a connection that is no websocket yet.
type comer struct {
	net.Conn
	relay *Relay
	came  sync.Once
}

// take ends its coming.
func (c *comer) take() {
	c.came.Do(func() {
		c.relay.mu.Lock()
		defer c.relay.mu.Unlock()
		c.relay.coming--
		c.relay.leave()
	})
}

func (c *comer) Close() error {
	c.take()
	return c.Conn.Close()
}
