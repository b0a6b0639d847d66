package client

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/google/uuid"

	"kin/client/ratchet"
	"kin/protocol"
)

const (
	maxHeld       = 128 // envelopes of an invite that came before its flight: what a queue holds
	maxQuarantine = 64  // envelopes of a contact; the oldest goes
)

// take does everything that an envelope asks for, within the commit. ack: the
// relay may forget it.
func (w *work) take(who id, receiver protocol.ID, envelope []byte) (ack bool, err error) {
	c, err := w.contact(who)
	if err != nil || c == nil {
		return false, err // the contact was removed, and the queue will be
	}
	for _, i := range c.Invites {
		if i.In.Receiver == receiver {
			return w.takeFlight(c, i, envelope)
		}
	}
	for _, s := range c.sessions() {
		if s.In.Receiver == receiver && !s.Stopped {
			return w.takeMessage(c, s, envelope)
		}
	}
	return false, nil
}

// takeFlight completes a join (docs/protocol.md, Handshake). Only a flight that
// opens fully burns the invite.
func (w *work) takeFlight(c *contact, i *invite, envelope []byte) (ack bool, err error) {
	stored, err := w.tx.Get(tableHostKeys, i.ID[:])
	if err != nil {
		return false, err
	}
	keys, err := ratchet.ParseHostKeys(stored)
	if err != nil {
		return false, err
	}
	r, plaintext, flight, err := keys.Accept(i.Hash, envelope)
	if errors.Is(err, ratchet.ErrType) {
		return w.hold(i, envelope)
	}
	if err != nil {
		return true, w.quarantine(c, envelope)
	}
	b, err := parseBody(plaintext)
	if err != nil || b.kind != kindFirst || b.seq != 1 {
		return true, w.quarantine(c, envelope)
	}
	// Only a queue at the invite's relay will do: a guest must not choose where this
	// device connects to.
	at := slices.IndexFunc(b.items.queues, func(d descriptor) bool { return d.Relay.Fingerprint == i.In.Relay.Fingerprint })
	if at < 0 {
		return true, w.quarantine(c, envelope)
	}
	q := b.items.queues[at]
	s := &session{ID: newID(), In: i.In, Hash: i.Hash, Flight: flight.ID}
	s.Out = outQueue{Relay: i.In.Relay, Sender: q.Sender, Claim: q.Claim, Key: newKey(), Envelope: q.Envelope}
	c.Calls = b.items.name
	w.step(s, r)
	if err := w.see(s, 1, envelope, flight.Commitment); err != nil {
		return false, err
	}
	s.owe(w, c, receipt{1, markOf(envelope)})
	if err := w.tx.Delete(tableHostKeys, i.ID[:]); err != nil {
		return false, err
	}
	// Earlier invites for the same person have served. The guest may have joined with a
	// later one since.
	at = slices.Index(c.Invites, i)
	for _, earlier := range c.Invites[:at] {
		if err := w.dropInvite(earlier); err != nil {
			return false, err
		}
	}
	c.Invites = c.Invites[at+1:]
	if err := c.adopt(w, s); err != nil {
		return false, err
	}
	return true, w.takeHeld(c, s, i)
}

// hold keeps a message that came before its flight.
func (w *work) hold(i *invite, envelope []byte) (ack bool, err error) {
	if i.Held >= maxHeld {
		return false, nil // it waits at the relay
	}
	key := append(i.ID[:], byte(i.Held))
	i.Held++
	return true, w.tx.Put(tableHeld, key, envelope)
}

// takeHeld opens what came before the flight.
func (w *work) takeHeld(c *contact, s *session, i *invite) error {
	for n := range i.Held {
		key := append(bytes.Clone(i.ID[:]), byte(n))
		envelope, err := w.tx.Get(tableHeld, key)
		if err != nil {
			return err
		}
		if envelope != nil {
			if _, err := w.takeMessage(c, s, envelope); err != nil {
				return err
			}
		}
		if err := w.tx.Delete(tableHeld, key); err != nil {
			return err
		}
	}
	return nil
}

// takeMessage opens an envelope of a session (docs/protocol.md, Ratchet and
// Rollback).
func (w *work) takeMessage(c *contact, s *session, envelope []byte) (ack bool, err error) {
	r, err := w.ratchet(s)
	if err != nil {
		return false, err
	}
	qe := privateKey(s.In.Envelope)
	highest := r.Received()
	next, m, err := r.Open(qe, envelope, w.now)
	if err == nil {
		return true, w.opened(c, s, next, m, highest, envelope)
	}
	if errors.Is(err, ratchet.ErrType) {
		return true, w.lateFlight(c, s, envelope)
	}
	var behind *ratchet.OpenError
	if !errors.As(err, &behind) {
		return true, w.quarantine(c, envelope)
	}
	switch {
	case errors.Is(err, ratchet.ErrRollback), errors.Is(err, ratchet.ErrNoKey) && behind.Seq > highest:
		s.Stopped = true
		if s == c.Session {
			w.event(c, EventStopped)
		} else {
			w.event(c, EventNewerCopy)
		}
		return false, nil // the newer profile can still read it
	case errors.Is(err, ratchet.ErrNoKey), errors.Is(err, ratchet.ErrUsed):
		return true, w.old(c, s, behind.Seq, highest, envelope)
	}
	return true, w.quarantine(c, envelope)
}

// old decides about an envelope whose key is gone: a duplicate, a fork, or a loss.
func (w *work) old(c *contact, s *session, seq, highest uint64, envelope []byte) error {
	seen, err := w.tx.Get(tableSeen, seenKey(s.ID, seq))
	if err != nil {
		return err
	}
	if seen != nil && binary.BigEndian.Uint64(seen) == seq {
		if h := envelopeHash(envelope); bytes.Equal(seen[8:24], h[:]) {
			s.owe(w, c, receipt{seq, markOf(envelope)}) // its receipt may have been lost
			return nil
		}
		return w.forked(c, s, envelope)
	}
	if seq <= highest && highest-seq < seenWindow && s.Missing.remove(seq) { // else it was told already
		if err := w.note(c, s, NoteLost, seq); err != nil {
			return err
		}
		w.event(c, EventLost)
	}
	return w.quarantine(c, envelope)
}

// lateFlight is a first flight on the queue of a session: the accepted one again,
// or another guest's.
func (w *work) lateFlight(c *contact, s *session, envelope []byte) error {
	if !s.Guest {
		flight, err := ratchet.FlightID(s.Hash, privateKey(s.In.Envelope), envelope)
		if err == nil && flight == s.Flight {
			s.owe(w, c, receipt{1, markOf(envelope)})
			return nil
		}
		if err == nil {
			w.event(c, EventOtherGuest)
			return nil
		}
	}
	return w.quarantine(c, envelope)
}

// forked notes that two devices send as this contact, and tells both sides.
func (w *work) forked(c *contact, s *session, envelope []byte) error {
	if !s.Forked {
		s.Forked, s.Notice = true, noticeForked
		if err := w.note(c, s, NoteForked, 0); err != nil {
			return err
		}
	}
	w.event(c, EventForked)
	return w.quarantine(c, envelope)
}

// quarantine keeps an envelope that can't be opened: it never blocks the queue.
func (w *work) quarantine(c *contact, envelope []byte) error {
	key := append(bytes.Clone(c.ID[:]), byte(c.Quarantined%maxQuarantine))
	c.Quarantined++
	w.event(c, EventQuarantined)
	return w.tx.Put(tableQuarantine, key, envelope)
}

// see remembers an envelope, to tell its duplicate. One that comes late does not
// take the place of a newer.
func (w *work) see(s *session, seq uint64, envelope []byte, commitment [32]byte) error {
	last, err := w.tx.Get(tableSeen, seenKey(s.ID, seq))
	if err != nil || last != nil && binary.BigEndian.Uint64(last) > seq {
		return err
	}
	h := envelopeHash(envelope)
	v := binary.BigEndian.AppendUint64(nil, seq)
	v = append(append(v, h[:]...), commitment[:16]...)
	return w.tx.Put(tableSeen, seenKey(s.ID, seq), v)
}

// note adds a row that stands for what can't be shown.
func (w *work) note(c *contact, s *session, note string, seq uint64) error {
	return w.addRow(c, &row{ID: uuid.New(), In: true, Checked: c.checked(s), Made: w.now, Received: w.now, Session: s.ID,
		Seq: seq, Note: note, Count: 1})
}

// opened commits an authentic message.
func (w *work) opened(c *contact, s *session, next *ratchet.Session, m ratchet.Opened, highest uint64, envelope []byte) error {
	w.step(s, next)
	if c.Join != nil && s == c.Join.Session { // whatever the relay has said of the flight, who answers it has it
		if err := w.finishJoin(c); err != nil {
			return err
		}
	}
	if err := w.see(s, m.Seq, envelope, m.Commitment); err != nil {
		return err
	}
	s.echoed(m.Echo)
	b, err := parseBody(m.Plaintext)
	if err != nil || b.seq != m.Seq {
		s.Missing.remove(m.Seq)
		if err := w.note(c, s, NoteQuarantined, m.Seq); err != nil {
			return err
		}
		return w.quarantine(c, envelope)
	}
	if ok, err := w.follows(s, b); err != nil {
		return err
	} else if !ok && !s.Forked {
		s.Forked, s.Notice = true, noticeForked
		w.event(c, EventForked)
		if err := w.note(c, s, NoteForked, 0); err != nil {
			return err
		}
	}
	if m.Seq > highest {
		s.Missing.add(highest+1, m.Seq-1)
	} else {
		s.Missing.remove(m.Seq)
	}
	return w.takeBody(c, s, b, markOf(envelope))
}

// follows checks that a message names the one before it, if that one was seen.
func (w *work) follows(s *session, b *body) (bool, error) {
	seen, err := w.tx.Get(tableSeen, seenKey(s.ID, b.seq-1))
	if err != nil || seen == nil || binary.BigEndian.Uint64(seen) != b.seq-1 {
		return true, err
	}
	return bytes.Equal(seen[24:40], b.prev[:16]), nil
}

// echoed forgets what the contact need not be told again.
func (s *session) echoed(echo uint64) {
	s.Quiet = slices.DeleteFunc(s.Quiet, func(seq uint64) bool { return seq <= echo })
	s.TakenBack = slices.DeleteFunc(s.TakenBack, func(l listed) bool { return l.By != 0 && l.By <= echo })
}

// takeBody commits what a message says. m is its envelope's mark.
func (w *work) takeBody(c *contact, s *session, b *body, m mark) error {
	for _, seq := range b.items.quiet {
		s.Missing.remove(seq)
	}
	taken := 0
	for _, seq := range b.items.takenBack {
		if s.Missing.remove(seq) {
			taken++
		}
	}
	if taken > 0 {
		r := &row{ID: uuid.New(), In: true, Checked: c.checked(s), Made: b.sent, Received: w.now, Session: s.ID, Note: NoteTakenBack, Count: taken}
		if err := w.addRow(c, r); err != nil {
			return err
		}
	}
	if err := w.receipts(c, s, b.items.receipts, func(pt *part) { pt.Delivered = true }); err != nil {
		return err
	}
	if err := w.receipts(c, s, b.items.reads, func(pt *part) { pt.Delivered, pt.Read = true, true }); err != nil {
		return err
	}
	if b.items.notice == noticeForked {
		w.event(c, EventForked)
	}
	c.LastReceived = w.now
	switch b.kind {
	case kindControl:
		return nil
	case kindFirst:
		s.owe(w, c, receipt{b.seq, m})
		return nil
	}
	if late, err := w.comesTooLate(c, s, b); late || err != nil {
		return err
	}
	s.owe(w, c, receipt{b.seq, m})
	return w.takeText(c, s, b)
}
