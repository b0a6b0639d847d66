package main

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"kin/protocol"
	"kin/relay"
)

// TestTheDoorIsNotHeld: connections that send nothing make way for who comes after
// them.
func TestTheDoorIsNotHeld(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &door{room: 2}
	server := &http.Server{Handler: http.NotFoundHandler(), ConnState: d.note}
	go server.Serve(l)
	defer server.Close()
	var first net.Conn
	for i := range 3 {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if i == 0 {
			first = c
		}
	}
	ended(t, first)
	r, err := http.Get("http://" + l.Addr().String())
	if err != nil {
		t.Fatal("the door is held:", err)
	}
	r.Body.Close()
}

// pipes is a listener without a network, for a bubble.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	c, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p pipes) dial() net.Conn {
	ours, theirs := net.Pipe()
	p <- theirs
	return ours
}

// TestACrowdInTheDoorKeepsNobodyOut: where few connections are allowed, more requests that
// never end than those may be strangers do not hold up who comes behind them.
func TestACrowdInTheDoorKeepsNobodyOut(t *testing.T) {
	const few = 10
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r, err := relay.Open(relay.Config{Dir: dir, Connections: 4 * few, Unlinked: few})
		if err != nil {
			t.Fatal(err)
		}
		d := &door{room: doorRoom(1<<20, few)}
		server, l := d.server(r, nil), make(pipes)
		go server.Serve(r.InTurn(l))
		begun := time.Now()
		for range 3 * few {
			c := l.dial()
			defer c.Close()
			go io.WriteString(c, "GET / HTTP/1.1\r\n")
			synctest.Wait()
		}
		dialer := websocket.Dialer{Subprotocols: []string{protocol.Subprotocol}, NetDial: func(string, string) (net.Conn, error) { return l.dial(), nil }}
		ws, _, err := dialer.Dial("ws://relay", nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := ws.ReadMessage(); err != nil {
			t.Error(err)
		}
		if took := time.Since(begun); took > 0 {
			t.Errorf("the newcomer was in after %v", took)
		}
		ws.Close()
		close(l)
		server.Close()
		if err := r.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// ended reads until the other side closes.
func ended(t *testing.T, c net.Conn) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(time.Minute))
	_, err := io.Copy(io.Discard, c)
	if n, ok := err.(net.Error); ok && n.Timeout() {
		t.Fatal("the connection is still open")
	}
}

// TestWhatIsNoWebsocketEnds: a page that was asked for, and a body that never comes,
// hold no connection.
func TestWhatIsNoWebsocketEnds(t *testing.T) {
	a := start(t)
	for _, text := range []string{
		"GET / HTTP/1.1\r\nHost: relay\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: relay\r\nContent-Length: 200000\r\n\r\nand then nothing",
	} {
		c, err := net.Dial("tcp", strings.TrimPrefix(a.Hosts[0].URL(), "ws://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, text); err != nil {
			t.Fatal(err)
		}
		if r, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || !r.Close {
			t.Fatalf("%q: %v; want an answer that says that the connection ends", text, err)
		}
		ended(t, c)
	}
}

// start starts kin-relay, and returns where it is.
func start(t *testing.T, flags ...string) protocol.Address {
	t.Helper()
	a, _ := startProcess(t, flags...)
	return a
}

func startProcess(t *testing.T, flags ...string) (protocol.Address, *exec.Cmd) {
	t.Helper()
	c := exec.Command("kin-relay", append([]string{"--data", t.TempDir(), "serve", "--listen", "127.0.0.1:0"}, flags...)...)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Process.Kill(); c.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	a, err := protocol.ParseAddress(strings.TrimSpace(strings.TrimPrefix(line, "relay: ")))
	if err != nil {
		t.Fatal(err)
	}
	return a, c
}
