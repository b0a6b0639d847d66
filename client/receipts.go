package client

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/google/uuid"

	"kin/internal/random"
	"kin/protocol"
)

// How long a receipt waits at most: a checked contact's, at random; and another's.
const (
	receiptWithin = 60 * time.Second
	receiptHourly = time.Hour
)

// owe makes a receipt due: to a checked contact at a random moment within a minute,
// to another at the next full hour, either with the next message to them, so that
// a planted contact can't watch when a device is online.
func (s *session) owe(w *work, c *contact, r receipt) {
	for _, d := range s.Due {
		if d.Seq == r.Seq {
			return
		}
	}
	at := w.now.Truncate(receiptHourly).Add(receiptHourly)
	if c.Checked {
		at = w.now.Add(random.Below(receiptWithin))
	}
	s.Due = append(s.Due, due{r, at})
	s.Due = s.Due[max(0, len(s.Due)-seenWindow):] // a sender whose queue can't be reached asks for no end of them
}

// receipts marks what a contact says has come. One for an envelope that another copy of
// this profile sent under a number of ours says nothing of ours.
func (w *work) receipts(c *contact, s *session, come []receipt, mark func(*part)) error {
	for _, r := range come {
		b, err := w.tx.Get(tableSent, sentKey(s.ID, r.Seq))
		if err != nil {
			return err
		}
		if b == nil {
			continue
		}
		var sent sentRecord
		if err := json.Unmarshal(b, &sent); err != nil {
			return err
		}
		if sent.Mark != r.Mark {
			continue
		}
		if err := w.markParts(c, &op{ID: sent.Op, Message: sent.Message}, func(_ *row, pt *part) { mark(pt) }); err != nil {
			return err
		}
		if err := w.tx.Delete(tableOutbox, sent.Op[:]); err != nil {
			return err
		}
	}
	return nil
}

// sendReceipts seals the receipts that are due for contacts at one relay.
func (p *Profile) sendReceipts(relay protocol.Address) error {
	return p.inSteps(nil, func(w *work) error {
		contacts, err := w.all()
		if err != nil {
			return err
		}
		for _, c := range contacts {
			s, err := c.writable()
			if err != nil || w.full() || s.Out.Relay.Fingerprint != relay.Fingerprint || !s.isDue(w.now) {
				continue
			}
			if _, err := w.sealReceipts(c, s); err != nil && !errors.Is(err, ErrUnanswered) { // those wait for an answer
				return err
			}
		}
		return nil
	})
}

// sealReceipts seals what is due, with nothing to show.
func (w *work) sealReceipts(c *contact, s *session) (*op, error) {
	b := &body{kind: kindControl, id: uuid.New(), sent: w.now, deadline: w.now.Add(DefaultTTL)}
	envelope, err := w.seal(s, b)
	if err != nil {
		return nil, err
	}
	o := &op{Contact: c.ID, Session: s.ID, Seq: b.seq, Envelope: envelope, Made: w.now, TTL: DefaultTTL, Deadline: b.deadline, Control: true}
	return o, w.addOp(o)
}

// isDue tells whether the contact is to hear something now. A clock that was ahead makes
// nobody wait for longer than a receipt may.
func (s *session) isDue(now time.Time) bool {
	if s.Notice != 0 {
		return true
	}
	for _, d := range s.Due {
		if !now.Before(d.At) || d.At.After(now.Add(2*receiptHourly)) {
			return true
		}
	}
	return false
}
