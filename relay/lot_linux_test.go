package relay

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/gorilla/websocket"

	"kin/protocol"
)

// inLot runs a test with every session in the lot while it waits.
func inLot(t *testing.T) {
	allInLot = true
	t.Cleanup(func() { allInLot = false })
}

// parked is how many sessions wait in the lot.
func (s *stand) parked() (n int) {
	s.relay.lot.mu.Lock()
	defer s.relay.lot.mu.Unlock()
	for _, one := range s.relay.lot.at {
		if one != nil {
			n++
		}
	}
	return n
}

// sessions is how many there are.
func (s *stand) sessions() int {
	s.relay.mu.Lock()
	defer s.relay.mu.Unlock()
	return len(s.relay.sessions)
}

func TestTheSameInTheLot(t *testing.T) {
	inLot(t)
	for name, f := range map[string]func(*testing.T){
		"tickets": TestTicketsAndQueues, "put": TestPutMsgAck, "invite": TestInvite, "window": TestWindowAndSubscribers,
		"hostile": TestHostileInput, "shutdown": TestShutdownEndsSessionsAndKeepsWhatWasAcknowledged,
		"way": TestWhoHoldsConnectionsKeepsNobodyOut, "chunks": TestChunksThatNeverEnd,
	} {
		t.Run(name, f)
	}
}

// TestTheLotTakesNoGoroutines: those who come when enough goroutines wait already
// wait in the lot, and are heard there.
func TestTheLotTakesNoGoroutines(t *testing.T) {
	s := newStand(t, nil)
	s.relay.mostWait = 8
	before := runtime.NumGoroutine()
	var peers []*peer
	for range 200 {
		p := s.dial()
		p.code(&protocol.Fetch{Corr: p.corr()}) // its link is up
		peers = append(peers, p)
	}
	until(t, "they do not come to rest", func() bool { return s.parked()+int(s.relay.waiting.Load()) == len(peers) })
	until(t, "they take goroutines", func() bool { return runtime.NumGoroutine()-before <= 8+2 })
	for _, p := range peers {
		if c := p.code(&protocol.Fetch{Corr: p.corr()}); c == protocol.CodeOK {
			t.Fatal("an invite that is not there was given")
		}
	}
}

// TestMessagesThroughTheLot: pairs write and read at once, each waking the other.
func TestMessagesThroughTheLot(t *testing.T) {
	inLot(t)
	s := newStand(t, func(c *Config) { c.Pace = 1000 })
	var all sync.WaitGroup
	for range 12 {
		p, r := s.dial(), s.dial()
		b := s.queue(p, true)
		handle := r.sub(b).Handle
		all.Go(func() {
			for i := range 60 {
				if c := p.code(p.putCmd(b, byte(i+1), sealed(byte(i+1)))); c != protocol.CodeOK {
					t.Error("put:", c)
				}
			}
		})
		all.Go(func() {
			var got []byte
			for len(got) < 61 {
				as, err := r.frames()
				if err != nil {
					t.Error(err)
					return
				}
				for _, a := range as {
					if m, ok := a.(*protocol.Msg); ok {
						got = append(got, m.Envelope[0])
						r.send(&protocol.Ack{Handle: handle, Sequences: []uint64{m.Sequence}})
					}
				}
			}
			if !slices.IsSorted(got) {
				t.Errorf("out of order: %d", got)
			}
		})
	}
	all.Wait()
}

// choppy writes a client's websocket frames (RFC 6455, section 5.2), masked with zeros,
// in pieces that are not those frames.
type choppy struct {
	net.Conn
	out []byte
}

func (c *choppy) frame(opcode byte, b []byte) {
	head := []byte{0x80 | opcode, 0x80 | byte(len(b)), 0, 0, 0, 0}
	if len(b) > 125 {
		head = []byte{0x80 | opcode, 0x80 | 126, byte(len(b) >> 8), byte(len(b)), 0, 0, 0, 0}
	}
	c.out = append(append(c.out, head...), b...)
}

func (c *choppy) flush(t *testing.T, rng *rand.Rand) {
	for len(c.out) > 0 {
		n := 1 + rng.IntN(len(c.out))
		if _, err := c.Write(c.out[:n]); err != nil {
			t.Fatal(err)
		}
		for c.out = c.out[n:]; rng.IntN(4) > 0; {
			runtime.Gosched()
		}
	}
}

// TestPongsBetweenAnything: pongs of any size, before, behind and between commands, cut
// anywhere, keep no command from its answer.
func TestPongsBetweenAnything(t *testing.T) {
	inLot(t)
	s := newStand(t, nil)
	rng := rand.New(rand.NewPCG(1, 1))
	for range 100 {
		p := s.dial()
		c := &choppy{Conn: p.ws.NetConn()}
		commands := 0
		for range 8 {
			for range rng.IntN(4) {
				if rng.IntN(2) == 0 {
					c.frame(websocket.PongMessage, bytes.Repeat([]byte{pong}, rng.IntN(126))) // looks like more of them
					continue
				}
				f := &protocol.Fetch{Corr: p.corr()}
				c.frame(websocket.BinaryMessage, p.link.Seal(nil, f.Type(), f.Body()))
				commands++
			}
			c.flush(t, rng)
		}
		for answers := 0; answers < commands; {
			as, err := p.frames()
			if err != nil {
				t.Fatal(err)
			}
			answers += len(as)
		}
		ponged := errors.New("a pong")
		p.ws.SetPongHandler(func(string) error { return ponged })
		f := &protocol.Fetch{Corr: p.corr()}
		c.frame(websocket.BinaryMessage, p.link.Seal(nil, f.Type(), f.Body()))
		c.frame(websocket.PingMessage, nil)
		if _, err := c.Write(c.out); err != nil { // in one piece: the buffer of the layer above takes the ping along
			t.Fatal(err)
		}
		var err error
		for err == nil {
			_, err = p.frames()
		}
		if err != ponged {
			t.Fatal("a ping behind a command has no answer:", err)
		}
		p.ws.Close()
	}
	until(t, "sessions stay behind", func() bool { return s.sessions() == 0 })
}

// TestTheLotLetsGo: who waits in the lot is ended when the client goes, when it is
// silent for too long, and when the relay stops.
func TestTheLotLetsGo(t *testing.T) {
	inLot(t)
	s := newStand(t, nil)
	gone, silent, last := s.dial(), s.dial(), s.dial()
	for _, p := range []*peer{gone, silent, last} {
		p.code(&protocol.Fetch{Corr: p.corr()})
	}
	until(t, "they are not in the lot", func() bool { return s.parked() == 3 })
	gone.ws.NetConn().Close()
	until(t, "who went is still there", func() bool { return s.sessions() == 2 && s.parked() == 2 })

	s.relay.mu.Lock()
	for one := range s.relay.sessions {
		if one.ws.RemoteAddr().String() == silent.ws.LocalAddr().String() {
			one.heard.Add(-int64(deadAfter))
			go one.sendPing()
		}
	}
	s.relay.mu.Unlock()
	until(t, "who is silent is still there", func() bool { return s.sessions() == 1 && s.parked() == 1 })
	if err := s.relay.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	if n := s.sessions(); n != 0 {
		t.Fatal(n, "sessions are left")
	}
	if _, err := last.frames(); !websocket.IsCloseError(err, websocket.CloseGoingAway) {
		t.Fatal("the last was not told:", err)
	}
}
