//go:build linux

package sim

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

const (
	pieceSize = 1400
	inFlight  = 32 << 10 // bytes of one direction that the network takes in
)

// network is between the people and the relay.
type network struct {
	mu    sync.Mutex
	relay *listener // nil while nobody listens
	wires []*wire
}

// listener is what one life of the relay listens on.
type listener struct {
	conns chan net.Conn
	once  sync.Once
	ended chan struct{}
}

func newListener() *listener {
	return &listener{conns: make(chan net.Conn), ended: make(chan struct{})}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.ended:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error   { l.once.Do(func() { close(l.ended) }); return nil }
func (l *listener) Addr() net.Addr { return address }

var address = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}

// line is one person's way into the network.
type line struct {
	net    *network
	rng    *rand.Rand
	down   bool
	silent bool // what is sent vanishes, and nobody is told
	lag    time.Duration
	byte   time.Duration // that one takes
	fuse   int           // pieces until burnt is called
	burnt  func()
}

// piece is called before each that arrives.
func (l *line) piece() {
	l.net.mu.Lock()
	f := l.burnt
	if l.fuse--; l.fuse == 0 {
		l.burnt = nil
	} else {
		f = nil
	}
	l.net.mu.Unlock()
	if f != nil {
		f()
	}
}

var errDown = errors.New("no network")

// dial connects to the relay.
func (l *line) dial(ctx context.Context) (net.Conn, error) {
	l.net.mu.Lock()
	wait := l.lag + time.Duration(l.rng.Int64N(int64(l.lag)))
	seed := [2]uint64{l.rng.Uint64(), l.rng.Uint64()}
	l.net.mu.Unlock()
	if err := pause(ctx, wait); err != nil {
		return nil, err
	}
	l.net.mu.Lock()
	to, down, silent := l.net.relay, l.down, l.silent
	l.net.mu.Unlock()
	switch {
	case down:
		return nil, errDown
	case silent:
		<-ctx.Done()
		return nil, ctx.Err()
	case to == nil:
		return nil, syscall.ECONNREFUSED
	}
	w := &wire{line: l}
	w.moved = sync.NewCond(&w.mu)
	near, far := &end{wire: w, rng: rand.New(rand.NewPCG(seed[0], 0))}, &end{wire: w, rng: rand.New(rand.NewPCG(seed[1], 1))}
	near.peer, far.peer = far, near
	select {
	case to.conns <- far:
	case <-to.ended:
		return nil, syscall.ECONNREFUSED
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	l.net.mu.Lock()
	l.net.wires = append(l.net.wires, w)
	l.net.mu.Unlock()
	return near, nil
}

// cut resets the connections that pick says yes to.
func (n *network) cut(pick func(*wire) bool) {
	n.mu.Lock()
	var all []*wire
	n.wires = slices.DeleteFunc(n.wires, func(w *wire) bool {
		if pick(w) {
			all = append(all, w)
			return true
		}
		return false
	})
	n.mu.Unlock()
	for _, w := range all {
		w.mu.Lock()
		w.broken = true
		w.moved.Broadcast()
		w.mu.Unlock()
	}
}

func (l *line) cut() { l.net.cut(func(w *wire) bool { return w.line == l }) }

// set changes the line, with the network's lock.
func (l *line) set(f func()) {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	f()
}

// pace is what the line is like just now.
func (l *line) pace() (lag, perByte time.Duration, silent bool) {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	return l.lag, l.byte, l.silent
}

// pause sleeps unless the context ends first.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// wire is one connection. Its pieces arrive in order, each at its own nanosecond.
type wire struct {
	line *line

	mu     sync.Mutex // guards what follows, and both ends
	moved  *sync.Cond
	broken bool
	silent bool // for good: a connection does not come back from that
}

// end is one side of a wire.
type end struct {
	wire *wire
	peer *end
	rng  *rand.Rand // its own: who of two draws first at one moment is the scheduler's to say

	in      []byte // arrived
	ended   bool   // the other side closed, and all of it has arrived
	closed  bool
	flying  int       // bytes on their way to the other side
	arrives time.Time // the last of them

	readBy, writeBy   time.Time
	readEnd, writeEnd *time.Timer
}

func (e *end) state(deadline time.Time) error {
	switch {
	case e.closed:
		return net.ErrClosed
	case !deadline.IsZero() && !time.Now().Before(deadline):
		return os.ErrDeadlineExceeded
	case e.wire.broken:
		return syscall.ECONNRESET
	}
	return nil
}

func (e *end) Read(b []byte) (int, error) {
	e.wire.mu.Lock()
	defer e.wire.mu.Unlock()
	for {
		if err := e.state(e.readBy); err != nil {
			return 0, err
		}
		if len(e.in) > 0 {
			n := copy(b, e.in)
			e.in = e.in[n:]
			return n, nil
		}
		if e.ended {
			return 0, io.EOF
		}
		e.wire.moved.Wait()
	}
}

func (e *end) Write(b []byte) (n int, err error) {
	lag, perByte, silent := e.wire.line.pace()
	e.wire.mu.Lock()
	defer e.wire.mu.Unlock()
	e.wire.silent = e.wire.silent || silent
	for n < len(b) {
		if err := e.state(e.writeBy); err != nil {
			return n, err
		}
		if e.flying >= inFlight {
			e.wire.moved.Wait()
			continue
		}
		piece := slices.Clone(b[n:min(len(b), n+pieceSize)])
		n += len(piece)
		e.fly(len(piece), lag, perByte, func() { e.peer.in = append(e.peer.in, piece...) })
	}
	return n, nil
}

// fly has something arrive on the other side. mu is held.
func (e *end) fly(size int, lag, perByte time.Duration, arrive func()) {
	w := e.wire
	at := time.Now().Add(lag)
	if at.Before(e.arrives) {
		at = e.arrives
	}
	at = at.Add(time.Duration(size)*perByte + time.Duration(1+e.rng.Int64N(int64(50*time.Microsecond))))
	e.arrives = at
	e.flying += size
	time.AfterFunc(time.Until(at), func() {
		w.line.piece()
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.silent { // it fills the network, and nothing comes out
			return
		}
		e.flying -= size
		switch {
		case w.broken:
		case e.peer.closed:
			w.broken = true
		default:
			arrive()
		}
		w.moved.Broadcast()
	})
}

func (e *end) Close() error {
	lag, perByte, _ := e.wire.line.pace()
	e.wire.mu.Lock()
	defer e.wire.mu.Unlock()
	if e.closed {
		return net.ErrClosed
	}
	e.closed = true
	e.wire.moved.Broadcast()
	if !e.peer.closed {
		e.fly(0, lag, perByte, func() { e.peer.ended = true })
	}
	return nil
}

func (e *end) LocalAddr() net.Addr  { return address }
func (e *end) RemoteAddr() net.Addr { return address }

func (e *end) SetDeadline(t time.Time) error {
	e.SetReadDeadline(t)
	return e.SetWriteDeadline(t)
}

func (e *end) SetReadDeadline(t time.Time) error  { return e.deadline(t, &e.readBy, &e.readEnd) }
func (e *end) SetWriteDeadline(t time.Time) error { return e.deadline(t, &e.writeBy, &e.writeEnd) }

func (e *end) deadline(t time.Time, by *time.Time, timer **time.Timer) error {
	w := e.wire
	w.mu.Lock()
	defer w.mu.Unlock()
	*by = t
	if *timer != nil {
		(*timer).Stop()
		*timer = nil
	}
	if wait := time.Until(t); !t.IsZero() && wait > 0 {
		*timer = time.AfterFunc(wait, func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.moved.Broadcast()
		})
	}
	w.moved.Broadcast()
	return nil
}
