package client

import (
	"bytes"
	"errors"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"kin/client/vault"
)

// takeText adds a text, or a part of one, to the history. A text has its place where it
// became whole, and what is missing before it is shown with it: not with what nobody
// sees, a part or a receipt.
func (w *work) takeText(c *contact, s *session, b *body) error {
	r := &row{ID: b.id, In: true, Checked: true, Made: b.sent, Received: w.now, Until: b.deadline, Urgent: b.flags&flagUrgent != 0, Session: s.ID}
	if n := int(b.items.count); n > 0 && b.kind == kindText {
		r.ID, r.Parts = s.partsOf(b.id), make([][]byte, n)
		come, err := w.row(c, true, r.ID)
		switch {
		case err != nil:
			return err
		case come == nil:
		case len(come.Parts) == n && come.Parts[b.items.index] == nil:
			r = come
		default:
			r.ID = uuid.New() // somebody uses an id twice
		}
	}
	r.Checked = r.Checked && c.checked(s)
	r.Seq = max(r.Seq, b.seq)
	switch {
	case b.kind != kindText:
		r.Note = NoteNewer
	case b.items.count > 0:
		r.Parts[b.items.index] = append([]byte{}, b.items.text...)
		if r.Have++; r.Have < len(r.Parts) {
			break
		}
		r.Text, r.Parts, r.Received = slices.Concat(r.Parts...), nil, w.now
		if err := w.tx.Delete(tableMessage, messageKey(c.ID, true, r.ID)); err != nil {
			return err
		}
	default:
		r.Text = b.items.text
	}
	if !r.complete() {
		return w.putRow(c, r)
	}
	if !utf8.Valid(r.Text) {
		r.Text = bytes.ToValidUTF8(r.Text, []byte("\uFFFD"))
	}
	if known, err := w.place(c, r, b.id); known || err != nil {
		return err
	}
	w.report.Received++
	if r.Seq > s.Shown {
		r.GapFrom, s.Shown = s.Shown+1, r.Seq
	}
	return w.addRow(c, r)
}

// place gives a text that is whole the id that it was said with, or, if another has that,
// one that is made from it. known: it came in another session already.
func (w *work) place(c *contact, r *row, said uuid.UUID) (known bool, err error) {
	for r.ID = said; ; r.ID = uuid.NewSHA1(r.ID, nil) {
		o, err := w.row(c, true, r.ID)
		switch {
		case o == nil || err != nil:
			return false, err
		case o.Session == r.Session:
			r.ID = uuid.New() // somebody uses an id twice: both are shown
			return false, nil
		case r.says(o):
			return true, nil
		}
	}
}

// says tells whether two rows say the same.
func (r *row) says(o *row) bool {
	return o.Note == r.Note && bytes.Equal(o.Text, r.Text) && o.Urgent == r.Urgent && o.Made.Equal(r.Made) && o.Until.Equal(r.Until)
}

// partsOf is where the parts of a text of s are, until it is whole: who reads one session
// can't keep what is said in another from being shown.
func (s *session) partsOf(said uuid.UUID) uuid.UUID { return uuid.NewSHA1(said, s.ID[:]) }

// complete tells whether all of a text is here.
func (r *row) complete() bool { return r.Parts == nil && !r.GivenUp }

// lastChance is until when the rest of an incomplete text can come: the time that its
// sender gave it, from its first part on, and then the longest life on a relay. By this
// profile's clock alone.
func (r *row) lastChance() time.Time {
	return r.Received.Add(min(r.Until.Sub(r.Made), DefaultUntil) + DefaultUntil)
}

// giveUpParts forgets the parts of texts that can't become whole any more. While their
// session lives, and their sender may keep them, it is known that there were some: the rest
// must get no receipt.
func (w *work) giveUpParts() error {
	return eachRecord(w, tableMessage, func(key []byte, r *row) error {
		if r.complete() {
			return nil
		}
		c, err := w.contact(id(key))
		if err != nil {
			return err
		}
		switch {
		case c == nil || c.findSession(r.Session) == nil || w.now.After(r.lastChance().Add(vault.MaxKeep)):
			return w.tx.Delete(tableMessage, key)
		case r.GivenUp || !w.now.After(r.lastChance()):
			return nil
		}
		r.GivenUp, r.Parts = true, nil
		return w.putRow(c, r)
	})
}

// comesTooLate tells whether b is a part of a text that was given up. It gets no receipt,
// nor does its duplicate, for the text would then count as delivered.
func (w *work) comesTooLate(c *contact, s *session, b *body) (bool, error) {
	if b.kind != kindText || b.items.count == 0 {
		return false, nil
	}
	r, err := w.row(c, true, s.partsOf(b.id))
	if r == nil || !r.GivenUp || err != nil {
		return false, err
	}
	w.event(c, EventLost)
	return true, errors.Join(w.note(c, s, NoteLost, b.seq), w.tx.Delete(tableSeen, seenKey(s.ID, b.seq)))
}
