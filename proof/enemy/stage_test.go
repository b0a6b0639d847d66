package enemy

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"kin/client"
	"kin/protocol"
	"kin/relay"
)

var passphrase = []byte("correct horse battery")

// stage is a real relay, reached through a proxy that records every byte.
type stage struct {
	t      *testing.T
	dir    string
	relay  *relay.Relay
	server *http.Server
	tap    *tap
}

func newStage(t *testing.T) *stage {
	s := &stage{t: t, dir: t.TempDir()}
	var err error
	if s.relay, err = relay.Open(relay.Config{Dir: s.dir, Pace: 1 << 20, Unread: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.server = &http.Server{Handler: s.relay}
	go s.server.Serve(l)
	s.tap = newTap(t, l.Addr().String())
	t.Cleanup(s.stop)
	return s
}

func (s *stage) stop() {
	if s.server != nil {
		s.server.Close()
		if err := s.relay.Shutdown(context.Background()); err != nil {
			s.t.Error(err)
		}
		s.server = nil
	}
}

func (s *stage) caseworker() *client.Profile {
	s.t.Helper()
	text, err := s.relay.NewGrant(100, 24*time.Hour)
	if err != nil {
		s.t.Fatal(err)
	}
	grant, err := protocol.ParseGrant(text)
	if err != nil {
		s.t.Fatal(err)
	}
	address := protocol.Address{Hosts: []protocol.Host{{Name: s.tap.listener.Addr().String()}}, Fingerprint: s.relay.Fingerprint()}
	p, err := client.Create(s.t.Context(), filepath.Join(s.t.TempDir(), "p"), passphrase,
		client.Setup{Name: "Mina the caseworker", Relay: address, Grant: grant, Keep: 30 * 24 * time.Hour})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(p.Close)
	return p
}

// guest joins as the caseworker's contact of this label.
func (s *stage) guest(k *client.Profile, label string) *client.Profile {
	s.t.Helper()
	p, err := client.CreateGuest(s.t.Context(), filepath.Join(s.t.TempDir(), "p"), passphrase, label, 30*24*time.Hour)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(p.Close)
	token, _, err := k.Invite(s.t.Context(), label, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	inv, err := protocol.ParseInvite(token)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := p.Join(s.t.Context(), inv, "", "Mina"); err != nil {
		s.t.Fatal(err)
	}
	s.receive(k)
	return p
}

func (s *stage) send(p *client.Profile, label, text string) {
	s.t.Helper()
	if _, err := p.Send(s.t.Context(), label, text, client.SendOptions{Wait: time.Minute}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) receive(p *client.Profile) (n int) {
	s.t.Helper()
	_, err := p.Receive(s.t.Context(), client.ReceiveOptions{}, func(ms []client.Message) error { n += len(ms); return nil })
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

// tap records what passes between clients and the relay, by connection.
type tap struct {
	listener net.Listener

	mu    sync.Mutex
	flows []*flow
	open  sync.WaitGroup // connections
}

// flow is one connection's bytes: towards the relay, and back.
type flow struct{ up, down bytes.Buffer }

func newTap(t *testing.T, to string) *tap {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &tap{listener: l}
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r, err := net.Dial("tcp", to)
			if err != nil {
				c.Close()
				continue
			}
			f := &flow{}
			p.mu.Lock()
			p.flows = append(p.flows, f)
			p.mu.Unlock()
			p.open.Go(func() { io.Copy(io.MultiWriter(&f.up, r), c); r.(*net.TCPConn).CloseWrite() })
			p.open.Go(func() { io.Copy(io.MultiWriter(&f.down, c), r); c.Close() })
		}
	})
	t.Cleanup(func() { l.Close(); accepting.Wait(); p.open.Wait() })
	return p
}

// during returns the connections that f opened, once they are closed.
func (p *tap) during(f func()) []*flow {
	p.open.Wait()
	p.mu.Lock()
	p.flows = nil
	p.mu.Unlock()
	f()
	p.open.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.flows
}

// payloads are the websocket messages of one direction, unmasked, without the HTTP
// before them; sizes are what they take on the wire.
func payloads(t *testing.T, stream []byte) (out [][]byte, sizes []int) {
	t.Helper()
	head := bytes.Index(stream, []byte("\r\n\r\n"))
	if head < 0 {
		t.Fatal("no upgrade")
	}
	sizes = append(sizes, head+4)
	for b := stream[head+4:]; len(b) > 0; {
		n, at := int(b[1]&0x7f), 2
		switch n {
		case 126:
			n, at = int(binary.BigEndian.Uint16(b[2:])), 4
		case 127:
			n, at = int(binary.BigEndian.Uint64(b[2:])), 10
		}
		masked := b[1]&0x80 != 0
		var mask [4]byte
		if masked {
			mask = [4]byte(b[at:])
			at += 4
		}
		p := bytes.Clone(b[at : at+n])
		for i := range p {
			p[i] ^= mask[i%4]
		}
		out, sizes = append(out, p), append(sizes, at+n)
		b = b[at+n:]
	}
	return out, sizes
}
