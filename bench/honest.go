package main

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"kin/bench/gauge"
	"kin/protocol"
)

// honest are people who write to each other, a message a second and pair, and others
// who come, write one message and go, as kin send does; some of those have a slow line.
// They keep their own account of what was accepted and what arrived.
type honest struct {
	relay gauge.Announced
	pairs []*correspondents
	stop  chan struct{}
	all   sync.WaitGroup

	mu       sync.Mutex
	open     map[[2]uint64]bool // accepted, not arrived
	arrived  map[[2]uint64]bool // before its OK
	again    map[[2]uint64]int  // how often a visitor may have put it without hearing so
	times    [3][]sample
	slow     []try
	refused  int // PUTs that were not accepted
	broken   int // connections that ended
	turned   int // visitors who did not get through
	visits   int
	accepted int
	twice    int
	wrong    int // out of order, or not what was sent
}

// What is timed: from when a message was due.
const (
	putOK  = iota // to the OK
	putMSG        // to its arrival
	visit         // of a visitor: connect, link, PUT, OK
)

var timed = [...]string{"PUT→OK", "PUT→MSG", "visit"}

// sample is how long something took that was due then.
type sample struct {
	due  time.Time
	took time.Duration
}

// correspondents are a pair of which the sender's due times are kept.
type correspondents struct {
	*pair
	number uint64
	visits bool           // the sender comes and goes
	sent   sync.Map       // command's number: number of its message
	due    []atomic.Int64 // by message, in a ring
	last   uint64         // that arrived
}

const ring = 1024

func newHonest(a gauge.Announced, pairs, visitors int) (*honest, error) {
	h := &honest{relay: a, stop: make(chan struct{}), open: map[[2]uint64]bool{}, arrived: map[[2]uint64]bool{}, again: map[[2]uint64]int{}}
	h.pairs = make([]*correspondents, pairs+2*visitors)
	err := gauge.Eight(len(h.pairs), func(i int) error {
		p, err := newPair("kin", a, i)
		if err != nil {
			return err
		}
		h.pairs[i] = &correspondents{pair: p.(*pair), number: uint64(i), visits: i >= pairs, due: make([]atomic.Int64, ring)}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i, p := range h.pairs {
		h.all.Go(func() { h.receive(p) })
		if i < pairs {
			h.all.Go(func() { h.send(p) })
			h.all.Go(func() { h.answers(p) })
		} else {
			p.from.ws.Close()
			come := h.visitor
			if i >= pairs+visitors {
				come = h.slowVisitor
			}
			h.all.Go(func() { come(p) })
		}
	}
	return h, nil
}

// envelope lays out a message: pair, number, check.
func (p *correspondents) envelope(n uint64) []byte {
	b := make([]byte, protocol.EnvelopeSize)
	binary.BigEndian.PutUint64(b, p.number)
	binary.BigEndian.PutUint64(b[8:], n)
	for i := 16; i < len(b)-4; i += 8 {
		binary.BigEndian.PutUint32(b[i:], uint32(n*2654435761)+uint32(i))
	}
	binary.BigEndian.PutUint32(b[len(b)-4:], crc32.ChecksumIEEE(b[:len(b)-4]))
	return b
}

// write sends a message on a connection of the sender.
func (p *correspondents) write(c *client, n uint64) error {
	put := &protocol.Put{Corr: c.number(), Sender: p.put.Sender, Class: 3, Envelope: p.envelope(n)}
	copy(put.Message[:], put.Envelope[:16])
	put.Proof = p.key.Prove(c.sid, put.Corr, put.SignedBytes())
	p.sent.Store(put.Corr.Number(), n)
	c.queue(protocol.TypePut, put.Body())
	return c.flush()
}

// every calls f at its due times until the end.
func (h *honest) every(d time.Duration, f func(n uint64, due time.Time) error) {
	due := time.Now().Add(rand.N(d))
	for n := uint64(1); ; n++ {
		select {
		case <-h.stop:
			return
		case <-time.After(time.Until(due)):
		}
		if err := f(n, due); err != nil {
			h.count(&h.broken)
			return
		}
		due = due.Add(d)
	}
}

func (h *honest) count(n *int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	*n++
}

func (h *honest) send(p *correspondents) {
	h.every(time.Second, func(n uint64, due time.Time) error {
		p.due[n%ring].Store(due.UnixNano())
		return p.write(p.from, n)
	})
}

// answers takes the OKs.
func (h *honest) answers(p *correspondents) {
	for p.from.read(func(f protocol.Frame) error { return h.answer(p, f) }) == nil {
	}
}

func (h *honest) answer(p *correspondents, f protocol.Frame) error {
	a, err := protocol.ParseAnswer(f)
	switch a := a.(type) {
	case *protocol.OK:
		n, _ := p.sent.LoadAndDelete(a.Corr)
		h.accept(p, n.(uint64))
	case *protocol.Error:
		h.count(&h.refused)
	}
	return err
}

// time notes how long a message took on connections that stand: what a visitor waits for
// is timed as a visit. h.mu is held.
func (p *correspondents) time(h *honest, what int, took sample) {
	if !p.visits {
		h.times[what] = append(h.times[what], took)
	}
}

func (h *honest) accept(p *correspondents, n uint64) {
	due := time.Unix(0, p.due[n%ring].Load())
	took := sample{due, time.Since(due)}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.accepted++
	p.time(h, putOK, took)
	if at := [2]uint64{p.number, n}; h.arrived[at] {
		delete(h.arrived, at)
	} else {
		h.open[at] = true
	}
}

// receive takes messages and acknowledges them.
func (h *honest) receive(p *correspondents) {
	for p.Receive(func(envelope []byte) { h.arrive(p, envelope) }) == nil {
	}
	select {
	case <-h.stop:
	default:
		h.count(&h.broken)
	}
}

func (h *honest) arrive(p *correspondents, envelope []byte) {
	n := binary.BigEndian.Uint64(envelope[8:])
	due := time.Unix(0, p.due[n%ring].Load())
	took := sample{due, time.Since(due)}
	h.mu.Lock()
	defer h.mu.Unlock()
	p.time(h, putMSG, took)
	at := [2]uint64{p.number, n}
	switch {
	case !slices.Equal(envelope, p.envelope(n)):
		h.wrong++
	case n <= p.last && h.again[at] > 0: // what was collected and is put again is one more envelope
		h.again[at]--
	case n <= p.last:
		h.twice++
	case h.open[at]:
		delete(h.open, at)
	default:
		h.arrived[at] = true
	}
	p.last = n
}

// window is a span of time.
type window struct{ from, to time.Time }

// between is how long everything took that was due in a window, sorted.
func (h *honest) between(w window) (times [3][]time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, all := range h.times {
		for _, x := range all {
			if !x.due.Before(w.from) && x.due.Before(w.to) {
				times[i] = append(times[i], x.took)
			}
		}
		slices.Sort(times[i])
	}
	return times
}

// forget drops what was measured.
func (h *honest) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.times, h.slow = [3][]sample{}, nil
}

// end stops all senders, waits for what was accepted, and tells what became of it.
func (h *honest) end() account {
	close(h.stop)
	for i := 0; i < 200; i++ { // messages under way
		h.mu.Lock()
		n := len(h.open)
		h.mu.Unlock()
		if n == 0 && i >= 10 {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	h.mu.Lock()
	a := account{h.accepted, len(h.open), h.twice, h.wrong, h.refused, h.broken, h.visits, h.turned}
	h.mu.Unlock()
	for _, p := range h.pairs {
		p.Close()
	}
	h.all.Wait()
	return a
}

// account is what became of what honest people sent.
type account struct {
	accepted, lost, twice, wrong, refused, broken, visits, turned int
}

func (a account) String() string {
	return fmt.Sprintf("honest users: %d messages accepted, %d lost, %d twice, %d wrong; %d refused, %d connections broken, %d of %d visitors turned away",
		a.accepted, a.lost, a.twice, a.wrong, a.refused, a.broken, a.turned, a.visits)
}
