package client

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"kin/client/ratchet"
	"kin/protocol"
)

const (
	minLife = time.Hour
	// fragmentSize leaves room in each envelope for receipts and the like.
	fragmentSize = 1400
	textRoom     = ratchet.MaxPlaintext - bodyHeader - itemHeader
)

// Send seals a text for the contact with exactly this label and stores it, in one
// commit; from then on it is never lost. Then it tries for o.Wait to put it on the
// relay. ErrOffline, and a refusal that is temporary, say that it waits in the
// profile: the next command takes it along. So does a refusal for good, of it or of what goes
// before it; of that a relay is asked again an hour later, or by the next Send.
func (p *Profile) Send(ctx context.Context, label, text string, o SendOptions) (Sent, error) {
	if !utf8.ValidString(text) {
		return Sent{}, ErrNotUTF8
	}
	if o.TTL == 0 {
		o.TTL = DefaultTTL
	}
	if o.Until == 0 {
		o.Until = DefaultUntil
	}
	if o.TTL < minLife || o.Until < minLife || o.Until > DefaultUntil {
		return Sent{}, fmt.Errorf("a message lives %v to %v", minLife, DefaultUntil)
	}
	sent, err := p.compose(label, text, o)
	if errors.Is(err, ErrNotJoined) && !o.QueueOnly {
		// They may have joined since this profile last looked.
		report, xerr := p.try(ctx, o.Wait, visitOptions{}, func(_ Report, err error) (bool, error) { return true, err }, func() bool { return false })
		p.overhear(report)
		if sent, err = p.compose(label, text, o); errors.Is(err, ErrNotJoined) {
			err = errors.Join(err, xerr)
		}
	}
	if err != nil || o.QueueOnly {
		return sent, err
	}
	var st Status
	report, err := p.try(ctx, o.Wait, visitOptions{}, func(Report, error) (bool, error) {
		if st, err = p.statusOf(sent.ID); err != nil || st.State != StateQueued {
			return true, err
		}
		err := p.refusedForGood(sent.ID)
		return err != nil, err
	}, func() bool {
		st, err := p.statusOf(sent.ID)
		return err == nil && st.State != StateQueued
	})
	p.overhear(report)
	if st.State == "" { // what became of it can't be read
		return sent, err
	}
	sent.State = st.State
	if st.State != StateQueued && st.State != StateExpiredUnread {
		return sent, nil
	}
	if err == nil {
		err = ErrOffline
	}
	return sent, err
}

// refusedForGood is the relay's refusal of a text, or of what goes before it, if it made
// one that no wait mends.
func (p *Profile) refusedForGood(u uuid.UUID) error {
	return p.view(func(w *work) error {
		_, r, err := w.outgoing(u)
		if err != nil {
			return err
		}
		return eachRecord(w, tableOutbox, func(_ []byte, o *op) error {
			at, waits := o.waits(o.early(w.now), w.now)
			if waits && o.forGood() && at == (place{r.Session, r.Urgent}) && o.Seq <= r.Seq {
				return &protocol.Refusal{Code: o.Code}
			}
			return nil
		})
	})
}

// compose stores a text, sealed, in the outbox.
func (p *Profile) compose(label, text string, o SendOptions) (out Sent, err error) {
	parts := split(text)
	if len(parts) > maxFragments {
		return Sent{}, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLong, len(text), maxFragments*fragmentSize)
	}
	err = p.change(label, func(w *work, c *contact) (err error) {
		if err := w.askAgain(c); err != nil {
			return err
		}
		out, err = w.compose(c, parts, o)
		return err
	})
	return out, err
}

// askAgain has what was refused to a contact for good be tried again, however lately that
// was. What was said of it then answers nothing any more.
func (w *work) askAgain(c *contact) error {
	return eachRecord(w, tableOutbox, func(key []byte, o *op) error {
		if o.Contact != c.ID || !o.forGood() {
			return nil
		}
		o.Code, o.Retry = protocol.CodeOK, time.Time{}
		return w.put(tableOutbox, key, o)
	})
}

func (w *work) compose(c *contact, parts [][]byte, o SendOptions) (Sent, error) {
	s, err := c.writable()
	if err != nil {
		return Sent{}, fmt.Errorf("%w: %q", err, c.Label)
	}
	r := &row{ID: uuid.New(), Checked: c.Checked, Made: w.now, Until: w.now.Add(o.Until), Text: slices.Concat(parts...),
		Urgent: o.Urgent, Session: s.ID, State: StateQueued, Changed: w.now}
	if err := w.say(c, s, r, parts, o.TTL); err != nil {
		return Sent{}, err
	}
	return Sent{r.ID, c.Label, StateQueued, r.Until}, w.addRow(c, r)
}

// say seals a row's text, in parts, and has it sent.
func (w *work) say(c *contact, s *session, r *row, parts [][]byte, ttl time.Duration) error {
	for i, text := range parts {
		b := &body{kind: kindText, id: r.ID, sent: r.Made, deadline: r.Until}
		b.items.text = text
		if r.Urgent {
			b.flags = flagUrgent
		}
		if len(parts) > 1 {
			b.items.index, b.items.count = uint16(i), uint16(len(parts))
		}
		envelope, err := w.seal(s, b)
		if err != nil {
			return err
		}
		o := &op{Contact: c.ID, Session: s.ID, Seq: b.seq, Envelope: envelope, Message: &r.ID, Made: w.now, TTL: ttl,
			Deadline: r.Until, Urgent: r.Urgent, Receipts: b.items.receipts, Notice: b.items.notice}
		if err := w.addOp(o); err != nil {
			return err
		}
		r.Seq = b.seq
		r.Sent = append(r.Sent, part{Seq: o.Seq, Op: o.ID})
	}
	return nil
}

// split cuts a text into what each envelope carries.
func split(text string) [][]byte {
	b := []byte(text)
	if len(b) <= textRoom {
		return [][]byte{b}
	}
	return slices.Collect(slices.Chunk(b, fragmentSize))
}

// writable returns the session to send with, or why there is none.
func (c *contact) writable() (*session, error) {
	switch {
	case c.Session == nil:
		return nil, ErrNotJoined
	case c.Session.Stopped:
		return nil, ErrStopped
	case c.MustAccept:
		return nil, ErrMustAccept
	}
	return c.Session, nil
}

// seal numbers a body, fills it with what is to be told, and makes its envelope.
func (w *work) seal(s *session, b *body) (envelope []byte, err error) {
	r, err := w.ratchet(s)
	if err != nil {
		return nil, err
	}
	if r.ChainFull() {
		return nil, ErrUnanswered
	}
	b.seq, b.prev = r.Sent()+1, s.Prev
	s.fill(b)
	next, envelope, sealed, err := r.Seal(s.Out.Envelope[:], b.marshal())
	if err != nil {
		return nil, err
	}
	s.Prev = sealed.Commitment
	w.step(s, next)
	return envelope, nil
}

// fill adds, as far as there is room, what the contact is to be told with the next
// envelope: the notice, what was taken back, what carried nothing to show, and
// receipts, due or not.
func (s *session) fill(b *body) {
	room := ratchet.MaxPlaintext - len(b.marshal())
	if s.Notice != 0 && room >= itemHeader+1 {
		b.items.notice, s.Notice = s.Notice, 0
		room -= itemHeader + 1
	}
	fit := func(many, size int) int {
		return max(0, min(many, maxSeqs, (room-itemHeader)/size))
	}
	n := fit(len(s.TakenBack), 8)
	for i := range s.TakenBack[:n] {
		b.items.takenBack = append(b.items.takenBack, s.TakenBack[i].Seq)
		if s.TakenBack[i].By == 0 {
			s.TakenBack[i].By = b.seq
		}
	}
	slices.Sort(b.items.takenBack)
	if n > 0 {
		room -= itemHeader + 8*n
	}
	if n = fit(len(s.Quiet), 8); n > 0 {
		b.items.quiet = slices.Clone(s.Quiet[len(s.Quiet)-n:])
		room -= itemHeader + 8*n
	}
	if n = fit(len(s.Due), 16); n > 0 {
		for _, d := range s.Due[:n] {
			b.items.receipts = append(b.items.receipts, d.receipt)
		}
		slices.SortFunc(b.items.receipts, func(a, b receipt) int { return cmp.Compare(a.Seq, b.Seq) })
		s.Due = slices.Clone(s.Due[n:])
	}
	if b.kind == kindControl {
		s.Quiet = append(s.Quiet, b.seq)
		s.Quiet = s.Quiet[max(0, len(s.Quiet)-maxSeqs):]
	}
}

// addOp puts an op into the outbox under a new message id, and notes what a
// receipt for it means.
func (w *work) addOp(o *op) error {
	rand.Read(o.ID[:])
	if !o.Control {
		if err := w.putUntil(tableSent, sentKey(o.Session, o.Seq), sentRecord{o.ID, o.Message, markOf(o.Envelope)}, o.Made); err != nil {
			return err
		}
	}
	return w.put(tableOutbox, o.ID[:], o)
}

// Cancel takes back a message that was not delivered. What it returns is the
// state after it: StateDelivered says that it came too late.
func (p *Profile) Cancel(ctx context.Context, u uuid.UUID) (Status, error) {
	if err := p.update(nil, func(w *work) error { return w.cancel(u) }); err != nil {
		return Status{}, err
	}
	report, err := p.exchange(ctx, &visitOptions{})
	p.overhear(report)
	st, serr := p.statusOf(u)
	return st, errors.Join(err, serr)
}

func (w *work) cancel(u uuid.UUID) error {
	c, r, err := w.outgoing(u)
	if err != nil {
		return err
	}
	if st := r.state(w.now); st != StateQueued && st != StateOnRelay && st != StateOnRelayMemory {
		return nil
	}
	all := append(r.Before, sealing{r.Session, r.Sent})
	if r.State != StateQueued && !slices.ContainsFunc(all, func(s sealing) bool { return c.findSession(s.Session) != nil }) {
		return nil // its session is gone, and with it the way to take it back
	}
	for _, said := range all {
		if err := w.takeBackAll(c, said); err != nil {
			return err
		}
	}
	r.State, r.Changed, r.Reason = StateCancelled, w.now, ""
	r.settle(w.now)
	return w.putRow(c, r)
}

// takeBackAll takes back all of a text that was not received.
func (w *work) takeBackAll(c *contact, said sealing) error {
	s := c.findSession(said.Session)
	for _, part := range said.Parts {
		o, err := getRecord[op](w, tableOutbox, part.Op[:])
		if err != nil {
			return err
		}
		if o == nil {
			continue
		}
		if s == nil {
			if err := w.tx.Delete(tableOutbox, o.ID[:]); err != nil {
				return err
			}
			continue
		}
		if !part.Delivered {
			s.TakenBack = append(s.TakenBack, listed{Seq: part.Seq})
			// What it told besides goes with another envelope.
			for _, r := range o.Receipts {
				s.owe(w, c, r)
			}
			s.Notice = max(s.Notice, o.Notice)
		}
		if err := w.takeBack(o); err != nil {
			return err
		}
	}
	return nil
}

// takeBack has a relay erase an envelope that was put, answered or not.
func (w *work) takeBack(o *op) error {
	o.Cancel, o.Envelope, o.Until, o.Retry, o.Code = true, nil, time.Time{}, time.Time{}, 0
	o.Receipts, o.Notice = nil, 0
	return w.put(tableOutbox, o.ID[:], o)
}

// outgoing finds a message that this profile sent.
func (w *work) outgoing(u uuid.UUID) (*contact, *row, error) {
	contacts, err := w.all()
	if err != nil {
		return nil, nil, err
	}
	for _, c := range contacts {
		if r, err := w.row(c, false, u); r != nil || err != nil {
			return c, r, err
		}
	}
	return nil, nil, fmt.Errorf("%w: %v", ErrNoMessage, u)
}

// ttlClass is the class that a PUT takes: the largest that the relay allows and that is
// hardly longer than the message's life on a relay, and the time left: some has always
// passed since it was sealed. At least it is the smallest.
func ttlClass(o *op, l protocol.Limits, now time.Time) (class uint8) {
	life := min(o.TTL, o.Deadline.Sub(now))
	for i, epochs := range protocol.TTLClasses {
		if epochs <= l.MaxTTL && time.Duration(epochs)*l.Epoch <= life+life/10 {
			class = uint8(i)
		}
	}
	return class
}
