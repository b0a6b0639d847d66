package relay

import (
	"container/list"
	"crypto/ecdh"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/time/rate"

	"kin/internal/random"
	"kin/internal/scrub"
	"kin/internal/turns"
	"kin/protocol"
)

// Tuning of a session.
const (
	maxProofKeys = 128      // kept for a connection
	maxWaiting   = 1024     // goroutines that wait for bytes, before connections do so in the lot
	outLimit     = 32 << 10 // sealed bytes that wait for the writer; above, the reader waits and no MSG is added
	freeRate     = 20       // commands a second without a queue's key
	freeBurst    = 100
	idleBurst    = 32 // commands that store and erase nothing, before they are slowed to freeRate
	chunksAtOnce = 64 // frames of a chunk that come in at once, on all connections
)

// session is one connection. Its reader runs from the beginning to the end, in one
// goroutine after another, and in none while it waits in the lot; a writer runs only
// while there is something to write.
type session struct {
	// Static.
	relay  *Relay
	ws     *websocket.Conn
	wire   *wire // below ws; nil for TLS
	prefix prefix
	minute *minute
	ping   *time.Timer

	// Owned by the reader.
	link      *protocol.Link
	linked    bool
	number    uint64     // of the last command
	proofKeys []proofKey // a slice: a connection has one, and a map's first takes 400 bytes
	free      *rate.Limiter
	idle      *rate.Limiter
	useful    bool // the last command stored or erased something

	heard atomic.Int64 // the other side, by the relay's clock

	// Guarded by Relay.mu.
	rank     int
	at       *list.Element // among those of its rank; nil if it has made way or is proven
	unlinked bool          // it counts among those without a link

	mu      sync.Mutex // guards what follows
	room    *sync.Cond
	out     []byte // sealed frames for the writer
	writing bool
	closed  bool
	subs    map[uint16]*subscription
	last    uint16 // handle
}

// proofKey is what proofs under a queue's key are checked with.
type proofKey struct {
	of     [32]byte // the queue's key
	shared protocol.ProofKey
}

func newSession(r *Relay, ws *websocket.Conn, w *wire, p prefix) *session {
	s := &session{relay: r, ws: ws, wire: w, prefix: p, unlinked: true, subs: map[uint16]*subscription{}}
	s.room = sync.NewCond(&s.mu)
	return s
}

// run is the reader.
func (s *session) run() {
	err := s.begin()
	if err == nil && s.wire.more() {
		err = s.message() // most have one thing to say
	}
	s.goOn(err)
}

// goOn carries out what is here, and then waits for more, or ends the session.
func (s *session) goOn(err error) {
	for err == nil && s.wire.more() {
		if err = s.turn(s.relay.much); err == nil {
			err = s.message()
		}
	}
	if err == nil && s.wire == nil {
		err = s.turn(s.relay.much) // it can't tell whether more is here
	}
	if err == nil {
		s.rest(s.relay.waiting.Load() >= s.relay.mostWait)
		return
	}
	defer s.relay.work.Done()
	var closed *websocket.CloseError
	if !errors.As(err, &closed) && !errors.Is(err, io.EOF) {
		s.relay.cfg.Log.Debug("a connection ended", "linked", s.linked, "malformed", errors.Is(err, protocol.ErrMalformed) || errors.Is(err, protocol.ErrSeal))
	}
	s.end()
}

// rest has the session wait for bytes: in the lot, or in a new goroutine. Most
// connections wait most of the time; a goroutine that has only waited keeps a small
// stack, and in the lot there is none.
func (s *session) rest(inLot bool) {
	if !inLot || !s.relay.lot.park(s) {
		go s.wait()
	}
}

// wait waits for bytes and carries out what they say.
func (s *session) wait() {
	s.relay.waiting.Add(1)
	err := s.wire.await()
	s.relay.waiting.Add(-1)
	if err == nil && s.wire.pongs() {
		s.hear()
		s.rest(true) // it has nothing to say
		return
	}
	if err == nil {
		err = s.message()
	}
	s.goOn(err)
}

// message carries out one websocket message.
func (s *session) message() error {
	r, err := s.next()
	if err != nil {
		return err
	}
	s.hear()
	return s.frames(r)
}

// hangUp ends the connection for its reader, which then ends the session, whatever was
// sent before.
func (s *session) hangUp() {
	s.mu.Lock()
	s.closed = true
	s.room.Broadcast()
	s.mu.Unlock()
	if s.wire != nil {
		s.wire.hangUp()
		return
	}
	s.socket().Close() // TLS would say goodbye, for which it could have to wait
}

// socket is the connection below TLS.
func (s *session) socket() net.Conn {
	c := s.ws.NetConn()
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	return c
}

// end frees everybody who waits for this session.
func (s *session) end() {
	s.ws.Close()
	s.wire.drop()
	s.mu.Lock()
	s.closed = true
	s.room.Broadcast()
	if s.ping != nil {
		s.ping.Stop()
	}
	subs := s.subs
	s.subs = nil
	s.mu.Unlock()
	for _, sub := range subs {
		s.relay.unsubscribe(sub)
	}
	s.relay.mu.Lock()
	delete(s.relay.sessions, s)
	s.relay.rank(s, proven)
	if !s.linked && s.minute != nil {
		s.minute.ek.release()
	}
	s.relay.discount(s)
	s.relay.mu.Unlock()
}

// goAway tells the client that the relay stops.
func (s *session) goAway() {
	s.mu.Lock()
	for s.writing && !s.closed {
		s.room.Wait()
	}
	s.mu.Unlock()
	s.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseGoingAway, ""), time.Now().Add(writeWait))
}

// begin brings the link up, and carries out what came with the client's half.
func (s *session) begin() error {
	s.ws.SetReadLimit(protocol.MaxWireMessage)
	var err error
	if s.minute, err = s.relay.current(); err != nil {
		return err
	}
	if err := s.turn(s.relay.door); err != nil {
		return err
	}
	hello, re, err := s.relay.hello(s.minute)
	if err != nil {
		return err
	}
	s.ws.SetWriteDeadline(time.Now().Add(writeWait))
	if err := s.ws.WriteMessage(websocket.BinaryMessage, hello); err != nil {
		return err
	}
	s.ws.SetReadDeadline(time.Now().Add(linkWait))
	r, err := s.next()
	if err != nil {
		return err
	}
	if err := s.accept(r, hello, re); err != nil {
		return err
	}
	s.ws.SetReadDeadline(time.Time{}) // from here on, pings tell whether the other side is there
	s.ws.SetPongHandler(func(string) error { s.hear(); return nil })
	s.mu.Lock()
	s.hear()
	s.ping = time.AfterFunc(pingAfter(), s.sendPing)
	s.mu.Unlock()
	s.free, s.idle = rate.NewLimiter(freeRate, freeBurst), rate.NewLimiter(freeRate, idleBurst)
	return s.frames(r)
}

// turn waits for a turn. It is an error if the connection was hung up meanwhile.
func (s *session) turn(at *turns.Turns) error {
	if _, ok := s.socket().(syscall.Conn); !ok {
		return nil // a simulation's, of which the poller knows nothing
	}
	at.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	return nil
}

func pingAfter() time.Duration { return pingEvery - pingSpread/2 + random.Below(pingSpread) }

// hear notes that the other side is there.
func (s *session) hear() { s.heard.Store(int64(time.Since(s.relay.opened))) }

func (s *session) sendPing() {
	left := deadAfter - time.Since(s.relay.opened) + time.Duration(s.heard.Load())
	if left <= 0 || s.ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(writeWait)) != nil {
		s.hangUp()
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.ping.Reset(min(pingAfter(), left))
	}
}

// next waits for a websocket message.
func (s *session) next() (io.Reader, error) {
	kind, r, err := s.ws.NextReader()
	if err == nil && kind != websocket.BinaryMessage {
		err = protocol.ErrMalformed
	}
	return r, err
}

// accept reads the client's half of the link.
func (s *session) accept(r io.Reader, hello []byte, re *ecdh.PrivateKey) error {
	answer := make([]byte, protocol.ClientHello)
	if _, err := io.ReadFull(r, answer); err != nil {
		return err
	}
	if err := s.turn(s.relay.door); err != nil {
		return err
	}
	link, err := protocol.Accept(hello, s.relay.store.static, re, s.minute.ek.dk, answer)
	if err != nil {
		return err
	}
	s.link, s.linked = link, true
	s.relay.linkUp(s)
	return nil
}

// buffers of sealed frames, by class.
var buffers = [3]sync.Pool{}

// frames takes the frames of one websocket message.
func (s *session) frames(r io.Reader) error {
	scrub.Stack()
	defer scrub.Stack()
	for {
		var class [1]byte
		if _, err := io.ReadFull(r, class[:]); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if err := s.frame(r, class[0]); err != nil {
			return err
		}
		if err := s.throttle(); err != nil {
			return err
		}
		if !s.useful {
			time.Sleep(s.idle.Reserve().Delay())
		}
	}
}

// frame reads and carries out one frame.
func (s *session) frame(r io.Reader, class byte) error {
	size, err := protocol.SealedSize(class)
	if err != nil {
		return err
	}
	if size > protocol.MessageFrame+16 { // one that is slow holds a lot of memory
		s.relay.chunks <- struct{}{}
		defer func() { <-s.relay.chunks }()
		s.ws.SetReadDeadline(time.Now().Add(chunkWait))
		defer s.ws.SetReadDeadline(time.Time{})
	}
	b, _ := buffers[class].Get().(*[]byte)
	if b == nil {
		fresh := make([]byte, size)
		b = &fresh
	}
	defer func() { clear(*b); buffers[class].Put(b) }()
	if _, err := io.ReadFull(r, *b); err != nil {
		return err
	}
	f, err := s.link.Open(class, *b)
	if err != nil {
		return err
	}
	return s.command(f)
}

// command carries out one frame. An error ends the connection; a refusal is an
// answer.
func (s *session) command(f protocol.Frame) error {
	s.useful = false
	cmd, err := protocol.ParseCommand(f)
	var unknown protocol.ErrUnknownType
	if errors.As(err, &unknown) {
		if err := s.count(unknown.Corr); err != nil {
			return err
		}
		s.refuse(unknown.Corr, protocol.CodeNotBuilt, 0)
		return nil
	}
	if err != nil {
		return err
	}
	defer forget(cmd)
	switch c := cmd.(type) {
	case *protocol.Ack:
		s.ack(c)
		return nil
	case *protocol.Issue:
		return s.numbered(c.Corr, true, func() { s.issue(c) })
	case *protocol.New:
		return s.numbered(c.Corr, true, func() { s.newQueue(c) })
	case *protocol.Offer:
		return s.numbered(c.Corr, true, func() { s.offer(c) })
	case *protocol.Del:
		return s.numbered(c.Corr, true, func() { s.del(c) })
	case *protocol.Fetch:
		return s.numbered(c.Corr, true, func() { s.fetch(c) })
	case *protocol.First:
		return s.numbered(c.Corr, true, func() { s.first(c) })
	case *protocol.Put:
		return s.numbered(c.Corr, false, func() { s.put(c) })
	case *protocol.Cancel:
		return s.numbered(c.Corr, false, func() { s.cancel(c) })
	case *protocol.Sub:
		return s.numbered(c.Corr, false, func() { s.sub(c) })
	case *protocol.Unsub:
		return s.numbered(c.Corr, false, func() { s.unsub(c) })
	}
	return protocol.ErrMalformed
}

// numbered checks a command's number, and the pace of what takes no queue's key.
func (s *session) numbered(n protocol.Corr, paced bool, f func()) error {
	if err := s.count(n); err != nil {
		return err
	}
	if paced && !s.free.Allow() {
		s.refuse(n, protocol.CodeSlowDown, 5*time.Second)
		return nil
	}
	f()
	return nil
}

// count checks that a command's number is above the last.
func (s *session) count(n protocol.Corr) error {
	if n.Number() <= s.number {
		return protocol.ErrMalformed
	}
	s.number = n.Number()
	return nil
}

// proved checks a command's proof under a queue's key.
func (s *session) proved(key [32]byte, p protocol.Proof, n protocol.Corr, cmd protocol.Command) bool {
	i := slices.IndexFunc(s.proofKeys, func(k proofKey) bool { return k.of == key })
	if i < 0 {
		pub, err := protocol.ParsePublicKey(key[:])
		if err != nil {
			return false
		}
		k, err := protocol.NewProofKey(s.minute.ra, pub)
		if err != nil {
			return false
		}
		if len(s.proofKeys) >= maxProofKeys {
			s.proofKeys = s.proofKeys[:0]
		}
		i, s.proofKeys = len(s.proofKeys), append(s.proofKeys, proofKey{key, *k})
	}
	signed := cmd.SignedBytes()
	ok := s.proofKeys[i].shared.Verify(p, s.link.SID, n, signed)
	clear(signed)
	if ok && s.rank != proven {
		s.relay.known(s)
	}
	return ok
}
