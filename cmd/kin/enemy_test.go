package main

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/binary"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/websocket"

	"kin/client/ratchet"
	"kin/protocol"
)

// enemy is a contact that says what it likes: it has real sessions over a real
// relay, and writes every byte inside them by itself.
type enemy struct {
	t       *testing.T
	relay   protocol.Address
	ws      *websocket.Conn
	link    *protocol.Link
	hello   *protocol.Hello
	number  uint64
	session *ratchet.Session

	to       protocol.ID // the victim's queue
	qe       []byte      // its envelope key
	key      *ecdh.PrivateKey
	first    bool     // the next PUT registers key, with claim
	claim    [32]byte // of the victim's queue
	prev     [32]byte
	receiver protocol.ID // the enemy's own queue, that it reads
	own      *ecdh.PrivateKey
	envelope *ecdh.PrivateKey
}

func newPrivate() *ecdh.PrivateKey {
	k, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	return k
}

func dialRelay(t *testing.T, relay protocol.Address) *enemy {
	t.Helper()
	ws, _, err := (&websocket.Dialer{Subprotocols: []string{protocol.Subprotocol}}).Dial(relay.Hosts[0].URL()+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.Close() })
	_, hello, err := ws.ReadMessage()
	if err != nil {
		t.Fatal(err)
	}
	answer, link, h, err := protocol.Connect(hello, relay.Fingerprint)
	if err != nil {
		t.Fatal(err)
	}
	if err := ws.WriteMessage(websocket.BinaryMessage, answer); err != nil {
		t.Fatal(err)
	}
	return &enemy{t: t, relay: relay, ws: ws, link: link, hello: h, key: newPrivate(), own: newPrivate(), envelope: newPrivate(), first: true}
}

func (e *enemy) corr() (c protocol.Corr) {
	e.number++
	binary.BigEndian.PutUint64(c[16:], e.number)
	return c
}

func (e *enemy) prove(key *ecdh.PrivateKey, corr protocol.Corr, c protocol.Command) protocol.Proof {
	k, err := protocol.NewProofKey(key, e.hello.RA)
	if err != nil {
		e.t.Fatal(err)
	}
	return k.Prove(e.link.SID, corr, c.SignedBytes())
}

// ask sends a command and returns its answer; a refusal is fatal.
func ask[A protocol.Answer](e *enemy, c protocol.Command) A {
	e.t.Helper()
	if err := e.ws.WriteMessage(websocket.BinaryMessage, e.link.Seal(nil, c.Type(), c.Body())); err != nil {
		e.t.Fatal(err)
	}
	return answered[A](e)
}

func answered[A protocol.Answer](e *enemy) A {
	e.t.Helper()
	for {
		e.ws.SetReadDeadline(time.Now().Add(time.Minute))
		_, b, err := e.ws.ReadMessage()
		for len(b) > 0 && err == nil {
			var n int
			if n, err = protocol.SealedSize(b[0]); err != nil {
				break
			}
			var f protocol.Frame
			if f, err = e.link.Open(b[0], b[1:1+n]); err != nil {
				break
			}
			var a protocol.Answer
			if a, err = protocol.ParseAnswer(f); err != nil {
				break
			}
			switch a := a.(type) {
			case A:
				return a
			case *protocol.Error:
				e.t.Fatalf("refused: %v", a.Code)
			}
			b = b[1+n:]
		}
		if err != nil {
			e.t.Fatal(err)
		}
	}
}

// queue makes the enemy's own queue with a ticket.
func (e *enemy) queue(ticket protocol.ID) (sender protocol.ID) {
	c := &protocol.New{Corr: e.corr(), Ticket: ticket, Key: [32]byte(e.own.PublicKey().Bytes())}
	c.Proof = e.prove(e.own, c.Corr, c)
	ids := ask[*protocol.IDs](e, c)
	e.receiver = ids.Receiver
	return ids.Sender
}

func (e *enemy) offer(claim [32]byte, ttl uint32, location protocol.ID, blob []byte) {
	c := &protocol.Offer{Corr: e.corr(), Receiver: e.receiver, ClaimHash: protocol.ClaimHash(claim), TTL: ttl, Location: location, Blob: blob}
	c.Proof = e.prove(e.own, c.Corr, c)
	ask[*protocol.OK](e, c)
}

// put puts an envelope into the victim's queue; the relay's OK says that it is there.
func (e *enemy) put(envelope []byte, flags uint8) {
	e.t.Helper()
	var id protocol.MessageID
	rand.Read(id[:])
	if e.first {
		e.first = false
		c := &protocol.First{Corr: e.corr(), Sender: e.to, Claim: e.claim, Key: [32]byte(e.key.PublicKey().Bytes()), Message: id, Class: 3, Flags: flags, Envelope: envelope}
		c.Proof = e.prove(e.key, c.Corr, c)
		ask[*protocol.OK](e, c)
		return
	}
	c := &protocol.Put{Corr: e.corr(), Sender: e.to, Message: id, Class: 3, Flags: flags, Envelope: envelope}
	c.Proof = e.prove(e.key, c.Corr, c)
	ask[*protocol.OK](e, c)
}

// The layout of what the ratchet carries (docs/protocol.md, Messages).
const (
	kindText, kindControl, kindFirst = 1, 2, 3

	itemText, itemFragment, itemReceipts, itemReads, itemTakenBack, itemQuiet = 1, 2, 3, 4, 5, 6
	itemName, itemQueues, itemNotice, itemTickets, itemRelays                 = 7, 8, 9, 10, 11
)

type item struct {
	tag   byte
	bytes []byte
}

// letter is a body that can still be made wrong.
type letter struct {
	kind           byte
	id             uuid.UUID
	seq            uint64
	prev           [32]byte
	sent, deadline uint64 // milliseconds
	flags          byte
	items          []item
	raw            []byte // in place of all above
}

func (l *letter) bytes() []byte {
	if l.raw != nil {
		return l.raw
	}
	b := append([]byte{l.kind}, l.id[:]...)
	b = binary.BigEndian.AppendUint64(b, l.seq)
	b = append(b, l.prev[:]...)
	b = binary.BigEndian.AppendUint64(b, l.sent)
	b = binary.BigEndian.AppendUint64(b, l.deadline)
	b = append(b, l.flags)
	for _, i := range l.items {
		b = append(b, i.tag)
		b = binary.BigEndian.AppendUint16(b, uint16(len(i.bytes)))
		b = append(b, i.bytes...)
	}
	return b
}

// letter is a good one with these items; change makes it wrong.
func (e *enemy) letter(kind byte, items ...item) *letter {
	now := uint64(time.Now().UnixMilli())
	seq := uint64(1)
	if e.session != nil {
		seq = e.session.Sent() + 1
	}
	return &letter{kind: kind, id: uuid.New(), seq: seq, prev: e.prev, sent: now, deadline: now + 14*86400*1000, items: items}
}

// say seals a letter in the session and puts it.
func (e *enemy) say(l *letter) {
	e.t.Helper()
	next, envelope, sealed, err := e.session.Seal(e.qe, l.bytes())
	if err != nil {
		e.t.Fatal(err)
	}
	e.session, e.prev = next, sealed.Commitment
	e.put(envelope, l.flags&1)
}

// text says a plain text.
func (e *enemy) text(s string) {
	e.t.Helper()
	e.say(e.letter(kindText, item{itemText, []byte(s)}))
}

// descriptor is one queue of a queues item.
func descriptor(relay []byte, sender protocol.ID, claim [32]byte, qe []byte) []byte {
	b := append([]byte{}, relay...)
	b = append(b, sender[:]...)
	b = append(b, claim[:]...)
	return append(b, qe...)
}

// address is a relay as descriptors name it; any host, however wrong.
func address(fingerprint protocol.Fingerprint, scheme byte, hosts ...string) []byte {
	b := []byte{byte(len(hosts))}
	for _, h := range hosts {
		b = append(append(b, scheme, byte(len(h))), h...)
	}
	return append(b, fingerprint[:]...)
}

func (e *enemy) address() []byte { return address(e.relay.Fingerprint, 1, e.relay.Hosts[0].Name) }

// open fetches an invite's bundle, and makes the enemy's queue with its ticket.
func (e *enemy) open(token string) (b *ratchet.Bundle, reply item) {
	e.t.Helper()
	inv, err := protocol.ParseInvite(token)
	if err != nil {
		e.t.Fatal(err)
	}
	s := ratchet.DeriveInvite(inv.Hash)
	blob := ask[*protocol.Blob](e, &protocol.Fetch{Corr: e.corr(), Location: s.Location})
	if b, err = ratchet.OpenBundle(inv.Hash, blob.Blob); err != nil {
		e.t.Fatal(err)
	}
	var ticket protocol.ID
	for meta := b.Meta()[1:]; len(meta) > 0; {
		n := int(binary.BigEndian.Uint16(meta[1:]))
		if meta[0] == itemTickets {
			ticket = protocol.ID(meta[3:])
		}
		meta = meta[3+n:]
	}
	var claim [32]byte
	rand.Read(claim[:])
	sender := e.queue(ticket)
	e.offer(claim, 0, protocol.ID{}, nil)
	e.to, e.qe, e.claim = b.SenderID(), b.QueueKey(), s.Claim
	return b, item{itemQueues, append([]byte{1}, descriptor(e.address(), sender, claim, e.envelope.PublicKey().Bytes())...)}
}

// join takes an invite of the victim's, with this first flight but for its queues.
func (e *enemy) join(token string, items ...item) {
	e.t.Helper()
	b, reply := e.open(token)
	e.flight(b, e.letter(kindFirst, append(items, reply)...))
}

func (e *enemy) flight(b *ratchet.Bundle, l *letter) {
	e.t.Helper()
	s, envelope, f, err := ratchet.Begin(b, l.bytes())
	if err != nil {
		e.t.Fatal(err)
	}
	e.session, e.prev = s, f.Commitment
	e.put(envelope, 0)
}

// invite makes an invite for the victim, with this meta but for the tickets.
func (e *enemy) invite(grant protocol.ID, before []item, after ...item) (token string, accept func()) {
	e.t.Helper()
	var tickets [2]protocol.ID
	issue := &protocol.Issue{Corr: e.corr(), Grant: grant}
	for i := range tickets {
		rand.Read(tickets[i][:])
		issue.Hashes = append(issue.Hashes, protocol.TicketHash(tickets[i]))
	}
	ask[*protocol.Issued](e, issue)
	sender := e.queue(tickets[0])
	keys, err := ratchet.NewHostKeys()
	if err != nil {
		e.t.Fatal(err)
	}
	l := letter{items: append(append(before, item{itemTickets, tickets[1][:]}), after...)}
	b, err := keys.Bundle(e.relay.Fingerprint, sender, append([]byte{1}, l.bytes()[74:]...))
	if err != nil {
		e.t.Fatal(err)
	}
	h := b.Hash()
	s := ratchet.DeriveInvite(h)
	e.offer(s.Claim, 48, s.Location, ratchet.SealBundle(b))
	if token, err = (protocol.Invite{Relay: e.relay, Hash: h}).Text(); err != nil {
		e.t.Fatal(err)
	}
	return token, func() { e.accept(keys, h) }
}

// accept takes the victim's first flight; then the enemy can write.
func (e *enemy) accept(keys *ratchet.HostKeys, h [32]byte) {
	e.t.Helper()
	sub := &protocol.Sub{Corr: e.corr(), Queues: []protocol.ID{e.receiver}}
	sub.Proofs = []protocol.Proof{e.prove(e.own, sub.Corr, sub)}
	if err := e.ws.WriteMessage(websocket.BinaryMessage, e.link.Seal(nil, sub.Type(), sub.Body())); err != nil {
		e.t.Fatal(err)
	}
	m := answered[*protocol.Msg](e)
	s, first, _, err := keys.Accept(h, m.Envelope)
	if err != nil {
		e.t.Fatal(err)
	}
	e.session = s
	// The victim's descriptor ends its first message.
	d := first[len(first)-protocol.IDSize-32-32:]
	e.to, e.claim, e.qe = protocol.ID(d), [32]byte(d[protocol.IDSize:]), d[protocol.IDSize+32:]
}
