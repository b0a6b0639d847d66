package client

import (
	"context"
	"net"
	"sync/atomic"
	"time"
)

// patience is how long a relay may send nothing to an exchange whose time is over:
// on a slow line an envelope is long on its way, and what was begun would be
// begun again, in vain, by each command.
const patience = 15 * time.Second

// within is a context that ends after wait, but not while relays still send something
// and it isn't enough.
func (p *Profile) within(ctx context.Context, wait time.Duration, enough func() bool) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	t := time.NewTimer(wait)
	go func() {
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			}
			if time.Since(time.Unix(0, p.heard.Load())) >= patience || enough() {
				cancel()
				return
			}
			t.Reset(time.Second)
		}
	}()
	return ctx, cancel
}

// listen dials, and notes when a byte comes.
func (p *Profile) listen(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := p.Dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &heardConn{c, &p.heard}, nil
}

// heardConn notes when a byte last came, in Unix nanoseconds.
type heardConn struct {
	net.Conn
	at *atomic.Int64
}

func (c *heardConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.at.Store(time.Now().UnixNano())
	}
	return n, err
}
