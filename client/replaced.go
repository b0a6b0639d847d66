package client

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// giveUpAfter is when a relay that can't be reached is visited no more for what is over: a
// replaced session, a queue to be deleted. What it had it has no more.
const giveUpAfter = 15 * 24 * time.Hour

// goesOut tells whether an op is still to be sent: not in a session that has stopped, nor
// in one that the user has left for a newer, where its text is said again. One whose text
// the profile has erased can't be. CANCELs always go out.
func (w *work) goesOut(c *contact, o *op) (bool, error) {
	s := c.findSession(o.Session)
	switch {
	case s == nil:
		return false, nil
	case o.Cancel:
		return true, nil
	case s.Stopped:
		return false, nil
	case !s.Left || o.Message == nil:
		return !s.Left, nil
	}
	r, err := w.row(c, false, *o.Message)
	return r == nil, err
}

// takeBackOld takes back from replaced sessions what is safe in the one in use. From the
// end of each, for what is missing before a text that stays would be told as a gap there.
// What the relay has let go of is forgotten.
func (w *work) takeBackOld() error {
	var left []*op
	err := eachRecord(w, tableOutbox, func(_ []byte, o *op) error {
		c, err := w.contact(o.Contact)
		if c == nil || err != nil || o.Message == nil || o.Cancel || !w.now.Before(o.Deadline) {
			return err
		}
		if s := c.findSession(o.Session); s != nil && s.Left && !s.Stopped {
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
		safe := false
		if moved && !stays[o.Session] {
			if safe, err = w.isSafe(c, r); err != nil {
				return err
			}
		}
		switch {
		case safe:
			err = w.takeBack(o)
		case moved && !o.Until.IsZero() && !w.now.Before(o.Until):
			err = w.tx.Delete(tableOutbox, o.ID[:])
		default:
			stays[o.Session] = true
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// isSafe tells whether all of a text was received, or is durably on a relay, in the session
// in use, and its identity is checked: a stranger who was accepted must not keep the contact
// from having it.
func (w *work) isSafe(c *contact, r *row) (bool, error) {
	if !c.Checked || c.Session.Stopped || r.Session != c.Session.ID {
		return false, nil
	}
	for _, pt := range r.Sent {
		if pt.Delivered {
			continue
		}
		o, err := getRecord[op](w, tableOutbox, pt.Op[:])
		if err != nil || o == nil || o.Cancel || o.Memory || !w.now.Before(o.Until) {
			return false, err
		}
	}
	return true, nil
}

// retireOld ends the replaced sessions that are done with, and those that stopped. One is
// done with when its queue is empty or gone, it has nothing to send, no text lacks a receipt, and
// all was shown, with its gaps.
func (v *visit) retireOld() error {
	empty := maps.Clone(v.gone)
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
