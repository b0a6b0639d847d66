package relay

import (
	"net"
	"slices"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"kin/protocol"
	"kin/relay/spool"
)

// answer hands a frame to the writer.
func (s *session) answer(a protocol.Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.say(a)
}

// say is answer where mu is held.
func (s *session) say(a protocol.Answer) {
	if s.closed {
		return
	}
	body := a.Body()
	s.sealOut(a.Type(), body)
	clear(body) // it may hold ids
	s.startWriter()
}

// outBuffers are for sealed frames; a session that has nothing to write has none.
var outBuffers = sync.Pool{New: func() any { b := make([]byte, 0, outLimit+msgSize); return &b }}

// msgSize is a MSG on the wire.
const msgSize = 1 + protocol.MessageFrame + 16

// sealOut seals a frame for the writer. mu is held.
func (s *session) sealOut(t protocol.Type, parts ...[]byte) {
	if s.out == nil {
		s.out = *outBuffers.Get().(*[]byte)
	}
	s.out = s.link.Seal(s.out, t, parts...)
}

func (s *session) ok(n protocol.Corr) { s.answer(&protocol.OK{Corr: n.Number()}) }

func (s *session) refuse(n protocol.Corr, code protocol.Code, wait time.Duration) {
	s.answer(refusal(n, code, wait))
}

func refusal(n protocol.Corr, code protocol.Code, wait time.Duration) *protocol.Error {
	return &protocol.Error{Corr: n.Number(), Code: code, Wait: uint32((wait + time.Second - 1) / time.Second)}
}

// throttle has the reader wait while the writer has too much to write. It is an error
// if the connection was hung up.
func (s *session) throttle() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.out) > outLimit && !s.closed {
		s.room.Wait()
	}
	if s.closed {
		return net.ErrClosed
	}
	return nil
}

// wakeUp tells the session that a subscription may have something.
func (s *session) wakeUp(sub *subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed && sub.known {
		sub.dirty = true
		s.startWriter()
	}
}

// startWriter starts the writer if it does not run. mu is held.
func (s *session) startWriter() {
	if !s.writing {
		s.writing = true
		s.relay.work.Add(1)
		go s.write()
	}
}

// write writes what waits, then what the subscriptions have, until there is
// nothing: one coalesced write at a time.
func (s *session) write() {
	defer s.relay.work.Done()
	for {
		s.mu.Lock()
		for len(s.out) == 0 && !s.closed && slices.ContainsFunc(s.subs, mayHaveMore) { // again, if something came behind its back
			s.push()
		}
		if len(s.out) == 0 || s.closed {
			s.writing = false
			s.room.Broadcast()
			s.mu.Unlock()
			return
		}
		b := s.out
		s.out = nil
		s.room.Broadcast()
		s.mu.Unlock()
		s.ws.SetWriteDeadline(time.Now().Add(writeWait))
		for rest := b; len(rest) > 0; {
			n := wireMessage(rest)
			if s.ws.WriteMessage(websocket.BinaryMessage, rest[:n]) != nil {
				s.hangUp()
				s.mu.Lock()
				s.writing = false
				s.room.Broadcast()
				s.mu.Unlock()
				return
			}
			rest = rest[n:]
		}
		b = b[:0]
		outBuffers.Put(&b)
	}
}

// wireMessage is how many bytes of whole frames one websocket message takes.
func wireMessage(b []byte) (n int) {
	for n < len(b) {
		size, _ := protocol.SealedSize(b[n])
		if n > 0 && n+1+size > protocol.MaxWireMessage {
			break
		}
		n += 1 + size
	}
	return n
}

func mayHaveMore(sub *subscription) bool { return sub.dirty }

// push seals what the subscriptions have, within their windows. mu is held, but
// not while the spool is read.
func (s *session) push() {
	for handle := 0; ; { // in their order, so that none is passed over
		i, _ := slices.BinarySearchFunc(s.subs, handle+1, byHandle)
		if i == len(s.subs) {
			return
		}
		sub := s.subs[i]
		handle = int(sub.handle)
		fits := (outLimit - len(s.out) + msgSize) / msgSize
		if !sub.dirty || fits <= 0 {
			continue
		}
		room := min(protocol.Window-len(sub.unacked), fits)
		if sub.dirty = false; room <= 0 {
			continue
		}
		after := sub.after
		s.mu.Unlock()
		records := s.relay.spool.Next(sub.queue, after, room)
		s.mu.Lock()
		if s.closed {
			spool.Forget(records)
			return
		}
		if s.subscription(sub.handle) == sub { // else its end was answered meanwhile
			for _, r := range records {
				s.seal(sub, r)
			}
		}
		spool.Forget(records)
		sub.dirty = sub.dirty || len(records) == room
	}
}

func (s *session) seal(sub *subscription, r spool.Record) {
	m := protocol.Msg{Handle: sub.handle, Sequence: r.Sequence}
	if r.Urgent {
		m.Flags = protocol.FlagUrgent
	}
	s.sealOut(m.Type(), m.Head(), r.Body)
	sub.after = r.Sequence
	sub.unacked = append(sub.unacked, r.Sequence)
}
