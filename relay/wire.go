package relay

import (
	"bufio"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/gorilla/websocket"
)

// wire is a TCP connection that takes what has arrived in one read. It has a buffer
// only while bytes wait in it: most connections wait for bytes most of the time.
type wire struct {
	*net.TCPConn
	raw  syscall.RawConn
	br   *bufio.Reader // the websocket's, above it
	bare bool          // br has no buffer
	buf  *[]byte
	rest []byte // of buf, not given out
	full bool   // the last read filled its buffer
	err  error
}

// Buffers of wires. Who sends much is read with a large one, if one is left: those who
// send and have to wait can't make all memory theirs.
const (
	smallRead, largeRead = 8 << 10, 64 << 10
	largeReads           = 64
)

var (
	smallBuffers = sync.Pool{New: func() any { b := make([]byte, smallRead); return &b }}
	largeBuffers = sync.Pool{New: func() any { b := make([]byte, largeRead); return &b }}
	largeTaken   atomic.Int64
)

// take takes a buffer.
func (w *wire) take() *[]byte {
	if w.full {
		if largeTaken.Add(1) <= largeReads {
			return largeBuffers.Get().(*[]byte)
		}
		largeTaken.Add(-1)
	}
	return smallBuffers.Get().(*[]byte)
}

// give gives one back.
func give(b *[]byte) {
	if len(*b) == smallRead {
		smallBuffers.Put(b)
		return
	}
	largeBuffers.Put(b)
	largeTaken.Add(-1)
}

// Read gives out what waits, or waits for more.
func (w *wire) Read(b []byte) (int, error) {
	if err := w.fill(true); err != nil {
		return 0, err
	}
	n := copy(b, w.rest)
	if w.rest = w.rest[n:]; len(w.rest) == 0 {
		w.drop()
	}
	return n, nil
}

// drop forgets what waits.
func (w *wire) drop() {
	if w != nil && w.buf != nil {
		give(w.buf)
		w.buf, w.rest = nil, nil
	}
}

// more tells whether bytes are here, without waiting for them. A connection without
// a wire can't tell.
func (w *wire) more() bool {
	return w != nil && (w.br.Buffered() > 0 || w.fill(false) == nil && len(w.rest) > 0)
}

// await waits until bytes are here, on less stack than a read through the layers
// above it takes. A connection without a wire can't.
func (w *wire) await() error {
	if w == nil {
		return nil
	}
	return w.fill(true)
}

// pongs takes out the pongs that are here after await. It tells whether there was
// nothing else: the layers above would wait on for a message.
func (w *wire) pongs() bool {
	if w == nil {
		return false
	}
	before := len(w.rest)
	for len(w.rest) >= pongHead && w.rest[0] == pong && w.rest[1]&masked != 0 {
		n := pongHead + int(w.rest[1]&^masked)
		if n > pongHead+maxPong || n > len(w.rest) {
			break
		}
		w.rest = w.rest[n:]
	}
	if len(w.rest) > 0 || before == 0 {
		return false
	}
	w.drop()
	return true
}

// A client's pong (RFC 6455, section 5.2 and 5.5): FIN and opcode, mask bit and
// length, a mask of four bytes.
const (
	pong     = 0x80 | websocket.PongMessage
	masked   = 0x80
	pongHead = 2 + 4
	maxPong  = 125
)

// fill reads if nothing waits. An error is for ever, but a deadline's.
func (w *wire) fill(wait bool) error {
	if len(w.rest) > 0 || w.err != nil {
		return w.err
	}
	err := w.raw.Read(func(fd uintptr) bool {
		b := w.take()
		n, err := readRaw(fd, *b)
		if n > 0 {
			w.buf, w.rest, w.full = b, (*b)[:n], n == len(*b)
			return true
		}
		give(b)
		if err == errWouldBlock {
			return !wait
		}
		w.err = err
		return true
	})
	if err != nil {
		return err
	}
	return w.err
}

// readBuffer is a websocket's. It is only for heads: a wire has read all that is here.
// gorilla's Upgrader takes none that is smaller.
const readBuffer = 257

// Buffers of websockets, and what is left of a bufio.Reader without one.
var (
	heads  = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, readBuffer) }}
	shells = sync.Pool{New: func() any { return new(bufio.Reader) }}
)

// still gives the websocket's buffer away, if it is empty: nobody reads from the
// websocket before stir.
func (w *wire) still() {
	if w == nil || w.bare || w.br.Buffered() > 0 {
		return
	}
	b := shells.Get().(*bufio.Reader)
	*b, *w.br = *w.br, bufio.Reader{}
	heads.Put(b)
	w.bare = true
}

// stir takes a buffer for the websocket again.
func (w *wire) stir() {
	if w == nil || !w.bare {
		return
	}
	b := heads.Get().(*bufio.Reader)
	*w.br, *b = *b, bufio.Reader{}
	shells.Put(b)
	w.br.Reset(w)
	w.bare = false
}

// onWire has an upgrade go on with a wire, where there can be one, and a small buffer.
type onWire struct {
	http.ResponseWriter
	wire *wire
}

// Hijack takes the connection from the HTTP server.
func (o *onWire) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(o.ResponseWriter).Hijack()
	if err != nil || rw.Reader.Buffered() > 0 { // which an upgrade refuses
		return c, rw, err
	}
	if came, ok := belowTLS(c).(*comer); ok {
		if came.take(); c == net.Conn(came) {
			c = came.Conn
		}
	}
	if tcp, ok := c.(*net.TCPConn); ok && canReadRaw {
		raw, err := tcp.SyscallConn()
		if err != nil {
			c.Close()
			return nil, nil, err
		}
		o.wire = &wire{TCPConn: tcp, raw: raw}
		c = o.wire
	}
	rw.Reader = bufio.NewReaderSize(c, readBuffer)
	if o.wire != nil {
		o.wire.br = rw.Reader
	}
	return c, rw, nil
}
