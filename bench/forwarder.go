package main

import (
	"crypto/ecdh"
	"crypto/mlkem"
	"crypto/rand"
	"encoding/binary"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/sys/unix"

	"kin/protocol"
)

// forwarder passes an envelope from a pair's sender to its receiver and says OK. It
// keeps no queue and checks nothing. "bare" moves frames of Kin's sizes in the
// clear; "aead" has Kin's link; "append" also appends each envelope to a file, with
// one write and one fdatasync for all that wait, before it passes on and says OK.
type forwarder struct {
	kind string
	rs   *ecdh.PrivateKey
	log  *log

	mu    sync.Mutex
	ends  map[uint64]*end // receivers, by pair
	dk    *mlkem.DecapsulationKey768
	upgra websocket.Upgrader
}

func newForwarder(kind, dir string) (*forwarder, error) {
	rs, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	dk, err := mlkem.GenerateKey768()
	if err != nil {
		return nil, err
	}
	f := &forwarder{kind: kind, rs: rs, dk: dk, ends: map[uint64]*end{}, upgra: websocket.Upgrader{
		ReadBufferSize: 512, WriteBufferSize: 4096, WriteBufferPool: &sync.Pool{}, CheckOrigin: func(*http.Request) bool { return true }}}
	if kind == "append" {
		if f.log, err = newLog(dir); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// framer seals and opens frames; protocol.Link is one.
type framer interface {
	Seal(dst []byte, t protocol.Type, parts ...[]byte) []byte
	Open(class byte, sealed []byte) (protocol.Frame, error)
}

// clear lays frames out as the link does, and seals nothing.
type clear struct{}

var sizes = [...]int{protocol.SmallFrame, protocol.MessageFrame, protocol.ChunkFrame}

func (clear) Seal(dst []byte, t protocol.Type, parts ...[]byte) []byte {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	class := 0
	for n+5 > sizes[class] {
		class++
	}
	at := len(dst)
	dst = append(dst, make([]byte, 1+sizes[class]+16)...)
	b := dst[at:]
	b[0], b[1] = byte(class), byte(t)
	binary.BigEndian.PutUint32(b[2:], uint32(n))
	b = b[6:]
	for _, p := range parts {
		b = b[copy(b, p):]
	}
	return dst
}

func (clear) Open(class byte, b []byte) (protocol.Frame, error) {
	n := binary.BigEndian.Uint32(b[1:])
	return protocol.Frame{Type: protocol.Type(b[0]), Body: b[5 : 5+n]}, nil
}

// end is a connection; its writer runs while there is something to write.
type end struct {
	ws   *websocket.Conn
	link framer

	mu      sync.Mutex
	room    *sync.Cond
	out     []byte
	writing bool
}

func (e *end) send(t protocol.Type, parts ...[]byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for len(e.out) > 128<<10 {
		e.room.Wait()
	}
	e.out = e.link.Seal(e.out, t, parts...)
	if !e.writing {
		e.writing = true
		go e.write()
	}
}

func (e *end) write() {
	var spare []byte
	for {
		e.mu.Lock()
		b := e.out
		if len(b) == 0 {
			e.writing = false
			e.mu.Unlock()
			return
		}
		e.out = spare[:0]
		e.room.Broadcast()
		e.mu.Unlock()
		for rest := b; len(rest) > 0; {
			n := whole(rest)
			if e.ws.WriteMessage(websocket.BinaryMessage, rest[:n]) != nil {
				return
			}
			rest = rest[n:]
		}
		spare = b
	}
}

// whole is how many bytes of whole frames one websocket message takes.
func whole(b []byte) (n int) {
	for n < len(b) {
		size := 1 + sizes[b[n]] + 16
		if n > 0 && n+size > protocol.MaxWireMessage {
			break
		}
		n += size
	}
	return n
}

func (f *forwarder) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	ws, err := f.upgra.Upgrade(w, q, nil)
	if err != nil {
		return
	}
	go f.run(ws)
}

func (f *forwarder) run(ws *websocket.Conn) {
	defer ws.Close()
	e := &end{ws: ws, link: clear{}}
	e.room = sync.NewCond(&e.mu)
	re, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return
	}
	hello := (&protocol.Hello{Versions: []byte{1}, RS: f.rs.PublicKey(), RE: re.PublicKey(), RA: re.PublicKey(), EK: f.dk.EncapsulationKey(),
		Limits: protocol.Limits{Epoch: time.Hour, MaxTTL: 336, Durable: true, Window: protocol.Window}}).Marshal()
	if ws.WriteMessage(websocket.BinaryMessage, hello) != nil {
		return
	}
	_, answer, err := ws.ReadMessage()
	if err != nil {
		return
	}
	if f.kind != "bare" {
		if e.link, err = protocol.Accept(hello, f.rs, re, f.dk, answer); err != nil {
			return
		}
	}
	var to *end
	var buffers [3][]byte
	for i, size := range sizes {
		buffers[i] = make([]byte, size+16)
	}
	for {
		_, r, err := ws.NextReader()
		if err != nil {
			return
		}
		for {
			var class [1]byte
			if _, err := io.ReadFull(r, class[:]); err != nil {
				break
			}
			b := buffers[class[0]]
			if _, err := io.ReadFull(r, b); err != nil {
				return
			}
			frame, err := e.link.Open(class[0], b)
			if err != nil {
				return
			}
			switch frame.Type {
			case protocol.TypeSub: // this is a pair's receiver
				f.mu.Lock()
				f.ends[binary.BigEndian.Uint64(frame.Body)] = e
				f.mu.Unlock()
				e.send(protocol.TypeSubbed, frame.Body)
			case protocol.TypeFirst: // and this its sender
				f.mu.Lock()
				to = f.ends[binary.BigEndian.Uint64(frame.Body)]
				f.mu.Unlock()
				e.send(protocol.TypeOK, frame.Body[:8])
			case protocol.TypePut:
				f.pass(e, to, frame.Body)
			}
		}
	}
}

// pass takes a PUT's body as Kin lays it out: corr, ids, proof, envelope.
func (f *forwarder) pass(e, to *end, put []byte) {
	var corr [8]byte
	copy(corr[:], put[16:24])
	envelope := put[len(put)-protocol.EnvelopeSize:]
	done := func(envelope []byte) {
		to.send(protocol.TypeMsg, make([]byte, 11), envelope)
		e.send(protocol.TypeOK, corr[:])
	}
	if f.log == nil {
		done(envelope)
		return
	}
	own := append([]byte(nil), envelope...)
	f.log.append(own, func() { done(own) })
}

// log is a group-committed append: what waits is written at once and synced once.
// Its three files of 64 MiB grow by 4 MiB of zeros, and are then used again in turn,
// as Kin's are when their envelopes are gone.
type log struct {
	dir string

	mu   sync.Mutex
	wake *sync.Cond
	data [][]byte
	done []func()
}

// segment is one of the log's files.
type segment struct {
	f    *os.File
	size int64
}

func newLog(dir string) (*log, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	l := &log{dir: dir}
	l.wake = sync.NewCond(&l.mu)
	go l.write()
	return l, nil
}

func (l *log) append(b []byte, done func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.data, l.done = append(l.data, b), append(l.done, done)
	l.wake.Signal()
}

func (l *log) write() {
	const limit, step = 64 << 20, 4 << 20
	var files [3]segment
	var buf []byte
	var end int64
	g := &files[0]
	zeros := make([]byte, step)
	for turn := 0; ; {
		l.mu.Lock()
		for len(l.data) == 0 {
			l.wake.Wait()
		}
		data, done := l.data, l.done
		l.data, l.done = nil, nil
		l.mu.Unlock()
		buf = buf[:0]
		for _, d := range data {
			buf = append(buf, d...)
		}
		if g.f == nil || end+int64(len(buf)) > limit {
			turn++
			g, end = &files[turn%len(files)], 0
			if g.f == nil {
				var err error
				if g.f, err = os.Create(filepath.Join(l.dir, strconv.Itoa(turn))); err != nil {
					panic(err)
				}
			}
		}
		for g.size < end+int64(len(buf)) {
			if _, err := g.f.WriteAt(zeros, g.size); err != nil {
				panic(err)
			}
			g.size += step
		}
		if _, err := g.f.WriteAt(buf, end); err != nil {
			panic(err)
		}
		end += int64(len(buf))
		if err := unix.Fdatasync(int(g.f.Fd())); err != nil {
			panic(err)
		}
		for _, d := range done {
			d()
		}
	}
}
