//go:build !linux

package main

import (
	"context"
	"net"
)

// listenTCP listens for people.
func listenTCP(ctx context.Context, address string) (net.Listener, error) {
	return new(net.ListenConfig).Listen(ctx, "tcp", address)
}
