package relay

import (
	"bytes"
	"context"
	"crypto/rand"
	"net"
	"net/http"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"kin/protocol"
)

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

// dial is a websocket through a pipe.
func (p pipes) dial() (*websocket.Conn, error) {
	ours, theirs := net.Pipe()
	p <- theirs
	d := websocket.Dialer{Subprotocols: []string{protocol.Subprotocol}, NetDial: func(string, string) (net.Conn, error) { return ours, nil }}
	ws, _, err := d.Dial("ws://relay", nil)
	return ws, err
}

// inBubble runs f with a relay whose time is the bubble's.
func inBubble(t *testing.T, f func(s *stand, p *peer)) {
	inBubbleAfter(t, 26*365*24*time.Hour, func(s *stand, p *peer) {
		s.grantIt()
		f(s, p)
	})
}

// inBubbleAfter is inBubble so long after the bubble's beginning, in 2000.
func inBubbleAfter(t *testing.T, later time.Duration, f func(s *stand, p *peer)) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(later)
		s := &stand{t: t}
		var err error
		if s.relay, err = Open(Config{Dir: dir}); err != nil {
			t.Fatal(err)
		}
		l := make(pipes)
		server := &http.Server{Handler: s.relay}
		go server.Serve(l)
		ws, err := l.dial()
		if err != nil {
			t.Fatal(err)
		}
		close(l)
		f(s, link(t, ws, s.relay.Fingerprint()))
		ws.Close()
		server.Close()
		if err := s.relay.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

// TestAFloodOfIdleCommandsIsSlowed: who asks and asks for what comes to nothing takes
// the relay's time at freeRate.
func TestAFloodOfIdleCommandsIsSlowed(t *testing.T) {
	inBubble(t, func(s *stand, p *peer) {
		const commands = 100
		begun := time.Now()
		go func() {
			for range commands {
				p.send(&protocol.Unsub{Corr: p.corr(), Handle: 1})
			}
		}()
		for n := 0; n < commands; {
			as, err := p.frames()
			if err != nil {
				t.Fatal(err)
			}
			n += len(as)
		}
		if took, least := time.Since(begun), (commands-idleBurst-1)*time.Second/freeRate; took < least {
			t.Fatalf("%d commands in %v; at least %v", commands, took, least)
		}
	})
}

// TestAFloodOfPingsIsSlowed: of what may be sent, none is shorter, and each is answered.
func TestAFloodOfPingsIsSlowed(t *testing.T) {
	inBubble(t, func(s *stand, p *peer) {
		const pings = 100
		begun := time.Now()
		go func() {
			for range pings {
				if err := p.ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Minute)); err != nil {
					t.Error(err)
				}
			}
			p.send(&protocol.Unsub{Corr: p.corr(), Handle: 1})
		}()
		if _, err := p.frames(); err != nil {
			t.Fatal(err)
		}
		if took, least := time.Since(begun), (pings-idleBurst-1)*time.Second/freeRate; took < least {
			t.Fatalf("%d pings in %v; at least %v", pings, took, least)
		}
	})
}

// TestAReaderThatNeverReadsHoldsLittle: answers do not pile up for who does not take
// them.
func TestAReaderThatNeverReadsHoldsLittle(t *testing.T) {
	inBubble(t, func(s *stand, p *peer) {
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			sub := &protocol.Sub{Queues: make([]protocol.ID, protocol.MaxSub), Proofs: make([]protocol.Proof, protocol.MaxSub)}
			for {
				sub.Corr = p.corr()
				if p.ws.WriteMessage(websocket.BinaryMessage, p.link.Seal(nil, sub.Type(), sub.Body())) != nil {
					return
				}
			}
		}()
		most := 0
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for open := true; open; {
			select {
			case <-ended: // at the write's deadline
				open = false
			case <-tick.C:
			}
			s.relay.mu.Lock()
			for one := range s.relay.sessions {
				one.mu.Lock()
				most = max(most, len(one.out))
				one.mu.Unlock()
			}
			s.relay.mu.Unlock()
		}
		if most == 0 || most > outLimit+msgSize {
			t.Fatalf("%d bytes waited for a client that reads nothing; at most %d", most, outLimit+msgSize)
		}
	})
}

// TestWhoMadeWayIsHeardNoMore: what a connection sent before it made way is not carried
// out, at its slow pace, behind the back of those who have its place.
func TestWhoMadeWayIsHeardNoMore(t *testing.T) {
	s := newStand(t, nil)
	p := s.dial()
	for range 2 {
		var flood []byte
		for range 100 {
			f := &protocol.Fetch{Corr: p.corr()}
			flood = p.link.Seal(flood, f.Type(), f.Body())
		}
		if err := p.ws.WriteMessage(websocket.BinaryMessage, flood); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.frames(); err != nil {
		t.Fatal(err)
	}
	one := s.session()
	s.relay.mu.Lock()
	made := s.relay.unknown[loiterer].makeWay()
	s.relay.mu.Unlock()
	if !made {
		t.Fatal("it did not make way")
	}
	s.end()
	if one.number == 200 {
		t.Fatal("all that it had sent was carried out")
	}
}

// TestWhoMakesWayFreesItsPlaceAtOnce: its reader may be long in seeing that it is over.
func TestWhoMakesWayFreesItsPlaceAtOnce(t *testing.T) {
	s := newStand(t, nil)
	ws, _, err := websocket.DefaultDialer.Dial(s.address.Hosts[0].URL(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	if _, _, err := ws.ReadMessage(); err != nil { // the relay knows it now
		t.Fatal(err)
	}
	s.relay.mu.Lock()
	before := s.relay.unlinked
	made := s.relay.unknown[stranger].makeWay()
	after := s.relay.unlinked
	s.relay.mu.Unlock()
	if !made || before != 1 || after != 0 {
		t.Errorf("made way: %v; %d without a link before, %d behind", made, before, after)
	}
	s.end()
	if s.relay.unlinked != 0 {
		t.Errorf("%d without a link when it has ended", s.relay.unlinked)
	}
}

// end ends the relay; no session runs behind it.
func (s *stand) end() {
	s.t.Helper()
	if err := s.relay.Shutdown(context.Background()); err != nil {
		s.t.Fatal(err)
	}
}

// gone tells that the relay has closed a connection.
func gone(t *testing.T, ws *websocket.Conn) {
	t.Helper()
	ws.SetReadDeadline(time.Now().Add(30 * time.Second))
	for {
		_, _, err := ws.ReadMessage()
		if n, ok := err.(net.Error); ok && n.Timeout() {
			t.Fatal("a connection that was to make way is still there")
		}
		if err != nil {
			return
		}
	}
}

// TestWhoHoldsConnectionsKeepsNobodyOut: connections without a link, and then those
// that never showed a queue's key, make way for new ones; who has a queue stays.
func TestWhoHoldsConnectionsKeepsNobodyOut(t *testing.T) {
	s := newStand(t, func(c *Config) { c.Connections, c.Unlinked = 6, 2 })
	p := s.dial()
	b := s.queue(p, false)
	var strangers []*websocket.Conn
	for range 3 {
		ws, _, err := websocket.DefaultDialer.Dial(s.address.Hosts[0].URL(), nil)
		if err != nil {
			t.Fatal("a stranger was not let in:", err)
		}
		t.Cleanup(func() { ws.Close() })
		if _, _, err := ws.ReadMessage(); err != nil { // the relay knows it now
			t.Fatal(err)
		}
		strangers = append(strangers, ws)
	}
	gone(t, strangers[0])
	var loiterers []*peer
	for range 5 {
		l := s.dial()
		l.code(&protocol.Fetch{Corr: l.corr()}) // its link is up
		loiterers = append(loiterers, l)
	}
	for range 2 {
		s.dial()
	}
	gone(t, loiterers[0].ws)
	if sub := p.sub(b); sub.Code != protocol.CodeOK {
		t.Fatal("who has a queue was not heard:", sub.Code)
	}
}

// TestAKeyThatIsBroughtProvesNothing: who brings a key of their own, and a claim or a ticket
// that is not for them, makes way like everybody else.
func TestAKeyThatIsBroughtProvesNothing(t *testing.T) {
	s := newStand(t, nil)
	p := s.dial()
	b := s.queue(p, true)
	x := s.dial()
	wrong := *b
	wrong.claim[0] ^= 1
	s.want(x.code(x.firstCmd(&wrong, newKey(t), 1, sealed(1))), protocol.CodeUnknown)
	s.want(x.code(x.firstCmd(b, newKey(t), 1, sealed(1))), protocol.CodeUsed)
	s.want(x.code(x.newCmd(&box{ticket: b.ticket, rkey: newKey(t)})), protocol.CodeTicket)
	loiterers := func() int {
		s.relay.mu.Lock()
		defer s.relay.mu.Unlock()
		return s.relay.unknown[loiterer].Len()
	}
	if loiterers() != 1 {
		t.Error("who knows nobody's key is proven")
	}
	s.want(x.code(x.firstCmd(b, b.skey, 1, sealed(1))), protocol.CodeOK)
	if loiterers() != 0 {
		t.Error("who knows a queue's key is not")
	}
}

// TestOneQueueTakesNotEveryPlace: who has one queue's key can show it on any number of
// connections.
func TestOneQueueTakesNotEveryPlace(t *testing.T) {
	s := newStand(t, func(c *Config) { c.Connections = 20 })
	first := s.dial()
	b := s.queue(first, true)
	for range 19 {
		p := s.dial()
		s.want(p.code(p.cancelCmd(b, 9)), protocol.CodeOK)
	}
	for range 3 {
		s.queue(s.dial(), false)
	}
	s.want(first.code(first.cancelCmd(b, 9)), protocol.CodeOK)
	s.end()
	if n := len(s.relay.proofs); n != 0 {
		t.Errorf("%d keys are counted, of no connection", n)
	}
}

// TestChunksThatNeverEnd: beside as many frames of 64 KiB that stop half-way as may come
// in at once, messages pass. Who sends one more, or has no queue, is hung up.
func TestChunksThatNeverEnd(t *testing.T) {
	s := newStand(t, nil)
	p := s.dial()
	b := s.queue(p, true)
	chunk := func(p *peer) {
		w, err := p.ws.NextWriter(websocket.BinaryMessage)
		if err != nil {
			t.Fatal(err)
		}
		w.Write(append([]byte{2}, make([]byte, 20000)...)) // who is hung up may not have written all
	}
	stranger := s.dial()
	chunk(stranger)
	gone(t, stranger.ws)
	for n := range chunksAtOnce {
		other := s.dial()
		s.queue(other, false)
		chunk(other)
		for len(s.relay.chunks) == n {
			runtime.Gosched()
		}
	}
	late := s.dial()
	s.queue(late, false)
	chunk(late)
	gone(t, late.ws)
	s.want(p.code(p.putCmd(b, 1, sealed(1))), protocol.CodeOK)
	if n := len(s.relay.chunks); n != chunksAtOnce {
		t.Errorf("%d chunks come in; want %d", n, chunksAtOnce)
	}
}

// TestARefusedIssueWritesNothing: anybody can ask with a grant that there is not; the
// two syncs of a commit would be everybody's.
func TestARefusedIssueWritesNothing(t *testing.T) {
	s := newStand(t, nil)
	p := s.dial()
	s.ticket(p)
	st := s.relay.store.db.Stats()
	before := st.TxStats.GetWrite()
	var id protocol.ID
	rand.Read(id[:])
	s.want(p.code(&protocol.Issue{Corr: p.corr(), Grant: id, Hashes: [][32]byte{{1}}}), protocol.CodeGrant)
	st = s.relay.store.db.Stats()
	if after := st.TxStats.GetWrite(); after != before || before == 0 {
		t.Fatalf("%d writes of the database before a refused ISSUE, %d after", before, after)
	}
}

// TestATryThatIsNotCountedWritesNothing: who was shown an invite can try it again and again.
func TestATryThatIsNotCountedWritesNothing(t *testing.T) {
	s := newStand(t, nil)
	p := s.dial()
	b := s.bare(p)
	s.want(p.code(p.offerCmd(b, 48, protocol.ID{4}, sealed(8))), protocol.CodeOK)
	s.want(p.code(p.firstCmd(b, b.skey, 1, sealed(1))), protocol.CodeOK)
	st := s.relay.store
	st.mu.Lock()
	st.receivers[hashOf(b.receiver)].Invite.Tries = maxTries - 1
	st.mu.Unlock()
	try := func() (written int64) {
		before := st.db.Stats()
		s.want(p.code(p.firstCmd(b, newKey(t), 2, sealed(2))), protocol.CodeUsed)
		after := st.db.Stats()
		return after.TxStats.GetWrite() - before.TxStats.GetWrite()
	}
	if try() == 0 {
		t.Error("the last that is counted was not written")
	}
	if n := try(); n != 0 {
		t.Errorf("%d writes of the database for the next one", n)
	}
	if sub := p.sub(b); sub.Tries != maxTries {
		t.Errorf("%d tries", sub.Tries)
	}
}

// TestAProofIsCheckedLast: it costs more than all else, so who has no ticket and no
// queue gets none checked.
func TestAProofIsCheckedLast(t *testing.T) {
	s := newStand(t, nil)
	p := s.dial()
	n := &protocol.New{Corr: p.corr()}
	s.want(p.code(n), protocol.CodeTicket)
	f := &protocol.First{Corr: p.corr(), Envelope: bytes.Repeat([]byte{1}, protocol.EnvelopeSize)}
	s.want(p.code(f), protocol.CodeUnknownQueue)
}
