package kin_test

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"kin/client"
)

// wire is a proxy on loopback that counts what passes.
type wire struct {
	listener net.Listener
	to       string

	mu         sync.Mutex
	sent, got  int
	turns      int // from the client's first byte after the relay's to the next
	fromClient bool
}

func newWire(t testing.TB, listen, to string) *wire {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{listener: l, to: to}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s, err := net.Dial("tcp", w.to)
			if err != nil {
				c.Close()
				continue
			}
			all.Go(func() { w.pass(s, c, true); s.(*net.TCPConn).CloseWrite() })
			all.Go(func() { w.pass(c, s, false); c.Close() })
		}
	})
	t.Cleanup(func() { l.Close(); all.Wait() })
	return w
}

func (w *wire) pass(to io.Writer, from io.Reader, client bool) {
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		w.mu.Lock()
		if client {
			w.sent += n
			if n > 0 && !w.fromClient {
				w.turns++
			}
		} else {
			w.got += n
		}
		w.fromClient = n > 0 && client || n == 0 && w.fromClient
		w.mu.Unlock()
		if err != nil {
			return
		}
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
	}
}

// BenchmarkColdSend prints what a first send from cold takes on the wire, without
// TLS: bytes each way, and how often the client had to wait for an answer (the TCP
// handshake not counted).
func BenchmarkColdSend(b *testing.B) {
	for range b.N {
		h := &host{t: b, dir: b.TempDir(), listen: "127.0.0.1:0"}
		h.start()
		k, g := h.caseworker("Mina"), guest(b, "Jun")
		invited(b, k, g, "K7")
		// The relay moves behind the proxy: its address stays.
		address := h.listen
		h.stop()
		h.listen = "127.0.0.1:0"
		h.start()
		w := newWire(b, address, h.listen)
		w.mu.Lock()
		w.sent, w.got, w.turns = 0, 0, 0
		w.mu.Unlock()
		if _, err := g.Send(b.Context(), "Mina", "They are at the garrison.", client.SendOptions{Wait: 10 * time.Second}); err != nil {
			b.Fatal(err)
		}
		w.mu.Lock()
		b.ReportMetric(float64(w.sent), "bytes-sent")
		b.ReportMetric(float64(w.got), "bytes-received")
		b.ReportMetric(float64(w.turns), "round-trips")
		w.mu.Unlock()
		h.stop()
	}
	b.ReportMetric(0, "ns/op")
}
