package main

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"time"

	"github.com/gorilla/websocket"

	"kin/bench/gauge"
	"kin/protocol"
)

// client is a connection of the load's.
type client struct {
	ws    *websocket.Conn
	link  framer
	sid   [32]byte
	hello *protocol.Hello
	corr  protocol.Corr
	buf   [3][]byte
	out   []byte
}

func dial(kind string, a gauge.Announced) (*client, error) { return dialOver(0, kind, a) }

// dialOver answers the relay's half of the link as late as on a line on which a round
// trip takes so long.
func dialOver(line time.Duration, kind string, a gauge.Announced) (*client, error) {
	ws, err := upgrade(a)
	if err != nil {
		return nil, err
	}
	c := &client{ws: ws, link: clear{}}
	_, hello, err := ws.ReadMessage()
	if err != nil {
		ws.Close()
		return nil, err
	}
	var fp protocol.Fingerprint
	if _, err := hex.Decode(fp[:], []byte(a.Key)); err != nil {
		return nil, err
	}
	answer, link, h, err := protocol.Connect(hello, fp)
	if err != nil {
		return nil, err
	}
	if c.hello = h; kind != "bare" {
		c.link, c.sid = link, link.SID
	}
	rand.Read(c.corr[:16])
	time.Sleep(line)
	return c, ws.WriteMessage(websocket.BinaryMessage, answer)
}

func (c *client) number() protocol.Corr {
	binary.BigEndian.PutUint64(c.corr[16:], c.corr.Number()+1)
	return c.corr
}

// queue lays a frame beside those that flush writes.
func (c *client) queue(t protocol.Type, body []byte) { c.out = c.link.Seal(c.out, t, body) }

func (c *client) flush() error {
	for len(c.out) > 0 {
		n := whole(c.out)
		if err := c.ws.WriteMessage(websocket.BinaryMessage, c.out[:n]); err != nil {
			return err
		}
		c.out = append(c.out[:0], c.out[n:]...)
	}
	return nil
}

// read hands the frames of the next websocket message to f.
func (c *client) read(f func(protocol.Frame) error) error {
	_, r, err := c.ws.NextReader()
	if err != nil {
		return err
	}
	for {
		var class [1]byte
		if _, err := io.ReadFull(r, class[:]); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if c.buf[class[0]] == nil {
			c.buf[class[0]] = make([]byte, sizes[class[0]]+16)
		}
		b := c.buf[class[0]]
		if _, err := io.ReadFull(r, b); err != nil {
			return err
		}
		frame, err := c.link.Open(class[0], b)
		if err == nil {
			err = f(frame)
		}
		if err != nil {
			return err
		}
	}
}

// ask sends a command and waits for its answer.
func ask[A protocol.Answer](c *client, cmd protocol.Command) (a A, err error) {
	c.queue(cmd.Type(), cmd.Body())
	if err := c.flush(); err != nil {
		return a, err
	}
	for got := false; !got; {
		err := c.read(func(f protocol.Frame) error {
			answer, err := protocol.ParseAnswer(f)
			if refused, ok := answer.(*protocol.Error); ok {
				err = fmt.Errorf("refused: %v", refused.Code)
			}
			if x, ok := answer.(A); ok {
				a, got = x, true
			}
			return err
		})
		if err != nil {
			return a, err
		}
	}
	return a, nil
}

// pair is a sender and its receiver.
type pair struct {
	from, to *client
	put      protocol.Put
	own      *ecdh.PrivateKey
	key      *protocol.ProofKey
	handle   uint16
}

func newPair(kind string, a gauge.Announced, i int) (gauge.Pair, error) {
	p := &pair{}
	var err error
	if p.to, err = dial(kind, a); err != nil {
		return nil, err
	}
	if p.from, err = dial(kind, a); err != nil {
		return nil, err
	}
	p.put.Class = 3
	if kind == "kin" {
		return p, p.meet(a)
	}
	name := binary.BigEndian.AppendUint64(nil, uint64(i))
	for _, x := range []struct {
		c *client
		t protocol.Type
	}{{p.to, protocol.TypeSub}, {p.from, protocol.TypeFirst}} {
		x.c.queue(x.t, name)
		if err := x.c.flush(); err != nil {
			return nil, err
		}
		if err := x.c.read(func(protocol.Frame) error { return nil }); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// newQueue makes a queue that the holder of claim may send to.
func (c *client) newQueue(a gauge.Announced, claim [32]byte) (*protocol.IDs, *protocol.ProofKey, error) {
	grant, err := protocol.ParseGrant(a.Grant)
	if err != nil {
		return nil, nil, err
	}
	own, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	key, err := protocol.NewProofKey(own, c.hello.RA)
	if err != nil {
		return nil, nil, err
	}
	var ticket protocol.ID
	rand.Read(ticket[:])
	if _, err := ask[*protocol.Issued](c, &protocol.Issue{Corr: c.number(), Grant: grant, Hashes: [][32]byte{protocol.TicketHash(ticket)}}); err != nil {
		return nil, nil, err
	}
	n := &protocol.New{Corr: c.number(), Ticket: ticket, Key: [32]byte(own.PublicKey().Bytes())}
	n.Proof = key.Prove(c.sid, n.Corr, n.SignedBytes())
	ids, err := ask[*protocol.IDs](c, n)
	if err != nil {
		return nil, nil, err
	}
	o := &protocol.Offer{Corr: c.number(), Receiver: ids.Receiver, ClaimHash: protocol.ClaimHash(claim)}
	o.Proof = key.Prove(c.sid, o.Corr, o.SignedBytes())
	_, err = ask[*protocol.OK](c, o)
	return ids, key, err
}

// subscribe reads a queue, and returns its handle.
func (c *client) subscribe(receiver protocol.ID, key *protocol.ProofKey) (uint16, error) {
	sub := &protocol.Sub{Corr: c.number(), Queues: []protocol.ID{receiver}, Proofs: make([]protocol.Proof, 1)}
	sub.Proofs[0] = key.Prove(c.sid, sub.Corr, sub.SignedBytes())
	subbed, err := ask[*protocol.Subbed](c, sub)
	if err != nil {
		return 0, err
	}
	return subbed.Queues[0].Handle, nil
}

// meet makes the pair's queue and registers the sender.
func (p *pair) meet(a gauge.Announced) error {
	var claim [32]byte
	rand.Read(claim[:])
	ids, mine, err := p.to.newQueue(a, claim)
	if err != nil {
		return err
	}
	if p.handle, err = p.to.subscribe(ids.Receiver, mine); err != nil {
		return err
	}
	if p.own, err = ecdh.X25519().GenerateKey(rand.Reader); err != nil {
		return err
	}
	if p.key, err = protocol.NewProofKey(p.own, p.from.hello.RA); err != nil {
		return err
	}
	p.put.Sender = ids.Sender
	f := &protocol.First{Corr: p.from.number(), Sender: ids.Sender, Claim: claim, Key: [32]byte(p.own.PublicKey().Bytes()), Class: 3, Envelope: make([]byte, protocol.EnvelopeSize)}
	f.Proof = p.key.Prove(p.from.sid, f.Corr, f.SignedBytes())
	if _, err = ask[*protocol.OK](p.from, f); err != nil {
		return err
	}
	for got := 0; got == 0 && err == nil; { // what came with it is not the load's
		err = p.Receive(func([]byte) { got++ })
	}
	return err
}

// Put sends messages in as few websocket messages as they take.
func (p *pair) Put(messages [][]byte) error {
	for _, m := range messages {
		p.queuePut(m)
	}
	return p.from.flush()
}

func (p *pair) queuePut(message []byte) {
	p.put.Corr, p.put.Envelope = p.from.number(), message
	copy(p.put.Message[:], p.put.Corr[8:])
	if p.key != nil {
		p.put.Proof = p.key.Prove(p.from.sid, p.put.Corr, p.put.SignedBytes())
	}
	p.from.queue(protocol.TypePut, p.put.Body())
}

// Answered counts OKs.
func (p *pair) Answered() (n int, err error) {
	err = p.from.read(func(f protocol.Frame) error {
		if f.Type != protocol.TypeOK {
			a, _ := protocol.ParseAnswer(f)
			return fmt.Errorf("a PUT was answered %T %v", a, a)
		}
		n++
		return nil
	})
	return n, err
}

// Receive takes a websocket message's MSGs and acknowledges them.
func (p *pair) Receive(f func(message []byte)) error {
	ack := &protocol.Ack{Handle: p.handle}
	err := p.to.read(func(frame protocol.Frame) error {
		if frame.Type == protocol.TypeMsg {
			ack.Sequences = append(ack.Sequences, binary.BigEndian.Uint64(frame.Body[2:]))
			f(frame.Body[len(frame.Body)-protocol.EnvelopeSize:])
		}
		return nil
	})
	if err == nil && len(ack.Sequences) > 0 {
		p.to.queue(ack.Type(), ack.Body())
		err = p.to.flush()
	}
	return err
}

func (p *pair) Close() {
	p.from.ws.Close()
	p.to.ws.Close()
}
