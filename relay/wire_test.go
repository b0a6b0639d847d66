package relay

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"
)

// wires returns both ends of a connection: the client's, and the server's with its
// wire.
func wires(t *testing.T) (client, server net.Conn, w *wire) {
	if !canReadRaw {
		t.Log("NOT RUN: wires are read as any other connection here")
		return nil, nil, nil
	}
	taken := make(chan *onWire, 1)
	conns := make(chan net.Conn, 1)
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		o := &onWire{ResponseWriter: rw}
		c, _, err := o.Hijack()
		if err != nil {
			t.Error(err)
		}
		taken <- o
		conns <- c
	}))
	t.Cleanup(s.Close)
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	o := <-taken
	server = <-conns
	t.Cleanup(func() { server.Close() })
	return c, server, o.wire
}

func TestWireGivesOutAllThatArrivedInOrder(t *testing.T) {
	c, s, w := wires(t)
	if w == nil {
		return
	}
	sent := make([]byte, 1<<20)
	rand.Read(sent)
	go func() {
		c.Write(sent)
		c.Close()
	}()
	var got []byte
	for b := make([]byte, 1000); ; {
		if w.more() != (len(w.rest) > 0) {
			t.Fatal("more bytes than there are")
		}
		n, err := s.Read(b[:1+len(got)%len(b)])
		got = append(got, b[:n]...)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(got, sent) {
		t.Fatalf("%d bytes are not the %d that were sent", len(got), len(sent))
	}
	if w.buf != nil || w.more() {
		t.Fatal("an empty wire has a buffer")
	}
}

func TestWireKeepsItsDeadlineAndGoesOnAfterIt(t *testing.T) {
	c, s, w := wires(t)
	if w == nil {
		return
	}
	s.SetReadDeadline(time.Now().Add(-time.Second))
	if _, err := s.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	if w.buf != nil || w.more() {
		t.Fatal("a wire that waits has a buffer")
	}
	s.SetReadDeadline(time.Time{})
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Read(make([]byte, 10)); n != 1 || err != nil {
		t.Fatal(n, err)
	}
}
