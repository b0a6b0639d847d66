package relay

import (
	"container/list"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/time/rate"

	"kin/internal/random"
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
	paceWait     = 5 * time.Second // what comes faster is to wait for so long
	idleBurst    = 32              // commands that store and erase nothing, before they are slowed to freeRate
	chunksAtOnce = 64              // frames of a chunk that come in at once, on all connections
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
	number    uint64        // of the last command
	proofKeys []proofKey    // a slice: a connection has one, and a map's first takes 400 bytes
	free      *rate.Limiter // nil until it is asked: most never are
	idle      *rate.Limiter
	useful    bool   // the last command stored or erased something
	told      uint64 // of the spool's failures, when it was last looked whether something waits

	heard atomic.Int64 // the other side, by the relay's clock

	// Guarded by Relay.mu.
	rank     int
	by       [32]byte      // the key that it is proven by
	at       *list.Element // among those of its rank; nil if it has made way or is proven
	unlinked bool          // it counts among those without a link

	mu      sync.Mutex // guards what follows
	room    sync.Cond
	out     []byte // sealed frames for the writer
	writing bool
	closed  bool
	subs    []*subscription // by handle
	last    uint16          // handle

	refusals uint8 // of PUTs and FIRSTs, for a while; as protocol.Heard counts
	unheard  []unheard
}

func newSession(r *Relay, ws *websocket.Conn, w *wire, p prefix) *session {
	s := &session{relay: r, ws: ws, wire: w, prefix: p, unlinked: true}
	s.room.L = &s.mu
	s.hear()
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
	if inLot {
		s.wire.still()
	}
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
	s.wire.stir()
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

// socket is the system's connection.
func (s *session) socket() net.Conn {
	c := belowTLS(s.ws.NetConn())
	if came, ok := c.(*comer); ok {
		c = came.Conn
	}
	return c
}

// belowTLS is c, or what it is laid on if it is TLS.
func belowTLS(c net.Conn) net.Conn {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	return c
}

// end frees everybody who waits for this session. It counts as a connection until its
// writer, too, is gone.
func (s *session) end() {
	s.ws.Close()
	s.wire.drop()
	s.mu.Lock()
	s.closed = true
	s.room.Broadcast()
	for s.writing {
		s.room.Wait()
	}
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
	if s.relay.proofs[s.by]--; s.relay.proofs[s.by] <= 0 {
		delete(s.relay.proofs, s.by)
	}
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

// silent is for how long it was not.
func (s *session) silent() time.Duration {
	return time.Since(s.relay.opened) - time.Duration(s.heard.Load())
}

func (s *session) sendPing() {
	left := deadAfter - s.silent()
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
