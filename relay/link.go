package relay

import (
	"crypto/ecdh"
	"io"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/time/rate"

	"kin/protocol"
)

// begin brings the link up, and carries out what came with the client's half.
func (s *session) begin() error {
	s.ws.SetReadLimit(protocol.MaxWireMessage)
	s.idle = rate.NewLimiter(freeRate, idleBurst)
	pong := s.ws.PingHandler() // a ping is short, and costs a write
	s.ws.SetPingHandler(func(data string) error { s.slow(); return pong(data) })
	var err error
	if s.minute, err = s.relay.current(); err != nil {
		return err
	}
	if err := s.turn(s.relay.comers); err != nil {
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
	return s.frames(r)
}

// accept reads the client's half of the link.
func (s *session) accept(r io.Reader, hello []byte, re *ecdh.PrivateKey) error {
	answer := make([]byte, protocol.ClientHello)
	if _, err := io.ReadFull(r, answer); err != nil {
		return err
	}
	if err := s.turn(s.relay.comers); err != nil {
		return err
	}
	link, err := protocol.Accept(hello, s.relay.store.static, re, s.minute.ek.dk, answer)
	if err != nil {
		return err
	}
	s.link, s.linked = link, true
	return s.relay.linkUp(s)
}
