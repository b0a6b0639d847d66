package relay

import (
	"bufio"
	"net"
	"net/http"
	"sync"
	"syscall"
)

// wire is a TCP connection that takes all that has arrived in one read. It has a
// buffer only while bytes wait in it: most connections wait for bytes most of the
// time.
type wire struct {
	*net.TCPConn
	raw  syscall.RawConn
	buf  *[]byte
	rest []byte // of buf, not given out
	err  error
}

var wireBuffers = sync.Pool{New: func() any { b := make([]byte, 64<<10); return &b }}

// Read gives out what waits, or waits for more.
func (w *wire) Read(b []byte) (int, error) {
	if err := w.fill(true); err != nil {
		return 0, err
	}
	n := copy(b, w.rest)
	if w.rest = w.rest[n:]; len(w.rest) == 0 {
		wireBuffers.Put(w.buf)
		w.buf, w.rest = nil, nil
	}
	return n, nil
}

// more tells whether bytes are here, without waiting for them. A connection without
// a wire can't tell.
func (w *wire) more() bool { return w != nil && w.fill(false) == nil && len(w.rest) > 0 }

// await waits until bytes are here, on less stack than a read through the layers
// above it takes. A connection without a wire can't.
func (w *wire) await() error {
	if w == nil {
		return nil
	}
	return w.fill(true)
}

// fill reads if nothing waits. An error is for ever, but a deadline's.
func (w *wire) fill(wait bool) error {
	if len(w.rest) > 0 || w.err != nil {
		return w.err
	}
	err := w.raw.Read(func(fd uintptr) bool {
		b := wireBuffers.Get().(*[]byte)
		n, err := readRaw(fd, *b)
		if n > 0 {
			w.buf, w.rest = b, (*b)[:n]
			return true
		}
		wireBuffers.Put(b)
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

// onWire has an upgrade go on with a wire, where there can be one.
type onWire struct {
	http.ResponseWriter
	wire *wire
}

// Hijack takes the connection from the HTTP server.
func (o *onWire) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(o.ResponseWriter).Hijack()
	tcp, ok := c.(*net.TCPConn)
	if err != nil || !ok || !canReadRaw {
		return c, rw, err
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		c.Close()
		return nil, nil, err
	}
	o.wire = &wire{TCPConn: tcp, raw: raw}
	return o.wire, rw, nil
}
