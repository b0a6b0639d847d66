//go:build !linux

package main

import (
	"context"
	"net"
)

// listenTCP listens for people. Pings tell whether somebody is still there, and TCP's
// keepalives would wake a phone four times as often.
func listenTCP(ctx context.Context, address string) (net.Listener, error) {
	c := net.ListenConfig{KeepAlive: -1}
	return c.Listen(ctx, "tcp", address)
}
