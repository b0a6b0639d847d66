package client

import (
	"cmp"
	"slices"
	"time"

	"kin/protocol"
)

// giveUpAfter is when a relay that can't be reached is visited no more for what is over: a
// replaced session, a queue to be deleted. What it had it has no more.
const giveUpAfter = 15 * 24 * time.Hour

// isSilent tells whether nothing but CANCELs goes out in a session.
func (s *session) isSilent() bool { return s.Stopped || s.Left }

// takeBackOld takes back from replaced sessions what is on a relay in the session in use,
// if the identity is checked: a stranger who was accepted must not keep the contact from
// having it. From the end of each, for what is missing before a text that stays would be
// told as a gap there. What the relay has let go of is forgotten.
func (w *work) takeBackOld() error {
	var left []*op
	err := eachRecord(w, tableOutbox, func(_ []byte, o *op) error {
		c, err := w.contact(o.Contact)
		if c == nil || err != nil || o.Message == nil || o.Cancel {
			return err
		}
		if s := c.findSession(o.Session); s != nil && s.Left {
			left = append(left, o)
		}
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(left, func(a, b *op) int { return cmp.Compare(b.Seq, a.Seq) })
	stays := map[id]bool{}
	for _, o := range left {
		c, err := w.contact(o.Contact)
		if err != nil {
			return err
		}
		r, err := w.row(c, false, *o.Message)
		if err != nil {
			return err
		}
		moved := r != nil && r.Session != o.Session
		switch {
		case moved && !o.Until.IsZero() && !w.now.Before(o.Until):
			err = w.tx.Delete(tableOutbox, o.ID[:])
		case moved && c.Checked && !stays[o.Session] && (r.State == StateOnRelay || r.State == StateDelivered || r.State == StateRead):
			err = w.takeBack(o)
		default:
			stays[o.Session] = true
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// retireOld ends the replaced sessions that are done with, and those that stopped. One is
// done with when its queue is empty, it has nothing to send, no text lacks a receipt, and
// all was shown, with its gaps.
func (v *visit) retireOld() error {
	empty := map[protocol.ID]bool{}
	for _, q := range v.handles {
		empty[q.receiver] = q.waiting <= 0
	}
	return v.p.update(nil, func(w *work) error {
		contacts, err := w.all()
		if err != nil || !slices.ContainsFunc(contacts, func(c *contact) bool { return len(c.Old) > 0 }) {
			return err
		}
		busy, err := w.busy()
		if err != nil {
			return err
		}
		for _, c := range contacts {
			var kept []*session
			for _, s := range c.Old {
				if !s.Stopped && (!empty[s.In.Receiver] || busy[s.ID]) {
					kept = append(kept, s)
				} else if err := w.endSession(s); err != nil {
					return err
				}
			}
			c.Old = kept
		}
		return nil
	})
}

// busy are the sessions that have something to send, a text without a receipt, or one
// that was not shown.
func (w *work) busy() (map[id]bool, error) {
	busy := map[id]bool{}
	err := w.eachQueued(func(o *op) { busy[o.Session] = true })
	if err == nil {
		err = eachRecord(w, tableOutbox, func(_ []byte, o *op) error {
			busy[o.Session] = busy[o.Session] || o.Message != nil && !o.Cancel && w.now.Before(o.Deadline)
			return nil
		})
	}
	if err == nil {
		err = eachRecord(w, tableMessage, func(_ []byte, r *row) error {
			busy[r.Session] = busy[r.Session] || r.isNew()
			return nil
		})
	}
	return busy, err
}

// giveUpOld ends the replaced sessions in which nothing can be left, reached or not.
func (w *work) giveUpOld() error {
	contacts, err := w.all()
	for _, c := range contacts {
		c.Old = slices.DeleteFunc(c.Old, func(s *session) bool {
			if err != nil || w.now.Before(s.Replaced.Add(giveUpAfter)) {
				return false
			}
			err = w.endSession(s)
			return err == nil
		})
	}
	return err
}
