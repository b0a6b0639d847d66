package main

import (
	"context"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// listenTCP listens for people, who speak first. A connection is let in once bytes are
// there (TCP_DEFER_ACCEPT, tcp(7)): who says nothing waits in the kernel, for headerWait
// or a little longer, and takes nothing of the relay's. A kernel that does not know this
// lets everybody in. Pings tell whether somebody is still there, and TCP's keepalives would
// wake a phone four times as often.
func listenTCP(ctx context.Context, address string) (net.Listener, error) {
	c := net.ListenConfig{KeepAlive: -1, Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) {
			unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, int(headerWait/time.Second))
		})
	}}
	return c.Listen(ctx, "tcp", address)
}
