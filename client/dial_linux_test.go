package client

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// TestNoProbesOnALineThatWaits: a phone that follows is woken by the relay's pings, once
// a minute, and not by TCP's keepalives every 15 s.
func TestNoProbesOnALineThatWaits(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := netDialer(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	on := -1
	if err := raw.Control(func(fd uintptr) { on, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_KEEPALIVE) }); err != nil {
		t.Fatal(err)
	}
	if err != nil || on != 0 {
		t.Errorf("SO_KEEPALIVE is %d, %v; want 0", on, err)
	}
}
