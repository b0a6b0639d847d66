package people

import (
	"context"
	"net"
	"sync/atomic"

	"kin/client"
)

// behind is a network on which whoever writes stops for good when n pieces have been
// written, the n-th as well. Then reached is called.
func behind(n int, d client.Dialer, reached func()) client.Dialer {
	left := new(atomic.Int64)
	left.Store(int64(n))
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := d(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &stopping{c, left, reached}, nil
	}
}

type stopping struct {
	net.Conn
	left    *atomic.Int64
	reached func()
}

func (c *stopping) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if err != nil {
		return n, err
	}
	if left := c.left.Add(-1); left <= 0 {
		if left == 0 {
			c.reached()
		}
		select {} // until it is killed
	}
	return n, nil
}
