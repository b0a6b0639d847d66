package client

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"

	"kin/protocol"
)

// deafConn ends instead of what its reader would read next but so many times.
type deafConn struct {
	net.Conn
	left int
}

func (c *deafConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.left--; c.left < 0 {
		c.Close()
		return 0, io.EOF
	}
	return n, err
}

// An invite of which any answer of the relay was lost goes on when it is asked for
// again: before, what had been offered was sealed anew, and refused for good.
func TestInviteWhoseAnswerWasLost(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		k, g := w.couple()
		lost := 0
		for reads := 0; ; reads++ {
			k.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				c, err := w.dial(ctx, network, address)
				return &deafConn{c, reads}, err
			}
			_, _, err := k.Invite(t.Context(), "H", 0)
			if err == nil {
				break
			}
			if lost++; !errors.Is(err, ErrOffline) {
				t.Fatalf("after %d reads: %v", reads, err)
			}
		}
		if lost < 5 {
			t.Fatalf("only %d answers could be lost", lost)
		}
		k.Dial = w.dial
		text, _, err := k.Invite(t.Context(), "H", 0)
		if err != nil {
			t.Fatal(err)
		}
		inv, err := protocol.ParseInvite(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g.Join(t.Context(), inv, "", "again"); err != nil {
			t.Fatal(err)
		}
	})
}
