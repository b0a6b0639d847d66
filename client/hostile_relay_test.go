package client

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/mlkem"
	"crypto/rand"
	"fmt"
	"io"
	"maps"
	mrand "math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"kin/protocol"
)

// liar is a relay on a network in RAM that speaks the link as a relay does, and lies.
// What it says when it does not lie is docs/protocol.md, Queue commands.
type liar struct {
	static  *ecdh.PrivateKey
	ek      *mlkem.DecapsulationKey768
	address protocol.Address
	server  *http.Server
	conns   chan net.Conn

	mu     sync.Mutex
	rng    *mrand.Rand
	rate   int                                                  // lies in a hundred
	script func(*liarSession, protocol.Command) protocol.Answer // nil: the command is carried out
	queues []*liarQueue
	given  map[protocol.MessageID][]byte // by PUT and FIRST
	counts map[string]int
	trace  []string
	err    error
}

type liarQueue struct {
	receiver, sender protocol.ID
	ticket           protocol.ID
	key              [32]byte
	claim            *[32]byte
	senderKey        *[32]byte
	location         protocol.ID
	blob             []byte
	used, gone       bool
	mail             []liarMail
	all              [][]byte // every envelope that it was ever given
	next             uint64
}

type liarMail struct {
	seq      uint64
	id       protocol.MessageID
	envelope []byte
	flags    uint8
	expires  time.Time
}

func newLiar() (*liar, error) {
	static, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	ek, err := mlkem.GenerateKey768()
	if err != nil {
		return nil, err
	}
	l := &liar{static: static, ek: ek, rng: mrand.New(mrand.NewPCG(0, 0)), given: map[protocol.MessageID][]byte{}, counts: map[string]int{}}
	l.address = protocol.Address{Hosts: []protocol.Host{{Name: "127.0.0.1:1"}}, Fingerprint: protocol.FingerprintOf(static.PublicKey())}
	return l, nil
}

// clone is the same relay, with the same queues, at the beginning of a schedule.
func (l *liar) clone(seed uint64) *liar {
	c := &liar{static: l.static, ek: l.ek, address: l.address, rng: mrand.New(mrand.NewPCG(seed, 3)), given: maps.Clone(l.given), counts: map[string]int{}}
	for _, q := range l.queues {
		n := *q
		n.mail, n.all = slices.Clone(q.mail), slices.Clone(q.all)
		c.queues = append(c.queues, &n)
	}
	return c
}

// start and stop are for one bubble.
func (l *liar) start() {
	l.conns = make(chan net.Conn)
	l.server = &http.Server{Handler: l}
	go l.server.Serve(l)
}

func (l *liar) stop() { l.server.Close() }

// Accept, Close and Addr make it a net.Listener.
func (l *liar) Accept() (net.Conn, error) {
	c, ok := <-l.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (l *liar) Close() error   { close(l.conns); return nil }
func (l *liar) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

func (l *liar) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case l.conns <- far:
		return near, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// lies tells whether it lies now, and notes how.
func (l *liar) lies(kind string) bool {
	if l.rng.IntN(100) >= l.rate {
		return false
	}
	l.note(kind)
	return true
}

func (l *liar) note(kind string) {
	l.counts[kind]++
	l.trace = append(l.trace, kind)
}

func (l *liar) wrong(format string, a ...any) {
	if l.err == nil {
		l.err = fmt.Errorf(format, a...)
	}
}

func (l *liar) find(f func(*liarQueue) bool) *liarQueue {
	for _, q := range l.queues {
		if f(q) && !q.gone {
			return q
		}
	}
	return nil
}

// liarSession is one connection.
type liarSession struct {
	*liar
	ws   *websocket.Conn
	link *protocol.Link
	subs map[uint16]*liarSub
	out  []byte

	// A writer of its own reads nothing: a relay that waits for its answer to be read
	// before it reads on could wait for ever.
	frame chan func() error
	done  chan struct{}
}

type liarSub struct {
	queue *liarQueue
	given map[uint64]bool // to be acknowledged
}

func (l *liar) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	up := websocket.Upgrader{Subprotocols: []string{protocol.Subprotocol}}
	ws, err := up.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer ws.Close()
	s := &liarSession{liar: l, ws: ws, subs: map[uint16]*liarSub{}, frame: make(chan func() error, 1<<13), done: make(chan struct{})}
	go s.writer()
	defer func() {
		close(s.frame)
		<-s.done
	}()
	if s.handshake() != nil {
		return
	}
	for {
		kind, b, err := ws.ReadMessage()
		if err != nil || kind != websocket.BinaryMessage || s.frames(b) != nil {
			return
		}
	}
}

func (s *liarSession) handshake() error {
	re, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	h := &protocol.Hello{Versions: []byte{1}, RS: s.static.PublicKey(), RE: re.PublicKey(), RA: re.PublicKey(), EK: s.ek.EncapsulationKey(),
		Limits: protocol.Limits{Epoch: time.Hour, MaxTTL: 336, Durable: true, Window: protocol.Window}}
	hello := s.hello(h)
	if err := s.ws.WriteMessage(websocket.BinaryMessage, hello); err != nil {
		return err
	}
	_, b, err := s.ws.ReadMessage()
	if err != nil {
		return err
	}
	if len(b) < protocol.ClientHello {
		return protocol.ErrMalformed
	}
	if s.link, err = protocol.Accept(hello, s.static, re, s.ek, b[:protocol.ClientHello]); err != nil {
		return err
	}
	return s.frames(b[protocol.ClientHello:])
}

// hello is the relay's first message, or a lie.
func (s *liarSession) hello(h *protocol.Hello) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rng.IntN(100) >= s.rate/4 {
		return h.Marshal()
	}
	switch s.rng.IntN(6) {
	case 0:
		s.note("hello: another relay's key")
		h.RS = h.RE
	case 1:
		s.note("hello: no version of ours")
		h.Versions = []byte{2, 9}
	case 2:
		s.note("hello: in memory alone")
		h.Limits.Durable = false
	case 3:
		s.note("hello: an epoch of 136 years")
		h.Limits.Epoch = (1<<32 - 1) * time.Second
	case 4:
		s.note("hello: garbage")
		b := h.Marshal()
		b[s.rng.IntN(len(b))] ^= 0x40
		return b
	default:
		s.note("hello: lives of an epoch")
		h.Limits.MaxTTL = 1
	}
	return h.Marshal()
}

func (s *liarSession) frames(b []byte) error {
	r := bytes.NewReader(b)
	for r.Len() > 0 {
		class, _ := r.ReadByte()
		n, err := protocol.SealedSize(class)
		if err != nil {
			return err
		}
		sealed := make([]byte, n)
		if _, err := io.ReadFull(r, sealed); err != nil {
			return err
		}
		f, err := s.link.Open(class, sealed)
		if err != nil {
			return err
		}
		cmd, err := protocol.ParseCommand(f)
		if err != nil {
			return err
		}
		if err := s.command(cmd); err != nil {
			return err
		}
	}
	return nil
}

func (s *liarSession) write(a protocol.Answer) {
	s.out = s.link.Seal(s.out, a.Type(), a.Body())
}

// writer sends what was written, until that fails.
func (s *liarSession) writer() {
	defer close(s.done)
	for write := range s.frame {
		if write() != nil {
			s.ws.Close() // the reader ends too
		}
	}
}

// flush has the writer send what was written, a frame a message.
func (s *liarSession) flush() {
	for b := s.out; len(b) > 0; {
		n, _ := protocol.SealedSize(b[0])
		frame := b[:1+n]
		s.frame <- func() error { return s.ws.WriteMessage(websocket.BinaryMessage, frame) }
		b = b[1+n:]
	}
	s.out = nil
}
