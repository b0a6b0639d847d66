package relay

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"kin/protocol"
)

// peer is a client of the tests' own, on package protocol alone.
type peer struct {
	t     testing.TB
	ws    *websocket.Conn
	link  *protocol.Link
	hello *protocol.Hello
	n     uint64
}

// stand is a relay behind a real listener.
type stand struct {
	t      *testing.T
	relay  *Relay
	server *httptest.Server
	log    bytes.Buffer
	grant  protocol.ID

	address protocol.Address
}

// allInLot has sessions wait in the lot only.
var allInLot bool

func newStand(t *testing.T, change func(*Config)) *stand {
	s := &stand{t: t}
	cfg := Config{Dir: t.TempDir(), Log: slog.New(slog.NewTextHandler(&s.log, nil))}
	if change != nil {
		change(&cfg)
	}
	var err error
	if s.relay, err = Open(cfg); err != nil {
		t.Fatal(err)
	}
	if allInLot {
		s.relay.mostWait = 0
	}
	s.server = httptest.NewUnstartedServer(s.relay)
	s.server.Listener = s.relay.InTurn(s.server.Listener)
	s.server.Start()
	host, err := protocol.ParseHost("ws" + strings.TrimPrefix(s.server.URL, "http"))
	if err != nil {
		t.Fatal(err)
	}
	s.address = protocol.Address{Hosts: []protocol.Host{host}, Fingerprint: s.relay.Fingerprint()}
	t.Cleanup(func() {
		s.server.Close()
		if err := s.relay.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	s.grantIt()
	return s
}

// grantIt makes the grant that queues are made with.
func (s *stand) grantIt() {
	s.t.Helper()
	text, err := s.relay.NewGrant(1000, 24*time.Hour)
	if err != nil {
		s.t.Fatal(err)
	}
	if s.grant, err = protocol.ParseGrant(text); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stand) dial() *peer {
	s.t.Helper()
	ws, _, err := (&websocket.Dialer{Subprotocols: []string{protocol.Subprotocol}}).Dial(s.address.Hosts[0].URL(), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { ws.Close() })
	return link(s.t, ws, s.address.Fingerprint)
}

// link brings the link up.
func link(t testing.TB, ws *websocket.Conn, pin protocol.Fingerprint) *peer {
	t.Helper()
	_, hello, err := ws.ReadMessage()
	if err != nil {
		t.Fatal(err)
	}
	answer, link, h, err := protocol.Connect(hello, pin)
	if err != nil {
		t.Fatal(err)
	}
	if err := ws.WriteMessage(websocket.BinaryMessage, answer); err != nil {
		t.Fatal(err)
	}
	return &peer{t: t, ws: ws, link: link, hello: h}
}

func (p *peer) corr() (c protocol.Corr) {
	p.n++
	binary.BigEndian.PutUint64(c[16:], p.n)
	return c
}

func (p *peer) send(c protocol.Command) {
	if err := p.ws.WriteMessage(websocket.BinaryMessage, p.link.Seal(nil, c.Type(), c.Body())); err != nil {
		p.t.Fatal(err)
	}
}

// frames reads one websocket message.
func (p *peer) frames() (out []protocol.Answer, err error) {
	p.ws.SetReadDeadline(time.Now().Add(30 * time.Second))
	_, b, err := p.ws.ReadMessage()
	for len(b) > 0 && err == nil {
		n, serr := protocol.SealedSize(b[0])
		if serr != nil {
			return nil, serr
		}
		var f protocol.Frame
		if f, err = p.link.Open(b[0], b[1:1+n]); err != nil {
			return nil, err
		}
		a, perr := protocol.ParseAnswer(f)
		if perr != nil {
			return nil, perr
		}
		out = append(out, a)
		b = b[1+n:]
	}
	return out, err
}

// next reads answers until one of the wanted kind comes.
func next[A protocol.Answer](p *peer) A {
	p.t.Helper()
	for {
		as, err := p.frames()
		if err != nil {
			p.t.Fatal(err)
		}
		for _, a := range as {
			switch a := a.(type) {
			case A:
				return a
			case *protocol.Error:
				p.t.Fatalf("refused: %v", a.Code)
			}
		}
	}
}

// code is the answer's code: CodeOK for any answer but a refusal.
func (p *peer) code(c protocol.Command) protocol.Code {
	p.t.Helper()
	p.send(c)
	for {
		as, err := p.frames()
		if err != nil {
			p.t.Fatal(err)
		}
		for _, a := range as {
			switch a := a.(type) {
			case *protocol.Error:
				return a.Code
			case *protocol.Msg, *protocol.Tried:
			default:
				return protocol.CodeOK
			}
		}
	}
}

func (p *peer) proof(key *ecdh.PrivateKey, n protocol.Corr, c protocol.Command) protocol.Proof {
	k, err := protocol.NewProofKey(key, p.hello.RA)
	if err != nil {
		p.t.Fatal(err)
	}
	return k.Prove(p.link.SID, n, c.SignedBytes())
}

func newKey(t testing.TB) *ecdh.PrivateKey {
	k, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// box is a queue with both its keys.
type box struct {
	ticket           protocol.ID
	receiver, sender protocol.ID
	rkey, skey       *ecdh.PrivateKey
	claim            [32]byte
}

func (s *stand) ticket(p *peer) (t protocol.ID) {
	rand.Read(t[:])
	p.send(&protocol.Issue{Corr: p.corr(), Grant: s.grant, Hashes: [][32]byte{protocol.TicketHash(t)}})
	next[*protocol.Issued](p)
	return t
}

func (p *peer) newCmd(b *box) *protocol.New {
	c := &protocol.New{Corr: p.corr(), Ticket: b.ticket, Key: [32]byte(b.rkey.PublicKey().Bytes())}
	c.Proof = p.proof(b.rkey, c.Corr, c)
	return c
}

func (p *peer) offerCmd(b *box, ttl uint32, location protocol.ID, blob []byte) *protocol.Offer {
	c := &protocol.Offer{Corr: p.corr(), Receiver: b.receiver, ClaimHash: protocol.ClaimHash(b.claim), TTL: ttl, Location: location, Blob: blob}
	c.Proof = p.proof(b.rkey, c.Corr, c)
	return c
}

func (p *peer) firstCmd(b *box, key *ecdh.PrivateKey, id byte, e []byte) *protocol.First {
	c := &protocol.First{Corr: p.corr(), Sender: b.sender, Claim: b.claim, Key: [32]byte(key.PublicKey().Bytes()), Message: protocol.MessageID{id}, Class: 3, Envelope: e}
	c.Proof = p.proof(key, c.Corr, c)
	return c
}

func (p *peer) putCmd(b *box, id byte, e []byte) *protocol.Put {
	c := &protocol.Put{Corr: p.corr(), Sender: b.sender, Message: protocol.MessageID{id}, Class: 3, Envelope: e}
	c.Proof = p.proof(b.skey, c.Corr, c)
	return c
}

func (p *peer) cancelCmd(b *box, id byte) *protocol.Cancel {
	c := &protocol.Cancel{Corr: p.corr(), Sender: b.sender, Message: protocol.MessageID{id}}
	c.Proof = p.proof(b.skey, c.Corr, c)
	return c
}

func (p *peer) delCmd(b *box) *protocol.Del {
	c := &protocol.Del{Corr: p.corr(), Receiver: b.receiver}
	c.Proof = p.proof(b.rkey, c.Corr, c)
	return c
}

func (p *peer) subCmd(b *box) *protocol.Sub {
	c := &protocol.Sub{Corr: p.corr(), Queues: []protocol.ID{b.receiver}}
	c.Proofs = []protocol.Proof{p.proof(b.rkey, c.Corr, c)}
	return c
}

func (p *peer) sub(b *box) protocol.Subscription {
	p.t.Helper()
	p.send(p.subCmd(b))
	return next[*protocol.Subbed](p).Queues[0]
}

func sealed(fill byte) []byte { return bytes.Repeat([]byte{fill}, protocol.EnvelopeSize) }

// bare makes a queue of which nothing was offered.
func (s *stand) bare(p *peer) *box {
	s.t.Helper()
	b := &box{ticket: s.ticket(p), rkey: newKey(s.t), skey: newKey(s.t)}
	rand.Read(b.claim[:])
	p.send(p.newCmd(b))
	ids := next[*protocol.IDs](p)
	b.receiver, b.sender = ids.Receiver, ids.Sender
	return b
}

// queue makes a queue with a claim, and a sender if sent is set.
func (s *stand) queue(p *peer, sender bool) *box {
	s.t.Helper()
	b := s.bare(p)
	if c := p.code(p.offerCmd(b, 0, protocol.ID{}, nil)); c != protocol.CodeOK {
		s.t.Fatal("offer:", c)
	}
	if sender {
		if c := p.code(p.firstCmd(b, b.skey, 0, sealed(0))); c != protocol.CodeOK {
			s.t.Fatal("first:", c)
		}
	}
	return b
}

func (s *stand) want(got, want protocol.Code) {
	s.t.Helper()
	if got != want {
		s.t.Fatalf("%v; want %v", got, want)
	}
}

func TestTicketsAndQueues(t *testing.T) {
	s := newStand(t, nil)
	p := s.dial()
	tk := protocol.ID{9}
	issue := func(g protocol.ID) *protocol.Issue {
		return &protocol.Issue{Corr: p.corr(), Grant: g, Hashes: [][32]byte{protocol.TicketHash(tk)}}
	}
	p.send(issue(s.grant))
	first := next[*protocol.Issued](p).Remaining
	p.send(issue(s.grant))
	if again := next[*protocol.Issued](p).Remaining; again != first {
		t.Errorf("a repeated ISSUE is charged: %d, then %d", first, again)
	}
	s.want(p.code(issue(protocol.ID{1})), protocol.CodeGrant)

	b := &box{ticket: tk, rkey: newKey(t)}
	p.send(p.newCmd(b))
	ids := next[*protocol.IDs](p)
	p.send(p.newCmd(b))
	if again := next[*protocol.IDs](p); again.Receiver != ids.Receiver || again.Sender != ids.Sender || ids.Sender == ids.Receiver {
		t.Error("the same ticket and key get another answer")
	}
	s.want(p.code(p.newCmd(&box{ticket: tk, rkey: newKey(t)})), protocol.CodeTicket)
	s.want(p.code(p.newCmd(&box{ticket: protocol.ID{8}, rkey: newKey(t)})), protocol.CodeTicket)
	bad := p.newCmd(b)
	bad.Proof[20] ^= 1
	s.want(p.code(bad), protocol.CodeProof)
	low := p.newCmd(b)
	low.Key = [32]byte{}
	s.want(p.code(low), protocol.CodeProof)
}

func TestPutMsgAck(t *testing.T) {
	s := newStand(t, nil)
	p := s.dial()
	b := s.queue(p, true)
	s.want(p.code(p.putCmd(b, 1, sealed(1))), protocol.CodeOK)
	s.want(p.code(p.putCmd(b, 1, sealed(1))), protocol.CodeOK)
	s.want(p.code(p.putCmd(b, 1, sealed(2))), protocol.CodeConflict)
	bad := p.putCmd(b, 2, sealed(2))
	bad.Message[0] = 3
	s.want(p.code(bad), protocol.CodeProof)

	r := s.dial()
	sub := r.sub(b)
	if sub.Code != protocol.CodeOK || sub.Waiting != 2 {
		t.Fatalf("%+v", sub)
	}
	r2 := s.dial() // both get both
	r2.sub(b)
	var got []*protocol.Msg
	for len(got) < 2 {
		as, err := r2.frames()
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range as {
			if m, ok := a.(*protocol.Msg); ok {
				got = append(got, m)
			}
		}
	}
	m1 := got[1]
	if !bytes.Equal(got[0].Envelope, sealed(0)) || !bytes.Equal(m1.Envelope, sealed(1)) || m1.Sequence <= got[0].Sequence {
		t.Fatal("not what was put, in its order")
	}
	r2.send(&protocol.Ack{Handle: m1.Handle, Sequences: []uint64{got[0].Sequence, m1.Sequence, 12345}})
	again := r2.sub(b)
	if again.Handle != m1.Handle || again.Waiting != 0 {
		t.Fatalf("after the ACK: %+v", again)
	}
	// What was collected can't be told from what was never there.
	s.want(p.code(p.cancelCmd(b, 1)), protocol.CodeOK)
	s.want(p.code(p.cancelCmd(b, 77)), protocol.CodeOK)
}

func TestFirstRegistersOneKey(t *testing.T) {
	s := newStand(t, nil)
	p := s.dial()
	b := s.queue(p, false)
	s.want(p.code(p.putCmd(b, 1, sealed(1))), protocol.CodeUnknownQueue)
	wrong := *b
	wrong.claim[0] ^= 1
	s.want(p.code(p.firstCmd(&wrong, b.skey, 1, sealed(1))), protocol.CodeUnknown)
	s.want(p.code(p.firstCmd(b, b.skey, 1, sealed(1))), protocol.CodeOK)
	s.want(p.code(p.firstCmd(b, b.skey, 1, sealed(1))), protocol.CodeOK)
	s.want(p.code(p.firstCmd(b, newKey(t), 2, sealed(2))), protocol.CodeUsed)
	if sub := s.dial().sub(b); sub.Waiting != 1 {
		t.Fatalf("%d wait", sub.Waiting)
	}
}

func TestInvite(t *testing.T) {
	s := newStand(t, nil)
	p := s.dial()
	b := s.bare(p)
	location := protocol.ID{4, 4}
	s.want(p.code(p.offerCmd(b, 48, location, sealed(8))), protocol.CodeOK)
	s.want(p.code(p.offerCmd(b, 48, location, sealed(8))), protocol.CodeOK)
	s.want(p.code(p.offerCmd(b, 48, location, sealed(9))), protocol.CodeConflict)

	for i := range protocol.MaxFetches {
		p.send(&protocol.Fetch{Corr: p.corr(), Location: location})
		if blob := next[*protocol.Blob](p); !bytes.Equal(blob.Blob, sealed(8)) {
			t.Fatal("fetch", i)
		}
	}
	s.want(p.code(&protocol.Fetch{Corr: p.corr(), Location: location}), protocol.CodeFetches)
	s.want(p.code(&protocol.Fetch{Corr: p.corr(), Location: protocol.ID{1}}), protocol.CodeUnknown)

	s.want(p.code(p.firstCmd(b, b.skey, 1, sealed(1))), protocol.CodeOK)
	s.want(p.code(p.firstCmd(b, newKey(t), 1, sealed(1))), protocol.CodeUsed)
	s.want(p.code(&protocol.Fetch{Corr: p.corr(), Location: location}), protocol.CodeUsed)
	if sub := s.dial().sub(b); sub.Invite != protocol.InviteUsed || sub.Fetches != protocol.MaxFetches || sub.Tries != 1 {
		t.Fatalf("%+v", sub)
	}
}

// TestWhatIsNotCommittedIsNotTold: where the database can't be written, nobody is told that
// the invite was used.
func TestWhatIsNotCommittedIsNotTold(t *testing.T) {
	s := newStand(t, nil)
	p := s.dial()
	b := s.bare(p)
	s.want(p.code(p.offerCmd(b, 48, protocol.ID{4}, sealed(8))), protocol.CodeOK)
	r := s.dial()
	r.sub(b)
	s.relay.store.db.Close()
	s.want(p.code(p.firstCmd(b, b.skey, 1, sealed(1))), protocol.CodeInternal)
	r.send(r.subCmd(b))
	as, err := r.frames()
	if err != nil {
		t.Fatal(err)
	}
	if sub, ok := as[0].(*protocol.Subbed); !ok || sub.Queues[0].Invite != protocol.InviteOpen {
		t.Errorf("%+v; want SUBBED with an open invite", as[0])
	}
}

func TestAnInviteLivesAWeekAtMost(t *testing.T) {
	s := newStand(t, nil)
	p := s.dial()
	b := s.bare(p)
	for _, ttl := range []uint32{169, 2562048, 3000000000, 1<<32 - 1} { // 2,562,048 hours overflow a time.Duration
		s.want(p.code(p.offerCmd(b, ttl, protocol.ID{4}, sealed(8))), protocol.CodeTTL)
	}
	s.want(p.code(p.offerCmd(b, 168, protocol.ID{4}, sealed(8))), protocol.CodeOK)
}

func TestRevokedInviteSaysSo(t *testing.T) {
	s := newStand(t, nil)
	p := s.dial()
	b := s.bare(p)
	s.want(p.code(p.offerCmd(b, 48, protocol.ID{4}, sealed(8))), protocol.CodeOK)
	s.want(p.code(p.delCmd(b)), protocol.CodeOK)
	s.want(p.code(p.delCmd(b)), protocol.CodeUnknownQueue)
	s.want(p.code(&protocol.Fetch{Corr: p.corr(), Location: protocol.ID{4}}), protocol.CodeRevoked)
	s.want(p.code(p.firstCmd(b, b.skey, 1, sealed(1))), protocol.CodeRevoked)
	s.want(p.code(p.newCmd(b)), protocol.CodeTicket)
}

func TestQueueFullIsToldAndNothingIsDropped(t *testing.T) {
	s := newStand(t, func(c *Config) { c.Unread, c.Urgent = 4, 1 })
	p := s.dial()
	b := s.queue(p, true)
	for id := byte(1); id < 3; id++ {
		s.want(p.code(p.putCmd(b, id, sealed(id))), protocol.CodeOK)
	}
	s.want(p.code(p.putCmd(b, 3, sealed(3))), protocol.CodeQueueFull)
	c := p.putCmd(b, 4, sealed(4))
	c.Flags = protocol.FlagUrgent
	c.Proof = p.proof(b.skey, c.Corr, c)
	s.want(p.code(c), protocol.CodeOK)
	if sub := s.dial().sub(b); sub.Waiting != 4 {
		t.Fatal(sub.Waiting)
	}
}

func TestWindowAndSubscribers(t *testing.T) {
	s := newStand(t, nil)
	p := s.dial()
	b := s.queue(p, true)
	for id := byte(1); id < 30; id++ {
		s.want(p.code(p.putCmd(b, id, sealed(id))), protocol.CodeOK)
	}
	r := s.dial()
	r.sub(b)
	var got []uint64
	var handle uint16
	for len(got) < protocol.Window {
		as, err := r.frames()
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range as {
			if m, ok := a.(*protocol.Msg); ok {
				got, handle = append(got, m.Sequence), m.Handle
			}
		}
	}
	// The answer to a repeated SUB comes behind whatever was sent: there is no 17th.
	c := &protocol.Sub{Corr: r.corr(), Queues: []protocol.ID{b.receiver}}
	c.Proofs = []protocol.Proof{r.proof(b.rkey, c.Corr, c)}
	r.send(c)
	for answered := false; !answered; {
		as, err := r.frames()
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range as {
			switch a.(type) {
			case *protocol.Msg:
				got = append(got, 0)
			case *protocol.Subbed:
				answered = true
			}
		}
	}
	if len(got) != protocol.Window {
		t.Fatalf("%d MSGs without an ACK", len(got))
	}
	r.send(&protocol.Ack{Handle: handle, Sequences: got[:1]})
	next[*protocol.Msg](r)

	for range subscribers - 1 {
		if sub := s.dial().sub(b); sub.Code != protocol.CodeOK {
			t.Fatal(sub.Code)
		}
	}
	if sub := s.dial().sub(b); sub.Code != protocol.CodeSubscribers {
		t.Fatal(sub.Code)
	}
}

// Whatever a stranger sends ends their connection at most; others go on.
func TestHostileInput(t *testing.T) {
	s := newStand(t, nil)
	good := s.dial()
	b := s.queue(good, true)
	for name, attack := range map[string]func(*peer){
		"garbage":   func(p *peer) { p.ws.WriteMessage(websocket.BinaryMessage, bytes.Repeat([]byte{7}, 300)) },
		"text":      func(p *peer) { p.ws.WriteMessage(websocket.TextMessage, []byte("hello")) },
		"no class":  func(p *peer) { p.ws.WriteMessage(websocket.BinaryMessage, []byte{9, 9, 9}) },
		"cut frame": func(p *peer) { p.ws.WriteMessage(websocket.BinaryMessage, p.link.Seal(nil, 1, nil)[:100]) },
		"too large": func(p *peer) { p.ws.WriteMessage(websocket.BinaryMessage, make([]byte, protocol.MaxWireMessage+1)) },
		"malformed": func(p *peer) {
			p.ws.WriteMessage(websocket.BinaryMessage, p.link.Seal(nil, protocol.TypePut, []byte("x")))
		},
		"repeated number": func(p *peer) { p.n = 5; c := &protocol.Fetch{Corr: p.corr()}; p.send(c); p.send(c) },
	} {
		p := s.dial()
		attack(p)
		for {
			if _, err := p.frames(); err != nil {
				var closed *websocket.CloseError
				if !errors.As(err, &closed) && !errors.Is(err, io.EOF) && !strings.Contains(err.Error(), "reset") && !strings.Contains(err.Error(), "EOF") {
					t.Errorf("%s: the connection stays open: %v", name, err)
				}
				break
			}
		}
	}
	p := s.dial()
	c := p.corr()
	p.ws.WriteMessage(websocket.BinaryMessage, p.link.Seal(nil, 0x15, c[:]))
	as, err := p.frames()
	if err != nil || as[0].(*protocol.Error).Code != protocol.CodeNotBuilt {
		t.Error("an unknown command:", err)
	}
	s.want(good.code(good.putCmd(b, 9, sealed(9))), protocol.CodeOK)
}

func TestShutdownEndsSessionsAndKeepsWhatWasAcknowledged(t *testing.T) {
	dir := t.TempDir()
	s := newStand(t, func(c *Config) { c.Dir = dir })
	p := s.dial()
	b := s.queue(p, true)
	if err := s.relay.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := p.frames(); err == nil {
		t.Error("the session goes on")
	}
	s2 := newStand(t, func(c *Config) { c.Dir = dir })
	if sub := s2.dial().sub(b); sub.Waiting != 1 {
		t.Fatalf("%d wait after a restart", sub.Waiting)
	}
	if _, err := Open(Config{Dir: dir}); !errors.Is(err, ErrInUse) {
		t.Errorf("a second relay on the folder: %v", err)
	}
	for _, log := range []string{s.log.String(), s2.log.String()} {
		if strings.Contains(log, "127.0.0.1") {
			t.Error("the log names an address")
		}
	}
}

// After a run neither the folder nor the log, at its most talkative, holds an id, a
// ticket, a grant, a claim, an envelope or an address.
func TestDiskAndLogHoldNoID(t *testing.T) {
	dir := t.TempDir()
	var log bytes.Buffer
	s := newStand(t, func(c *Config) {
		c.Dir, c.Log = dir, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	p := s.dial()
	b := &box{ticket: s.ticket(p), rkey: newKey(t), skey: newKey(t)}
	rand.Read(b.claim[:])
	p.send(p.newCmd(b))
	ids := next[*protocol.IDs](p)
	b.receiver, b.sender = ids.Receiver, ids.Sender
	location := s.ticket(p)
	blob, envelope, second := make([]byte, protocol.EnvelopeSize), make([]byte, protocol.EnvelopeSize), make([]byte, protocol.EnvelopeSize)
	for _, x := range [][]byte{envelope, second} { // a blob lies there for as long as its invite is open
		rand.Read(x)
	}
	s.want(p.code(p.offerCmd(b, 48, location, blob)), protocol.CodeOK)
	s.want(p.code(p.firstCmd(b, b.skey, 1, envelope)), protocol.CodeOK)
	s.want(p.code(p.putCmd(b, 2, second)), protocol.CodeOK)
	reader := s.dial()
	reader.sub(b)
	next[*protocol.Msg](reader)
	bad := s.dial()
	bad.ws.WriteMessage(websocket.BinaryMessage, []byte{9, 9, 9}) // something to log
	bad.ws.ReadMessage()
	s.server.Close()
	if err := s.relay.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}

	found := map[string][]byte{"the log": log.Bytes()}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			found[filepath.Base(name)], err = os.ReadFile(name)
		}
		return err
	})
	if err != nil || len(found) < 4 || log.Len() == 0 {
		t.Fatalf("%d places to search, %d bytes of log, %v", len(found), log.Len(), err)
	}
	list := func(b []byte) string { // as JSON writes an array of bytes
		return strings.ReplaceAll(strings.Trim(fmt.Sprint(b[:12]), "[]"), " ", ",")
	}
	for what, secret := range map[string][]byte{"receiver id": b.receiver[:], "sender id": b.sender[:], "location": location[:], "ticket": b.ticket[:],
		"grant": s.grant[:], "claim": b.claim[:], "first envelope": envelope[:32], "envelope": second[:32]} {
		for where, raw := range found {
			for _, form := range []string{string(secret), hex.EncodeToString(secret), base64.StdEncoding.EncodeToString(secret)[:20], list(secret)} {
				if bytes.Contains(raw, []byte(form)) {
					t.Errorf("the %s is in %s", what, where)
				}
			}
		}
	}
	for where, raw := range found {
		if bytes.Contains(raw, []byte("127.0.0.1")) {
			t.Errorf("an address is in %s", where)
		}
	}
}
