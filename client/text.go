package client

import (
	"bytes"
	"slices"
	"unicode/utf8"

	"github.com/google/uuid"
)

// takeText adds a text, or a part of one, to the history. A text has its place where it
// became whole, and what is missing before it is shown with it: not with what nobody
// sees, a part or a receipt.
func (w *work) takeText(c *contact, s *session, b *body) error {
	said := b.id
	r, err := w.row(c, true, b.id)
	if err != nil {
		return err
	}
	switch {
	case r == nil || r.Session == s.ID:
	case s == c.Session && !r.complete():
		r = nil // all of it is said again here
	default:
		b.id = s.alias(said)
		if r, err = w.row(c, true, b.id); err != nil {
			return err
		}
	}
	if r != nil && (r.complete() || b.kind != kindText || int(b.items.count) != len(r.Parts) || r.Parts[b.items.index] != nil) {
		r, b.id = nil, uuid.New() // somebody uses an id twice: show both
	}
	if r == nil {
		r = &row{ID: b.id, In: true, Checked: c.checked(s), Made: b.sent, Received: w.now, Until: b.deadline,
			Urgent: b.flags&flagUrgent != 0, Session: s.ID}
		if n := b.items.count; n > 0 && b.kind == kindText {
			r.Parts = make([][]byte, n)
		}
	}
	r.Seq = max(r.Seq, b.seq)
	switch {
	case b.kind != kindText:
		r.Note = NoteNewer
	case b.items.count > 0:
		r.Parts[b.items.index] = append([]byte{}, b.items.text...)
		if r.Have++; r.Have < len(r.Parts) {
			break
		}
		r.Text, r.Parts = slices.Concat(r.Parts...), nil
	default:
		r.Text = b.items.text
	}
	if !r.complete() {
		return w.putRow(c, r)
	}
	if !utf8.Valid(r.Text) {
		r.Text = bytes.ToValidUTF8(r.Text, []byte("\uFFFD"))
	}
	known, err := w.saidBefore(c, r, said)
	if err != nil {
		return err
	}
	if known {
		return w.tx.Delete(tableMessage, messageKey(c.ID, true, r.ID)) // its parts
	}
	w.report.Received++
	if r.Seq > s.Shown {
		r.GapFrom, s.Shown = s.Shown+1, r.Seq
	}
	return w.addRow(c, r)
}

// saidBefore tells whether a text that is whole came in another session already, under
// the id that it was said with.
func (w *work) saidBefore(c *contact, r *row, said uuid.UUID) (bool, error) {
	ids := []uuid.UUID{said}
	for _, s := range c.sessions() {
		ids = append(ids, s.alias(said))
	}
	for _, u := range ids {
		o, err := w.row(c, true, u)
		if err != nil {
			return false, err
		}
		if o != nil && o.Session != r.Session && o.complete() && o.Note == r.Note && bytes.Equal(o.Text, r.Text) {
			return true, nil
		}
	}
	return false, nil
}

// alias is the id that a text of s stands under if another session has a text with its
// own: who reads one session can't keep what is said in another from being shown.
func (s *session) alias(said uuid.UUID) uuid.UUID { return uuid.NewSHA1(said, s.ID[:]) }

// complete tells whether all of a text is here.
func (r *row) complete() bool { return r.Parts == nil }
