package client

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"kin/protocol"
)

// Tuning of a connection.
const (
	dialTimeout  = 20 * time.Second
	answerWait   = 20 * time.Second // without an answer or a MSG: on a slow line an answer comes behind many
	writeTimeout = 20 * time.Second
	closeWait    = 3 * time.Second
	deadAfter    = 150 * time.Second // without a frame or a ping
	putWindow    = 16                // PUTs under way at once
	maxWait      = time.Hour         // that a relay can ask for
)

// Dialer opens the network connection under a websocket.
type Dialer func(ctx context.Context, network, address string) (net.Conn, error)

// conn is a link to one relay. One goroutine reads; commands may come from any.
type conn struct {
	// Static after dial.
	hello *protocol.Hello
	msgs  chan *protocol.Msg // MSGs in the order of arrival; closed when the reader ends
	tried chan *protocol.Tried
	done  chan struct{} // closed when the reader has ended

	heard atomic.Int64 // when the last answer or MSG came, Unix nanoseconds

	// Owned by the reader until done is closed.
	ws  *websocket.Conn
	err error // why the reader ended

	writing sync.Mutex     // held to write; guards what follows, of link what seals
	link    *protocol.Link // the reader opens with it
	prefix  [16]byte
	number  uint64
	keys    map[string]*protocol.ProofKey
	out     []byte

	ponging atomic.Bool

	mu      sync.Mutex // not held while writing: the relay reads no more until its answers are read
	pending map[uint64]chan protocol.Answer
}

// offline wraps what went wrong on the network, so that callers see ErrOffline.
func offline(err error) error { return fmt.Errorf("%w: %w", ErrOffline, err) }

// dial links to a relay by the first of its fronts that answers. A wrong relay
// key fails closed with protocol.ErrFingerprint, whatever the other fronts say. About
// so many queues will be subscribed to.
func dial(ctx context.Context, d Dialer, a protocol.Address, queues int) (*conn, error) {
	var errs []error
	for _, h := range a.Hosts {
		c, err := dialHost(ctx, d, h, a.Fingerprint, queues)
		if err == nil {
			return c, nil
		}
		if errors.Is(err, protocol.ErrFingerprint) || errors.Is(err, protocol.ErrVersion) {
			return nil, err
		}
		errs = append(errs, err)
	}
	return nil, offline(errors.Join(errs...))
}

func dialHost(ctx context.Context, d Dialer, h protocol.Host, pin protocol.Fingerprint, queues int) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	stop := func() bool { return true }
	wd := websocket.Dialer{
		NetDialContext: func(_ context.Context, network, address string) (net.Conn, error) {
			c, err := d(ctx, network, address)
			if err == nil { // the dialer, and the handshake behind it, look at deadlines alone
				stop = context.AfterFunc(ctx, func() { c.Close() })
			}
			return c, err
		},
		Subprotocols:    []string{protocol.Subprotocol},
		ReadBufferSize:  4096,
		WriteBufferSize: 4096,
	}
	ws, _, err := wd.DialContext(ctx, h.URL()+"/", nil)
	if err != nil {
		return nil, err
	}
	c := &conn{
		ws:      ws,
		msgs:    make(chan *protocol.Msg, (queues+protocol.MaxSub)*protocol.Window),
		tried:   make(chan *protocol.Tried, protocol.MaxSub),
		done:    make(chan struct{}),
		pending: map[uint64]chan protocol.Answer{},
		keys:    map[string]*protocol.ProofKey{},
	}
	if err := c.handshake(ctx, pin); err != nil {
		ws.Close()
		return nil, err
	}
	if !stop() {
		return nil, ctx.Err()
	}
	go c.read()
	return c, nil
}

// handshake reads the relay's hello and answers it; the first command follows in
// the same flight.
func (c *conn) handshake(ctx context.Context, pin protocol.Fingerprint) error {
	c.ws.SetReadLimit(protocol.MaxWireMessage)
	deadline, _ := ctx.Deadline()
	c.ws.SetReadDeadline(deadline)
	kind, hello, err := c.ws.ReadMessage()
	if err != nil {
		return err
	}
	if kind != websocket.BinaryMessage {
		return protocol.ErrMalformed
	}
	answer, link, h, err := protocol.Connect(hello, pin)
	if err != nil {
		return err
	}
	c.link, c.hello = link, h
	rand.Read(c.prefix[:])
	c.ws.SetPingHandler(func(data string) error {
		c.ws.SetReadDeadline(time.Now().Add(deadAfter))
		c.pong([]byte(data))
		return nil
	})
	c.ws.SetWriteDeadline(time.Now().Add(writeTimeout))
	return c.ws.WriteMessage(websocket.BinaryMessage, answer)
}

// pong answers a ping. The reader does not wait for it; what comes meanwhile is not
// answered (RFC 6455, section 5.5.3, leaves that open). If it fails, the next read shows it.
func (c *conn) pong(data []byte) {
	if !c.ponging.CompareAndSwap(false, true) {
		return
	}
	go func() {
		defer c.ponging.Store(false)
		c.ws.WriteControl(websocket.PongMessage, data, time.Now().Add(writeTimeout))
	}()
}

// start writes a command; make is given its number and a way to prove.
func (c *conn) start(build func(protocol.Corr, prover) (protocol.Command, error)) (<-chan protocol.Answer, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.number++
	var corr protocol.Corr
	copy(corr[:], c.prefix[:])
	binary.BigEndian.PutUint64(corr[16:], c.number)
	cmd, err := build(corr, prover{c, corr})
	if err != nil {
		return nil, err
	}
	ch := c.expect(c.number)
	if ch == nil {
		return nil, c.lost()
	}
	if err := c.write(cmd); err != nil {
		c.expected(c.number)
		return nil, err
	}
	return ch, nil
}

// write seals and sends one command. writing is held.
func (c *conn) write(cmd protocol.Command) error {
	c.out = c.link.Seal(c.out[:0], cmd.Type(), cmd.Body())
	c.ws.SetWriteDeadline(time.Now().Add(writeTimeout))
	if err := c.ws.WriteMessage(websocket.BinaryMessage, c.out); err != nil {
		return offline(err)
	}
	return nil
}

// lost is the error of a connection whose reader has ended or is ending.
func (c *conn) lost() error {
	select {
	case <-c.done:
		if c.err != nil {
			return offline(c.err)
		}
	default:
	}
	return offline(errors.New("the connection was lost"))
}

// wait takes the answer of a command; a refusal is a *protocol.Refusal.
func (c *conn) wait(ctx context.Context, ch <-chan protocol.Answer) (protocol.Answer, error) {
	t := time.NewTimer(answerWait)
	defer t.Stop()
	for {
		select {
		case a, ok := <-ch:
			if !ok {
				return nil, c.lost()
			}
			if e, ok := a.(*protocol.Error); ok {
				return nil, &protocol.Refusal{Code: e.Code, Wait: min(time.Duration(e.Wait)*time.Second, maxWait)}
			}
			return a, nil
		case <-ctx.Done():
			return nil, offline(ctx.Err())
		case <-t.C:
			left := answerWait - time.Since(time.Unix(0, c.heard.Load()))
			if left <= 0 {
				return nil, offline(errors.New("the relay does not answer"))
			}
			t.Reset(left)
		}
	}
}

// do sends a command and takes its answer.
func (c *conn) do(ctx context.Context, build func(protocol.Corr, prover) (protocol.Command, error)) (protocol.Answer, error) {
	ch, err := c.start(build)
	if err != nil {
		return nil, err
	}
	return c.wait(ctx, ch)
}

// ack erases collected envelopes. Nothing answers it: close shows that it was done.
func (c *conn) ack(handle uint16, seqs []uint64) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	return c.write(&protocol.Ack{Handle: handle, Sequences: seqs})
}

// close ends the connection politely: the relay's own close frame shows that it
// has read everything before ours. A relay that keeps silent is left after a moment.
func (c *conn) close() {
	c.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(writeTimeout))
	t := time.NewTimer(closeWait)
	defer t.Stop()
	for {
		select {
		case _, ok := <-c.msgs: // what was not collected stays on the relay
			if ok {
				continue
			}
		case <-t.C:
			c.ws.Close()
		}
		<-c.done
		return
	}
}

// prover makes the proofs of one command.
type prover struct {
	c    *conn
	corr protocol.Corr
}

// prove proves that the command comes from the holder of a queue's private key.
// The shared key is computed once for a queue and connection.
func (p prover) prove(own *ecdh.PrivateKey, cmd protocol.Command) (protocol.Proof, error) {
	id := string(own.PublicKey().Bytes())
	k := p.c.keys[id]
	if k == nil {
		var err error
		if k, err = protocol.NewProofKey(own, p.c.hello.RA); err != nil {
			return protocol.Proof{}, err
		}
		p.c.keys[id] = k
	}
	return k.Prove(p.c.link.SID, p.corr, cmd.SignedBytes()), nil
}
