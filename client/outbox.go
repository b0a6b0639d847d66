package client

import (
	"errors"
	"time"

	"github.com/google/uuid"

	"kin/protocol"
)

// tellUnsent tells, once, of texts whose deadline is over with no sign that they went out.
func (w *work) tellUnsent() error {
	told := map[uuid.UUID]bool{}
	return eachRecord(w, tableOutbox, func(key []byte, o *op) error {
		c, err := w.contact(o.Contact)
		if c == nil || err != nil {
			return err
		}
		was := o.Told
		if err := w.tellIfUnsent(c, o, told); err != nil || o.Told == was {
			return err
		}
		return w.put(tableOutbox, key, o)
	})
}

func (w *work) tellIfUnsent(c *contact, o *op, told map[uuid.UUID]bool) error {
	unsent, err := w.isUnsent(c, o)
	if unsent && !o.Told && !told[*o.Message] {
		told[*o.Message] = true
		w.event(c, EventUnsent)
	}
	o.Told = unsent
	return err
}

// ageOutbox forgets what is over for long: until then the clock may be wrong now, and
// right the next time. Where it was ahead once, a relay is not taken to have anything for
// longer than it can.
func (w *work) ageOutbox() error {
	told := map[uuid.UUID]bool{}
	return eachRecord(w, tableOutbox, func(key []byte, o *op) error {
		c, err := w.contact(o.Contact)
		if err != nil {
			return err
		}
		if c == nil {
			return w.tx.Delete(tableOutbox, key)
		}
		if w.now.After(o.Deadline.Add(DefaultUntil)) {
			err := w.tellIfUnsent(c, o, told)
			if o.Told {
				err = w.markParts(c, o, func(r *row, _ *part) { r.State, r.Changed = StateExpiredUnread, r.Until })
			}
			return errors.Join(err, w.tx.Delete(tableOutbox, key))
		}
		if !o.Until.After(w.now.Add(longestOnRelay(o))) {
			return nil
		}
		o.Until = w.now
		return w.put(tableOutbox, key, o)
	})
}

// longestOnRelay is no less than a relay keeps what is put: its class (ttlClass), to the
// end of an epoch.
func longestOnRelay(o *op) time.Duration { return o.TTL + o.TTL/10 + 2*protocol.MaxEpoch }

// isUnsent tells whether an op is of a text whose deadline is over, and no relay ever said
// to have it: not if the text was said elsewhere, or received.
func (w *work) isUnsent(c *contact, o *op) (bool, error) {
	if o.Message == nil || o.Cancel || o.Had || w.now.Before(o.Deadline) {
		return false, nil
	}
	r, err := w.row(c, false, *o.Message)
	return r == nil || r.Session == o.Session && r.state(w.now) == StateExpiredUnread, err
}

func (p *Profile) countQueued(report *Report) error {
	return p.view(func(w *work) error { return w.eachQueued(func(*op) { report.Queued++ }) })
}

// eachQueued passes on what is not out yet and can still go out.
func (w *work) eachQueued(f func(*op)) error {
	return eachRecord(w, tableOutbox, func(_ []byte, o *op) error {
		c, err := w.contact(o.Contact)
		if err != nil || c == nil || w.now.Before(o.Until) || !w.now.Before(o.Deadline) {
			return err
		}
		out, err := w.goesOut(c, o)
		if out {
			f(o)
		}
		return err
	})
}
