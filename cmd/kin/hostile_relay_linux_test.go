package main

import (
	"crypto/ecdh"
	"crypto/mlkem"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"kin/protocol"
)

// listening serves on loopback until the test ends.
func listening(t *testing.T, serve func(net.Listener)) (host string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go serve(l)
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

// falseRelay has a relay's keys, and answers as it likes.
type falseRelay struct {
	static *ecdh.PrivateKey
	answer func(protocol.Command, protocol.Corr) []protocol.Answer
	last   func(*websocket.Conn) // in place of answers
	hello  func([]byte) []byte
}

func (r *falseRelay) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	ws, err := (&websocket.Upgrader{Subprotocols: []string{protocol.Subprotocol}}).Upgrade(w, req, nil)
	if err != nil {
		return
	}
	defer ws.Close()
	re, ra := newPrivate(), newPrivate()
	dk, err := mlkem.GenerateKey768()
	if err != nil {
		panic(err)
	}
	h := &protocol.Hello{Versions: []byte{1}, RS: r.static.PublicKey(), RE: re.PublicKey(), RA: ra.PublicKey(), EK: dk.EncapsulationKey(),
		Limits: protocol.Limits{Epoch: time.Hour, MaxTTL: 336, Durable: true, Window: 16}}
	hello := h.Marshal()
	if r.hello != nil {
		hello = r.hello(hello)
	}
	ws.WriteMessage(websocket.BinaryMessage, hello)
	_, b, err := ws.ReadMessage()
	if err != nil {
		return
	}
	link, err := protocol.Accept(hello, r.static, re, dk, b[:min(len(b), protocol.ClientHello)])
	if err != nil {
		return
	}
	for {
		_, b, err := ws.ReadMessage()
		for err == nil && len(b) > 0 {
			var n int
			if n, err = protocol.SealedSize(b[0]); err != nil {
				break
			}
			var f protocol.Frame
			if f, err = link.Open(b[0], b[1:1+n]); err != nil {
				break
			}
			b = b[1+n:]
			if r.last != nil {
				r.last(ws)
				return
			}
			c, perr := protocol.ParseCommand(f)
			if perr != nil || f.Type == protocol.TypeAck {
				continue
			}
			for _, a := range r.answer(c, protocol.Corr(f.Body)) {
				ws.WriteMessage(websocket.BinaryMessage, link.Seal(nil, a.Type(), a.Body()))
			}
		}
		if err != nil {
			return
		}
	}
}

func (r *falseRelay) address(t *testing.T) string {
	host := listening(t, func(l net.Listener) { (&http.Server{Handler: r}).Serve(l) })
	return protocol.Address{Hosts: []protocol.Host{{Name: host}}, Fingerprint: protocol.FingerprintOf(r.static.PublicKey())}.String()
}

// What a relay, or whatever answers in its place, may say: no byte of it reaches the
// terminal, and every command ends with the right code.
func TestHostileRelay(t *testing.T) {
	s := newTheatre(t)
	ways := s.ways()
	cases := 0
	try := func(code int, relay string, what string) {
		t.Helper()
		s.profile = s.path(fmt.Sprintf("none%d", cases))
		s.judge(act{args: []string{"init", "--name", what, "--relay", relay, "--grant", s.grant, "--passphrase-file", s.path("pass")}, code: code}, ways[cases%len(ways)])
		cases++
	}
	fingerprint := s.address.Fingerprint.String()
	const evil = "\x1b]0;owned\x07\x1b[2J\u202e\u009b31m"
	// Before the link.
	for _, raw := range []string{"", evil, "HTTP/1.1 " + evil + "\r\n\r\n", "HTTP/1.1 200 " + evil + "\r\nContent-Length: 3\r\n\r\nabc",
		"HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:1/" + evil + "\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: " + evil + "\r\n\r\n",
		"HTTP/1.1 407 " + evil + "\r\nProxy-Authenticate: Basic realm=\"" + evil + "\"\r\n\r\n", "HTTP/9.9 999\r\n\r\n", strings.Repeat("A", 1<<20)} {
		host := listening(t, func(l net.Listener) {
			for c, err := l.Accept(); err == nil; c, err = l.Accept() {
				go func() {
					c.Read(make([]byte, 4096))
					c.Write([]byte(raw))
					c.Close()
				}()
			}
		})
		try(3, "ws://"+host+"#"+fingerprint, "raw")
	}
	// The hello.
	for _, mangle := range []func([]byte) []byte{
		func(b []byte) []byte { return nil }, func(b []byte) []byte { return b[:len(b)-1] }, func(b []byte) []byte { return append(b, 0) },
		func(b []byte) []byte { b[0] = 9; return b }, func(b []byte) []byte { return []byte(evil) },
		func(b []byte) []byte { copy(b[len(b)-8:], make([]byte, 8)); return b }, func(b []byte) []byte { clear(b[2+32 : 2+64]); return b },
	} {
		try(3, (&falseRelay{static: newPrivate(), hello: mangle}).address(t), "hello")
	}
	other := &falseRelay{static: newPrivate()}
	front, _, _ := strings.Cut(other.address(t), "#")
	try(1, front+"#"+fingerprint, "another key")
	try(1, (&falseRelay{static: newPrivate(), hello: func(b []byte) []byte { b[1] = 7; return b }}).address(t), "another version")
	// Behind the link: refusals of every code, answers to other questions, close reasons.
	for _, wait := range []uint32{0, 1<<32 - 1} {
		for _, code := range []protocol.Code{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 255, 65535} {
			want := 7
			if code.Temporary() {
				want = 3
			}
			r := &falseRelay{static: newPrivate(), answer: func(_ protocol.Command, n protocol.Corr) []protocol.Answer {
				return []protocol.Answer{&protocol.Error{Corr: n.Number(), Code: code, Wait: wait}}
			}}
			try(want, r.address(t), "code")
		}
	}
	for _, code := range []int{1000, 1002, 1008, 4999} {
		r := &falseRelay{static: newPrivate(), last: func(ws *websocket.Conn) {
			ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, evil), time.Now().Add(time.Minute))
		}}
		try(3, r.address(t), "close")
	}
	for _, frame := range [][]byte{{}, {0}, {3}, []byte(evil), make([]byte, 273), make([]byte, 1<<17)} {
		r := &falseRelay{static: newPrivate(), last: func(ws *websocket.Conn) { ws.WriteMessage(websocket.BinaryMessage, frame) }}
		try(3, r.address(t), "frame")
	}
	// A profile of such a relay: wrong answers to each question of an invite and a look.
	// An answer of another command's is none; what is asked for too much ends the link.
	wrong := atomic.Int32{}
	answers := []func(n uint64) []protocol.Answer{
		func(n uint64) []protocol.Answer { return []protocol.Answer{&protocol.OK{Corr: n}} },
		func(n uint64) []protocol.Answer {
			return []protocol.Answer{&protocol.Blob{Corr: n, Blob: make([]byte, 4096)}}
		},
		func(n uint64) []protocol.Answer { return []protocol.Answer{&protocol.Subbed{Corr: n}} },
		func(n uint64) []protocol.Answer {
			return []protocol.Answer{&protocol.Msg{Envelope: make([]byte, 4096)}, &protocol.Tried{Handle: 9, Invite: 200}, &protocol.OK{Corr: n}}
		},
	}
	r := &falseRelay{static: newPrivate(), answer: func(c protocol.Command, n protocol.Corr) []protocol.Answer {
		if c.Type() == protocol.TypeIssue {
			return []protocol.Answer{&protocol.Issued{Corr: n.Number()}}
		}
		return answers[wrong.Load()](n.Number())
	}}
	s.newProfile("duped", "init", "--name", "Duped", "--relay", r.address(t), "--grant", s.grant)
	for i := range answers {
		wrong.Store(int32(i))
		s.judge(act{args: []string{"invite", "--for", "K7"}, code: 3}, ways[i%len(ways)])
		s.judge(act{args: []string{"invite", "list"}}, ways[i%len(ways)])
		s.judge(act{args: []string{"contacts"}}, ways[i%len(ways)])
		cases++
	}
	s.count(cases, 1)
}

// A contact must not choose where the device connects to: a flight that names another
// relay is set aside, and the invite's relay is reached by the addresses that the
// profile has itself.
func TestGuestDoesNotChooseWhereTheHostConnects(t *testing.T) {
	s := newTheatre(t)
	f := s.friend("Friend")
	var calls atomic.Int32
	trap := listening(t, func(l net.Listener) {
		for c, err := l.Accept(); err == nil; c, err = l.Accept() {
			calls.Add(1)
			c.Close()
		}
	})
	e := dialRelay(t, s.address)
	b, reply := e.open(s.must("invite", "--for", "Enemy"))
	rest := reply.bytes[1+len(e.address()):] // sender id, claim, envelope key
	foreign := append(address(protocol.Fingerprint{7}, 1, trap), rest...)
	ours := append(address(s.address.Fingerprint, 1, trap, trap), rest...)
	queues := func(n byte, ds ...[]byte) item {
		i := item{itemQueues, []byte{n}}
		for _, d := range ds {
			i.bytes = append(i.bytes, d...)
		}
		return i
	}
	flights := 0
	for _, i := range []item{queues(1, foreign), queues(0), queues(255, foreign), queues(2, foreign), {itemQueues, nil},
		queues(1, append(address(s.address.Fingerprint, 1, "relay.example.org"), rest...)),
		queues(1, append(address(s.address.Fingerprint, 1, trap), append(append([]byte{}, rest[:56]...), make([]byte, 32)...)...))} {
		e.flight(b, e.letter(kindFirst, i))
		e.session, e.prev = nil, [32]byte{}
		flights++
	}
	s.must("sync")
	s.judge(act{args: []string{"send", "Enemy", "not yet"}, code: 1}, way{})
	e.flight(b, e.letter(kindFirst, queues(2, foreign, ours)))
	e.text("a question")
	s.honest(f, "honest, behind all of it")
	for _, w := range s.ways() {
		s.judge(act{args: []string{"receive"}, asks: []question{{pager, []string{""}}}}, w)
		s.judge(act{args: []string{"send", "Enemy", "an answer"}}, w)
		s.judge(act{args: []string{"sync"}}, w)
	}
	t.Logf("%d first flights set aside, one taken, %d runs: %d connections to the enemy's host", flights, s.runs, calls.Load())
	if n := calls.Load(); n != 0 {
		t.Errorf("%d connections to where a guest wants them", n)
	}
}
