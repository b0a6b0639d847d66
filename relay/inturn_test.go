package relay

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"kin/protocol"
)

// TestWhoIsSlowHasTimeToAnswer: where there is room for one without a link, the next one
// waits until that one is in, or has had as long as a slow line takes.
func TestWhoIsSlowHasTimeToAnswer(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r, err := Open(Config{Dir: dir, Unlinked: 1})
		if err != nil {
			t.Fatal(err)
		}
		l := make(pipes, 10)
		server := &http.Server{Handler: r}
		go server.Serve(r.InTurn(l))
		dial := func() *websocket.Conn {
			ws, err := l.dial()
			if err != nil {
				t.Error(err)
			}
			return ws
		}
		begun := time.Now()
		slow := dial()
		next := make(chan *websocket.Conn)
		go func() { next <- dial() }()
		time.Sleep(slowAnswer - time.Millisecond)
		p := link(t, slow, r.Fingerprint())
		silent := <-next
		if took := time.Since(begun); took != slowAnswer-time.Millisecond {
			t.Errorf("the next one was in after %v, not with the link of the one before", took)
		}
		if code := p.code(&protocol.Fetch{Corr: p.corr()}); code != protocol.CodeUnknown {
			t.Errorf("the slow one: %v", code)
		}
		begun = time.Now()
		if _, _, err := silent.ReadMessage(); err != nil {
			t.Fatal(err)
		}
		go func() { next <- dial() }()
		last := <-next
		if took := time.Since(begun); took != slowAnswer {
			t.Errorf("one that says nothing made way after %v, want %v", took, slowAnswer)
		}
		if _, _, err := silent.ReadMessage(); err == nil {
			t.Error("it did not make way")
		}
		for _, ws := range []*websocket.Conn{slow, silent, last} {
			ws.Close()
		}
		close(l)
		server.Close()
		if err := r.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

// TestWhoComesIsCounted: from the door until it is a websocket, or gone.
func TestWhoComesIsCounted(t *testing.T) {
	s := newStand(t, nil)
	coming := func() int {
		s.relay.mu.Lock()
		defer s.relay.mu.Unlock()
		return s.relay.coming
	}
	c, err := net.Dial("tcp", s.server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s.dial() // the one before was let in
	if n := coming(); n != 1 {
		t.Errorf("%d are coming, want the one that says nothing", n)
	}
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, c); err != nil {
		t.Fatal(err)
	}
	if n := coming(); n != 0 {
		t.Errorf("%d are coming when it is gone", n)
	}
}
