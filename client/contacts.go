package client

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

func checkName(name string) error {
	if len(name) > maxName || !utf8.ValidString(name) {
		return ErrName
	}
	return nil
}

func compareLabels(a, b string) int { return strings.Compare(foldLabel(a), foldLabel(b)) }

// find returns the contact with exactly this label.
func (w *work) find(label string) (*contact, error) {
	contacts, err := w.all()
	if err != nil {
		return nil, err
	}
	for _, c := range contacts {
		if foldLabel(c.Label) == foldLabel(label) {
			return c, nil
		}
	}
	return nil, fmt.Errorf("%w: %q", ErrNoContact, label)
}

// guess returns the contact that a label or the beginning of one means; it only
// serves to read.
func (w *work) guess(label string) (*contact, error) {
	c, err := w.find(label)
	if err == nil {
		return c, nil
	}
	contacts, _ := w.all()
	var found *contact
	for _, c := range contacts {
		if strings.HasPrefix(foldLabel(c.Label), foldLabel(label)) {
			if found != nil {
				return nil, fmt.Errorf("%w: %q may be %q or %q", ErrNoContact, label, found.Label, c.Label)
			}
			found = c
		}
	}
	if found == nil || foldLabel(label) == "" {
		return nil, err
	}
	return found, nil
}

// change runs f on the contact with exactly this label, in one commit.
func (p *Profile) change(label string, f func(*work, *contact) error) error {
	return p.update(nil, func(w *work) error {
		c, err := w.find(label)
		if err != nil {
			return err
		}
		return f(w, c)
	})
}

// Contacts returns every contact, by label.
func (p *Profile) Contacts() ([]Contact, error) {
	var out []Contact
	err := p.look(func(w *work) error {
		contacts, err := w.all()
		if err != nil {
			return err
		}
		unread := map[id]int{}
		err = eachRecord(w, tableMessage, func(key []byte, r *row) error {
			if r.isNew() && !w.isOver(r) {
				unread[id(key)]++
			}
			return nil
		})
		for _, c := range contacts {
			o := c.public(w)
			o.Unread = unread[c.ID]
			out = append(out, o)
		}
		return err
	})
	return out, err
}

func (c *contact) public(w *work) Contact {
	o := Contact{Label: c.Label, CallsThemself: c.Calls, IdentityChecked: c.Checked, MustAccept: c.MustAccept,
		Joined: c.Session != nil, LastReceived: c.LastReceived}
	o.Stopped = c.Session != nil && c.Session.Stopped
	for _, inv := range c.Invites {
		o.Invited = o.Invited || inv.open(w.now)
	}
	return o
}

// Rename gives a contact another label. It stays on this side alone.
func (p *Profile) Rename(label, to string) error {
	to, err := cleanLabel(to)
	if err != nil {
		return err
	}
	return p.change(label, func(w *work, c *contact) error {
		contacts, err := w.all()
		if err != nil {
			return err
		}
		if err := freeLabel(contacts, to, c); err != nil {
			return err
		}
		c.Label = to
		return nil
	})
}

// Digits returns the 60 digits that both sides compare, in twelve groups.
func (p *Profile) Digits(label string) (digits string, c Contact, err error) {
	err = p.ShowDigits(label, func(d string, of Contact) error {
		digits, c = d, of
		return nil
	})
	return digits, c, err
}

// ShowDigits passes what Digits returns to show, which must not use the profile. Only if it
// returns nil the digits count as shown, for SetChecked.
func (p *Profile) ShowDigits(label string, show func(digits string, c Contact) error) error {
	return p.change(label, func(w *work, found *contact) error {
		if found.Session == nil {
			return fmt.Errorf("%w: %q", ErrNotJoined, label)
		}
		r, err := w.ratchet(found.Session)
		if err != nil {
			return err
		}
		if err := show(r.Digits(), found.public(w)); err != nil {
			return err
		}
		found.Compared = found.Session.ID
		return nil
	})
}

// SetChecked notes that the digits were compared and are equal. again is how many texts
// are said again in the new session. ErrMustAccept: the contact has begun another session
// since digits were shown. ErrStopped: nothing goes out in the session any more.
func (p *Profile) SetChecked(label string) (again int, err error) {
	return p.goOn(label, func(c *contact) error {
		if c.Compared != (id{}) && c.Compared != c.Session.ID {
			return fmt.Errorf("%w: %q, since its digits were shown", ErrMustAccept, label)
		}
		c.Checked, c.Compared = true, id{}
		return nil
	})
}

// Accept goes on unchecked with a new session for a known label. again is how many
// texts are said again in it. ErrStopped is as for SetChecked.
func (p *Profile) Accept(label string) (again int, err error) {
	return p.goOn(label, func(*contact) error { return nil })
}

func (p *Profile) goOn(label string, with func(*contact) error) (again int, err error) {
	err = p.change(label, func(w *work, c *contact) error {
		switch {
		case c.Session == nil:
			return fmt.Errorf("%w: %q", ErrNotJoined, label)
		case c.Session.Stopped:
			return fmt.Errorf("%w: %q", ErrStopped, label)
		}
		if err := with(c); err != nil {
			return err
		}
		c.MustAccept = false
		for _, s := range c.Old {
			s.Left = true
		}
		again, err = w.sayAgain(c)
		return err
	})
	return again, err
}

// adopt makes s the contact's session. Whoever had one before must be accepted or
// checked again; their old queue is read until it is empty and no text waits for its
// receipt there, unless its session has stopped. A join that was refused before is over:
// whoever answers it is older than this.
func (c *contact) adopt(w *work, s *session) error {
	if c.Join != nil && !c.Join.Refused.IsZero() {
		if err := w.forgetJoin(c); err != nil {
			return err
		}
	}
	if old := c.Session; old != nil {
		c.MustAccept, c.Checked = true, false
		if old.Stopped {
			if err := w.endSession(old); err != nil {
				return err
			}
		} else {
			old.Replaced = w.now
			c.Old = append(c.Old, old)
		}
	}
	c.Session = s
	w.report.Joined = append(w.report.Joined, c.Label)
	w.event(c, EventJoined)
	return nil
}

// forget deletes a contact with all that belongs to them.
func (w *work) forget(c *contact) error {
	for _, inv := range c.Invites {
		if err := w.dropInvite(inv); err != nil {
			return err
		}
	}
	if c.Join != nil && c.Join.Session == nil {
		if err := w.dropQueue(c.Join.In); err != nil {
			return err
		}
	}
	sessions := c.sessions()
	for _, s := range sessions {
		if err := w.endSession(s); err != nil {
			return err
		}
	}
	for _, table := range []string{tableMessage, tableQuarantine} {
		if err := w.deletePrefix(table, c.ID); err != nil {
			return err
		}
	}
	for _, s := range sessions {
		if err := w.deletePrefix(tableSent, s.ID); err != nil {
			return err
		}
	}
	err := eachRecord(w, tableOutbox, func(key []byte, o *op) error {
		if o.Contact != c.ID {
			return nil
		}
		return w.tx.Delete(tableOutbox, key)
	})
	if err != nil {
		return err
	}
	delete(w.contacts, c.ID)
	return w.tx.Delete(tableContact, c.ID[:])
}

func (w *work) deletePrefix(table string, prefix id) error {
	return w.tx.Each(table, func(key, _ []byte) error {
		if id(key) != prefix {
			return nil
		}
		return w.tx.Delete(table, key)
	})
}

// isOver tells whether a session has stopped or is gone: nothing that was said in it goes
// out any more.
func (c *contact) isOver(key id) bool {
	s := c.findSession(key)
	return s == nil || s.Stopped
}

// findSession returns the contact's session with this id, whichever it is.
func (c *contact) findSession(key id) *session {
	for _, s := range c.sessions() {
		if s.ID == key {
			return s
		}
	}
	return nil
}

// sessions are all that the contact has: replaced ones, the one in use, and that of a
// join that the relay has not confirmed.
func (c *contact) sessions() []*session {
	out := slices.Clone(c.Old)
	if c.Session != nil {
		out = append(out, c.Session)
	}
	if c.Join != nil && c.Join.Session != nil {
		out = append(out, c.Join.Session)
	}
	return out
}

// checked tells whether who writes in s had their identity checked: in a replaced
// session nobody has, any more.
func (c *contact) checked(s *session) bool { return c.Checked && s == c.Session }
