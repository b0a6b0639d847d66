package relay

import (
	"net"

	"kin/internal/turns"
)

// InTurn is l for a server of this relay. Nobody is let in before those who are in, and
// have no link yet, had their turn. Who comes waits in the kernel's queue until then,
// where nobody has to make way: a crowd comes in at the pace at which links come up.
func (r *Relay) InTurn(l net.Listener) net.Listener { return inTurn{l, r.comers} }

type inTurn struct {
	net.Listener
	turns *turns.Turns
}

// Accept waits for its turn, and for the next connection.
func (l inTurn) Accept() (net.Conn, error) {
	l.turns.Wait()
	return l.Listener.Accept()
}
