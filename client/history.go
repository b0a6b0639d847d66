package client

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	"github.com/google/uuid"

	"kin/client/vault"
)

// message is a row as callers see it.
func (r *row) message(w *work, c *contact) Message {
	m := Message{ID: r.ID, Contact: c.Label, IdentityChecked: r.Checked, Direction: Out, Sent: r.Made, Received: r.Received,
		Text: string(r.Text), Urgent: r.Urgent, Seq: r.Seq, State: r.state(w.now), Until: r.Until, Note: r.Note, Count: r.Count}
	if r.In {
		m.Direction = In
	}
	if s := c.findSession(r.Session); s != nil && r.GapFrom > 0 {
		m.Gap = s.Missing.count(r.GapFrom, r.Seq)
	}
	return m
}

// rows loads the rows of a contact, in order, that keep says yes to; of every
// contact for the zero id.
func (w *work) rows(who id, keep func(*row) bool) (rows []*row, contacts []*contact, err error) {
	type line struct {
		r  *row
		c  *contact
		at time.Time
	}
	var found []line
	err = eachRecord(w, tableMessage, func(key []byte, r *row) error {
		if who != (id{}) && id(key) != who || !keep(r) || w.isOver(r) {
			return nil
		}
		c, err := w.contact(id(key))
		if c != nil {
			found = append(found, line{r, c, r.when()})
		}
		return err
	})
	// A contact's rows keep their order, whatever the clock did meanwhile.
	slices.SortFunc(found, func(a, b line) int {
		return cmp.Or(bytes.Compare(a.c.ID[:], b.c.ID[:]), cmp.Compare(a.r.N, b.r.N))
	})
	for i := 1; i < len(found); i++ {
		if a, b := found[i-1], &found[i]; a.c == b.c && b.at.Before(a.at) {
			b.at = a.at
		}
	}
	slices.SortStableFunc(found, func(a, b line) int { return a.at.Compare(b.at) })
	for _, f := range found {
		rows, contacts = append(rows, f.r), append(contacts, f.c)
	}
	return rows, contacts, err
}

// when a row came into the history.
func (r *row) when() time.Time {
	if r.In {
		return r.Received
	}
	return r.Made
}

// isOver tells whether a row's days are over.
func (w *work) isOver(r *row) bool { return r.complete() && w.tx.Over(vault.Day(r.when()), w.now) }

// look is a view of what is kept. What is past its days is not shown (isOver), and goes then.
func (p *Profile) look(f func(*work) error) error {
	past := false
	err := p.view(func(w *work) error {
		past = w.tx.Past(w.now)
		return f(w)
	})
	if past {
		p.v.Disappear(time.Now()) // what a failing disk does not let go stays unshown
	}
	return err
}

// History returns all messages from and to a contact that are still kept, the
// oldest first. The beginning of a label will do.
func (p *Profile) History(label string) ([]Message, error) {
	var out []Message
	err := p.look(func(w *work) error {
		c, err := w.guess(label)
		if err != nil {
			return err
		}
		rows, _, err := w.rows(c.ID, (*row).complete)
		for _, r := range rows {
			out = append(out, r.message(w, c))
		}
		return err
	})
	return out, err
}

// Status returns every outgoing message that is still kept, the oldest first.
func (p *Profile) Status() ([]Status, error) {
	var out []Status
	err := p.look(func(w *work) error {
		rows, contacts, err := w.rows(id{}, func(r *row) bool { return !r.In })
		for i, r := range rows {
			out = append(out, r.status(w, contacts[i]))
		}
		return err
	})
	return out, err
}

func (p *Profile) statusOf(u uuid.UUID) (st Status, err error) {
	err = p.view(func(w *work) error {
		c, r, err := w.outgoing(u)
		if err == nil {
			st = r.status(w, c)
		}
		return err
	})
	return st, err
}

func (r *row) status(w *work, c *contact) Status {
	st := Status{ID: r.ID, Contact: c.Label, State: r.state(w.now), Made: r.Made, Changed: r.Changed, Until: r.Until, Urgent: r.Urgent,
		Parts: len(r.Sent), Reason: r.Reason}
	if st.State == StateExpiredUnread {
		st.Changed = r.Until
	}
	st.Stopped = st.State == StateQueued && c.isOver(r.Session)
	if s := c.findSession(r.Session); s != nil && s.Left {
		st.Waits = st.State == StateQueued && !s.Stopped && r.Checked && !c.Checked
	}
	for _, pt := range r.Sent {
		if pt.OnRelay || pt.Delivered {
			st.OnRelay++
		}
	}
	return st
}

// newOnes are the new messages of a contact, or of all, and which of them are urgent.
func (p *Profile) newOnes(who id) (urgent map[newOne]bool, err error) {
	err = p.look(func(w *work) error {
		rows, contacts, err := w.rows(who, (*row).isNew)
		urgent = make(map[newOne]bool, len(rows))
		for i, r := range rows {
			urgent[newOne{contacts[i].ID, r.ID}] = r.Urgent
		}
		return err
	})
	return urgent, err
}

type newOne struct {
	contact id
	message uuid.UUID
}

// announce tells of the new messages if one is there that was not before.
func (p *Profile) announce(who id, before map[newOne]bool, tell func(n int, urgent bool)) (now map[newOne]bool, err error) {
	if now, err = p.newOnes(who); err != nil {
		return before, err
	}
	more, any := false, false
	for m, urgent := range now {
		_, known := before[m]
		more, any = more || !known, any || urgent
	}
	if more {
		tell(len(now), any)
	}
	return now, nil
}

// isNew tells whether a row was not shown yet and can be.
func (r *row) isNew() bool { return r.In && !r.Shown && r.complete() }

// showNew passes the new messages of a contact, or of all, to show, and notes that
// they were shown if it returns nil: all within the profile's lock, so that each
// is shown once, by one process.
func (p *Profile) showNew(who id, show func([]Message) error) (n int, err error) {
	if there, err := p.newOnes(who); err != nil || len(there) == 0 {
		return 0, err
	}
	err = p.update(nil, func(w *work) error {
		rows, contacts, messages, err := w.newMessages(who)
		if n = len(rows); err != nil || n == 0 {
			return err
		}
		if err := show(messages); err != nil {
			return err
		}
		for i, r := range rows {
			r.Shown = true
			if err := w.putRow(contacts[i], r); err != nil {
				return err
			}
		}
		return nil
	})
	return n, err
}

func (w *work) newMessages(who id) (rows []*row, contacts []*contact, messages []Message, err error) {
	rows, contacts, err = w.rows(who, (*row).isNew)
	for i, r := range rows {
		messages = append(messages, r.message(w, contacts[i]))
	}
	return rows, contacts, messages, err
}

// showSlowly is showNew for a show that waits for a person: the profile is not held
// meanwhile. What was taken back by then stays new.
func (p *Profile) showSlowly(who id, show func([]Message) error) (n int, err error) {
	shown := map[newOne]Message{}
	var messages []Message
	err = p.look(func(w *work) error {
		rows, contacts, all, err := w.newMessages(who)
		for i, r := range rows {
			shown[newOne{contacts[i].ID, r.ID}] = all[i]
		}
		messages = all
		return err
	})
	if err != nil || len(messages) == 0 {
		return 0, err
	}
	if err := show(messages); err != nil {
		return 0, err
	}
	return len(messages), p.update(nil, func(w *work) error {
		rows, contacts, now, err := w.newMessages(who)
		if err != nil {
			return err
		}
		for i, r := range rows {
			was, ok := shown[newOne{contacts[i].ID, r.ID}]
			if !ok || was.Text != now[i].Text || was.Note != now[i].Note {
				continue
			}
			r.Shown = true
			if err := w.putRow(contacts[i], r); err != nil {
				return err
			}
		}
		return nil
	})
}
