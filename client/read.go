package client

import (
	"errors"
	"io"
	"time"

	"github.com/gorilla/websocket"

	"kin/protocol"
)

// read takes frames until the connection ends, and frees everybody who waits.
func (c *conn) read() {
	c.err = c.readFrames()
	c.ws.Close()
	c.mu.Lock()
	for _, ch := range c.pending {
		close(ch)
	}
	c.pending = nil
	c.mu.Unlock()
	close(c.msgs)
	close(c.done)
}

func (c *conn) readFrames() error {
	for {
		c.ws.SetReadDeadline(time.Now().Add(deadAfter))
		kind, r, err := c.ws.NextReader()
		if err != nil {
			return err
		}
		if kind != websocket.BinaryMessage {
			return protocol.ErrMalformed
		}
		if err := c.readMessage(r); err != nil {
			return err
		}
	}
}

// readMessage reads one websocket message: one or more frames.
func (c *conn) readMessage(r io.Reader) error {
	for {
		var class [1]byte
		if _, err := io.ReadFull(r, class[:]); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		n, err := protocol.SealedSize(class[0])
		if err != nil {
			return err
		}
		sealed := make([]byte, n)
		if _, err := io.ReadFull(r, sealed); err != nil {
			return err
		}
		f, err := c.link.Open(class[0], sealed)
		if err != nil {
			return err
		}
		a, err := protocol.ParseAnswer(f)
		if err != nil {
			return err
		}
		if err := c.take(a); err != nil {
			return err
		}
	}
}

var errFlood = errors.New("the relay sends more than was asked for")

// take hands an answer to whoever waits for it.
func (c *conn) take(a protocol.Answer) error {
	if a == nil {
		return nil
	}
	c.heard.Store(time.Now().UnixNano())
	var number uint64
	switch a := a.(type) {
	case *protocol.Msg:
		select {
		case c.msgs <- a:
			return nil
		default:
			return errFlood
		}
	case *protocol.Tried:
		select {
		case c.tried <- a:
		default: // the count comes again with the next SUB
		}
		return nil
	case *protocol.OK:
		number = a.Corr
	case *protocol.Error:
		number = a.Corr
	case *protocol.Issued:
		number = a.Corr
	case *protocol.IDs:
		number = a.Corr
	case *protocol.Blob:
		number = a.Corr
	case *protocol.Subbed:
		number = a.Corr
	}
	if ch := c.expected(number); ch != nil {
		ch <- a // buffered: one answer a command
	}
	return nil
}

// expect makes the place of a command's answer; nil if the connection was lost.
func (c *conn) expect(number uint64) chan protocol.Answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pending == nil {
		return nil
	}
	ch := make(chan protocol.Answer, 1)
	c.pending[number] = ch
	return ch
}

// expected takes it away again; nil if there is none.
func (c *conn) expected(number uint64) chan protocol.Answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	ch := c.pending[number]
	delete(c.pending, number)
	return ch
}
