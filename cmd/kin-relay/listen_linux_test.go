package main

import (
	"io"
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// TestWhoSaysNothingIsNotLetIn: a connection without a byte waits in the kernel; whoever
// speaks goes past it, and it is let in when it speaks.
func TestWhoSaysNothingIsNotLetIn(t *testing.T) {
	l, err := listenTCP(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dial := func() net.Conn {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	silent, speaks := dial(), dial()
	defer silent.Close()
	defer speaks.Close()
	for _, who := range []struct {
		net.Conn
		says string
	}{{speaks, "b"}, {silent, "a"}} {
		if _, err := io.WriteString(who, who.says); err != nil {
			t.Fatal(err)
		}
		in, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		var b [1]byte
		if _, err := io.ReadFull(in, b[:]); err != nil || string(b[:]) != who.says {
			t.Errorf("%q was let in, %v; want %q", b, err, who.says)
		}
	}
}

// TestNoProbesOnALineThatWaits: the relay's pings tell whether somebody is there, once a
// minute; TCP's keepalives would go out every 15 s.
func TestNoProbesOnALineThatWaits(t *testing.T) {
	l, err := listenTCP(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "a"); err != nil {
		t.Fatal(err)
	}
	in, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	raw, err := in.(*net.TCPConn).SyscallConn()
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
