package main

import (
	"time"

	"github.com/gorilla/websocket"

	"kin/protocol"
)

// slowLine is what a round trip takes on a slow line. That of the link counts: between the
// relay's half and the other the connection waits among strangers.
const slowLine = time.Second

// try is when somebody with a slow line came, and whether the relay took the message.
type try struct {
	begun   time.Time
	through bool
}

// visitor comes again and again, on a new connection each time.
func (h *honest) visitor(p *correspondents) {
	h.every(time.Second, func(n uint64, due time.Time) error {
		p.due[n%ring].Store(due.UnixNano())
		h.count(&h.visits)
		for h.visit(p, n, due, 0) != nil { // kin send tries for ten seconds
			if time.Since(due) > 10*time.Second {
				h.count(&h.turned)
				return nil
			}
			time.Sleep(100 * time.Millisecond)
		}
		return nil
	})
}

// slowVisitor comes again and again over a slow line.
func (h *honest) slowVisitor(p *correspondents) {
	for n := uint64(1); ; {
		begun := time.Now()
		p.due[n%ring].Store(begun.UnixNano())
		err := h.visit(p, n, begun, slowLine)
		if err == nil {
			n++
		}
		h.mu.Lock()
		h.slow = append(h.slow, try{begun, err == nil})
		h.mu.Unlock()
		select {
		case <-h.stop:
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// visit comes, writes a message, and goes when the relay has it.
func (h *honest) visit(p *correspondents, n uint64, due time.Time, line time.Duration) (err error) {
	defer func() {
		if err != nil {
			h.mu.Lock()
			h.again[[2]uint64{p.number, n}]++
			h.mu.Unlock()
		}
	}()
	c, err := dialOver(line, "kin", h.relay)
	if err != nil {
		return err
	}
	defer c.ws.Close()
	c.ws.SetReadDeadline(time.Now().Add(20 * time.Second))
	if p.key, err = protocol.NewProofKey(p.own, c.hello.RA); err != nil {
		return err
	}
	if err := p.write(c, n); err != nil {
		return err
	}
	if err := c.read(func(f protocol.Frame) error { return h.answer(p, f) }); err != nil {
		return err
	}
	if line == 0 {
		h.mu.Lock()
		h.times[visit] = append(h.times[visit], sample{due, time.Since(due)})
		h.mu.Unlock()
	}
	return c.ws.WriteControl(websocket.CloseMessage, nil, time.Now().Add(time.Second))
}

// slowIn counts the tries over a slow line that were all in a window, and those of them
// that came through.
func (h *honest) slowIn(w window) (tries, through int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, t := range h.slow {
		if t.begun.Before(w.from) || t.begun.Add(slowLine).After(w.to) {
			continue
		}
		if tries++; t.through {
			through++
		}
	}
	return tries, through
}
