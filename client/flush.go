package client

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"kin/protocol"
)

// refusedFor is when what a relay refused for good is tried again: it may have been mended.
const refusedFor = time.Hour

// visit is one connection to one relay, and what is done on it.
type visit struct {
	p       *Profile
	conn    *conn
	relay   protocol.Address
	report  *Report
	refused map[id]error         // by contact: why the first flight came to nothing
	waits   map[protocol.ID]wait // by receiver: queues that the relay can't read out or delete now

	handles map[uint16]*subscribed
	gone    map[protocol.ID]bool        // queues that the relay doesn't know
	asked   map[protocol.ID]bool        // queues that were subscribed to or refused
	heard   uint8                       // protocol.Heard: PUTs and FIRSTs that were refused for a while
	putAt   map[protocol.MessageID]bool // what this flush has sent: once is enough
	lent    map[protocol.MessageID]bool // what was put on this connection to a relay that keeps it in memory alone
}

func newVisit(p *Profile, c *conn, relay protocol.Address, r *Report) *visit {
	return &visit{p: p, conn: c, relay: relay, report: r, refused: map[id]error{}, waits: map[protocol.ID]wait{}, handles: map[uint16]*subscribed{}, gone: map[protocol.ID]bool{}, asked: map[protocol.ID]bool{},
		lent: map[protocol.MessageID]bool{}}
}

// outgoing is an op with what it takes to send it.
type outgoing struct {
	op
	out   outQueue
	class uint8
	heard uint8 // protocol.Heard
	first bool
}

// due returns the ops for this relay that want sending now, in order: first flights,
// urgent ones, what is taken back, then as they were sealed. A queue whose sender key the
// relay does not know yet gives its first alone. What the relay asked to wait with holds
// back what was sealed after it.
func (v *visit) due() ([]*outgoing, error) {
	var out []*outgoing
	held := map[place]uint64{}
	err := v.p.view(func(w *work) error {
		err := eachRecord(w, tableOutbox, func(_ []byte, o *op) error {
			c, err := w.contact(o.Contact)
			if err != nil || c == nil {
				return err
			}
			s := c.findSession(o.Session)
			if s == nil || s.Out.Relay.Fingerprint != v.relay.Fingerprint {
				return nil
			}
			if out, err := w.goesOut(c, o); !out || err != nil {
				return err
			}
			if p, waits := o.waits(o.early(w.now) || v.putAt[o.ID], w.now); waits {
				if first, ok := held[p]; !ok || o.Seq < first {
					held[p] = o.Seq
				}
			}
			if !v.wants(o, w.now) {
				return nil
			}
			g := &outgoing{op: *o, out: s.Out, first: !s.Out.Registered && !o.Cancel}
			if !o.Cancel {
				g.class = ttlClass(o, v.conn.hello.Limits, w.now)
			}
			out = append(out, g)
			return nil
		})
		return err
	})
	inOrderMade(out)
	slices.SortFunc(out, func(a, b *outgoing) int {
		if a.Cancel && b.Cancel { // from a session's end: before what is there nothing is to be missing
			return cmp.Or(bytes.Compare(a.Session[:], b.Session[:]), cmp.Compare(b.Seq, a.Seq))
		}
		return cmp.Or(cmp.Compare(a.group(), b.group()), a.Made.Compare(b.Made), bytes.Compare(a.Session[:], b.Session[:]), cmp.Compare(a.Seq, b.Seq))
	})
	registering := map[id]bool{}
	out = slices.DeleteFunc(out, func(g *outgoing) bool {
		if first, ok := held[place{g.Session, g.Urgent}]; ok && g.Seq > first && !g.Cancel {
			return true
		}
		again := registering[g.Session]
		registering[g.Session] = again || g.first
		return again && g.first
	})
	return out, err
}

// inOrderMade has nothing be made before what was sealed before it in its session: the
// clock may have been set back between.
func inOrderMade(ops []*outgoing) {
	slices.SortFunc(ops, func(a, b *outgoing) int {
		return cmp.Or(bytes.Compare(a.Session[:], b.Session[:]), cmp.Compare(a.Seq, b.Seq))
	})
	for i := 1; i < len(ops); i++ {
		if a, b := ops[i-1], ops[i]; a.Session == b.Session && b.Made.Before(a.Made) {
			b.Made = a.Made
		}
	}
}

// place is where an order is kept: urgent texts may overtake others.
type place struct {
	session id
	urgent  bool
}

// waits tells whether a text waits because the relay has refused it, and among which; what
// was put in this flush waits for the next, however long it takes.
func (o *op) waits(early bool, now time.Time) (place, bool) {
	return place{o.Session, o.Urgent}, early && now.Before(o.Deadline) && o.Code != protocol.CodeOK && !o.Cancel && !o.Control
}

// forGood tells whether a relay's last word on an op was a refusal that no wait mends.
func (o *op) forGood() bool { return o.Code != protocol.CodeOK && !o.Code.Temporary() }

// early tells whether it is not yet time to try again. A clock that was ahead makes
// nobody wait for longer than a relay may ask.
func (o *op) early(now time.Time) bool {
	return now.Before(o.Retry) && !o.Retry.After(now.Add(maxWait))
}

// group is what goes out first, second, and so on.
func (o *op) group() int {
	switch {
	case o.Cancel:
		return 2
	case o.Flight:
		return 0
	case o.Urgent:
		return 1
	}
	return 3
}

// wants tells whether an op is to be sent: what never got an OK, what the relay no
// longer has though no receipt came, and, once a connection, what a relay keeps in
// memory alone.
func (v *visit) wants(o *op, now time.Time) bool {
	switch {
	case o.early(now), v.putAt[o.ID]:
		return false
	case o.Cancel:
		return true
	case !now.Before(o.Deadline):
		return false
	case o.Control:
		return o.Until.IsZero()
	}
	return o.Until.IsZero() || !now.Before(o.Until) || o.Memory && !v.lent[o.ID]
}

// flush sends what is in the outbox for this relay. The answers of a window are
// committed together.
func (v *visit) flush(ctx context.Context) error {
	v.putAt = map[protocol.MessageID]bool{}
	for {
		ops, err := v.due()
		if err != nil || len(ops) == 0 {
			return err
		}
		if err := v.send(ctx, ops[:min(len(ops), putWindow)]); err != nil {
			return err
		}
	}
}

func (v *visit) send(ctx context.Context, ops []*outgoing) error {
	answers := make([]<-chan protocol.Answer, len(ops))
	var lost error
	for i, g := range ops {
		var err error
		g.heard = v.heard
		if answers[i], err = v.conn.start(g.command); err != nil {
			lost = err // what was answered before counts
			ops = ops[:i]
			break
		}
		v.putAt[g.ID] = true
	}
	results := make([]error, len(ops))
	for i := range ops {
		_, err := v.conn.wait(ctx, answers[i])
		var refusal *protocol.Refusal
		if err != nil && !errors.As(err, &refusal) {
			lost = err // no answer: it stays as it was
			ops = ops[:i]
			break
		}
		results[i] = err
		if refusal != nil && refusal.Code.Temporary() && !ops[i].Cancel {
			v.heard++
		}
	}
	err := v.p.update(v.report, func(w *work) error {
		for i, g := range ops {
			if err := v.settle(w, g, results[i]); err != nil {
				return err
			}
		}
		return nil
	})
	return errors.Join(err, lost)
}

// command is the op as a command: the same message id and bytes every time.
func (g *outgoing) command(n protocol.Corr, p prover) (protocol.Command, error) {
	key := privateKey(g.out.Key)
	flags := protocol.FlagsOf(g.Urgent, g.heard)
	var err error
	switch {
	case g.Cancel:
		c := &protocol.Cancel{Corr: n, Sender: g.out.Sender, Message: g.ID}
		c.Proof, err = p.prove(key, c)
		return c, err
	case g.first:
		c := &protocol.First{Corr: n, Sender: g.out.Sender, Claim: g.out.Claim, Key: [32]byte(key.PublicKey().Bytes()),
			Message: g.ID, Class: g.class, Flags: flags, Envelope: g.Envelope}
		c.Proof, err = p.prove(key, c)
		return c, err
	}
	c := &protocol.Put{Corr: n, Sender: g.out.Sender, Message: g.ID, Class: g.class, Flags: flags, Envelope: g.Envelope}
	c.Proof, err = p.prove(key, c)
	return c, err
}

// settle commits a relay's answer. The op may have changed since it was sent: a
// receipt may have come, or the user taken it back.
func (v *visit) settle(w *work, g *outgoing, answer error) error {
	o, err := getRecord[op](w, tableOutbox, g.ID[:])
	if err != nil || o == nil {
		return err
	}
	c, err := w.contact(o.Contact)
	if err != nil || c == nil {
		return err
	}
	s := c.findSession(o.Session)
	var refusal *protocol.Refusal
	if errors.As(answer, &refusal) {
		return v.refuse(w, c, o, g, refusal)
	}
	if s != nil && g.first {
		s.Out.Registered = true
	}
	if g.Cancel || o.Control {
		return w.tx.Delete(tableOutbox, o.ID[:])
	}
	l := v.conn.hello.Limits
	v.lent[o.ID] = !l.Durable
	life := time.Duration(protocol.TTLClasses[g.class]) * l.Epoch
	if o.Flight { // it waits there for longer; if the relay has lost it, nothing else that is said can be opened
		life = min(life, DefaultTTL)
	}
	o.Until, o.Had = endOfEpoch(w.now.Add(life), l.Epoch), true
	o.Memory, o.Code, o.Reason, o.Retry = !l.Durable, 0, "", time.Time{}
	if o.Cancel { // meanwhile
		o.Until = time.Time{}
	}
	if err := w.put(tableOutbox, o.ID[:], o); err != nil {
		return err
	}
	if c.joins(o) {
		if err := w.finishJoin(c); err != nil {
			return err
		}
	}
	return w.markParts(c, o, func(r *row, pt *part) {
		pt.OnRelay, pt.Memory = true, !l.Durable
		r.Reason = ""
	})
}

// refuse commits a relay's refusal: what may succeed later is tried later, a flight that
// is refused for good ends its join, and receipts alone are dropped where nobody reads them.
func (v *visit) refuse(w *work, c *contact, o *op, g *outgoing, refusal *protocol.Refusal) error {
	if !refusal.Code.Temporary() {
		switch {
		case c.joins(o):
			v.refused[c.ID] = inviteRefused(refusal)
			w.event(c, EventRefused)
			return w.refuseJoin(c)
		case g.Cancel:
			return w.tx.Delete(tableOutbox, o.ID[:]) // the relay has nothing of it
		case g.first && o.Control && refusal.Code == protocol.CodeUnknownQueue:
			return w.tx.Delete(tableOutbox, o.ID[:])
		}
	}
	wait := max(refusal.Wait, time.Second)
	if !refusal.Code.Temporary() {
		wait = refusedFor
	}
	if s := c.findSession(o.Session); s != nil && !g.first && refusal.Code == protocol.CodeUnknownQueue {
		s.Out.Registered = false // the relay may have forgotten the sender's key; the claim gives it again
		delete(v.putAt, o.ID)
		wait = 0
	}
	if o.Cancel && !g.Cancel { // meanwhile: that does not wait
		return nil
	}
	ranOut := !o.Until.IsZero() && !w.now.Before(o.Until)
	if ranOut { // and no relay has it
		o.Until = time.Time{}
	}
	o.Code, o.Reason = refusal.Code, refusal.Error()
	o.Retry = w.now.Add(wait)
	if refusal.Code.Temporary() {
		w.report.Wait = max(w.report.Wait, refusal.Wait)
	}
	if err := w.put(tableOutbox, o.ID[:], o); err != nil {
		return err
	}
	return w.markParts(c, o, func(r *row, pt *part) {
		pt.OnRelay = pt.OnRelay && !ranOut
		if r.Session == o.Session {
			r.Reason = o.Reason
		}
	})
}

// markParts changes the row that an op belongs to, and its part in it.
func (w *work) markParts(c *contact, o *op, f func(*row, *part)) error {
	if o.Message == nil {
		return nil
	}
	r, err := w.row(c, false, *o.Message)
	if err != nil || r == nil {
		return err
	}
	for i := range r.Sent {
		if r.Sent[i].Op == o.ID {
			f(r, &r.Sent[i])
		}
	}
	for _, said := range r.Before {
		for i := range said.Parts {
			if said.Parts[i].Op == o.ID {
				f(r, &said.Parts[i])
			}
		}
	}
	r.settle(w.now)
	return w.putRow(c, r)
}
