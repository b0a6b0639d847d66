package client

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"kin/client/ratchet"
	"kin/client/vault"
)

// work is one commit, or one look, at a profile. Contacts and ratchets that were
// loaded are written back, if they changed, when an update ends.
type work struct {
	tx       *vault.Tx
	now      time.Time
	report   *Report
	contacts map[id]*contact
	loaded   map[id][]byte // contacts as they stand in the vault
	ratchets map[id]*ratchet.Session
	stepped  map[id]bool
}

func newWork(tx *vault.Tx, r *Report) *work {
	return &work{tx: tx, now: time.Now(), report: r, contacts: map[id]*contact{}, loaded: map[id][]byte{},
		ratchets: map[id]*ratchet.Session{}, stepped: map[id]bool{}}
}

// update makes all that f does durable in one commit, or none of it.
func (p *Profile) update(r *Report, f func(*work) error) error {
	scratch := new(Report)
	err := p.v.Update(time.Now(), func(tx *vault.Tx) error {
		w := newWork(tx, scratch)
		if err := f(w); err != nil {
			return err
		}
		return w.save()
	})
	if err == nil && r != nil {
		p.mu.Lock()
		r.merge(scratch)
		p.mu.Unlock()
	}
	return err
}

// inSteps updates with f again and again, until it has not been stopped by w.full.
func (p *Profile) inSteps(r *Report, f func(*work) error) error {
	for full := true; full; {
		err := p.update(r, func(w *work) error {
			err := f(w)
			full = w.full()
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// full tells whether a commit steps as many ratchets as it may: in a profile that is
// full there is no room for more.
func (w *work) full() bool { return len(w.stepped) >= vault.Steps }

// view runs f, which changes nothing.
func (p *Profile) view(f func(*work) error) error {
	return p.v.View(func(tx *vault.Tx) error { return f(newWork(tx, new(Report))) })
}

func (r *Report) merge(o *Report) {
	r.Received += o.Received
	r.Wait = max(r.Wait, o.Wait)
	r.Joined = append(r.Joined, o.Joined...)
	for _, e := range o.Events {
		r.event(e)
	}
}

// event adds to what a person should hear. What happens again counts up: a report of
// one who follows for months has no line for each time.
func (r *Report) event(e Event) {
	i := slices.IndexFunc(r.Events, func(o Event) bool { return o.Contact == e.Contact && o.Kind == e.Kind })
	if i < 0 {
		r.Events = append(r.Events, e)
		return
	}
	r.Events[i].Count += e.Count
}

func (w *work) event(c *contact, kind EventKind) { w.report.event(Event{c.Label, kind, 1}) }

func (w *work) save() error {
	for key, c := range w.contacts {
		b, err := json.Marshal(c)
		if err != nil {
			return err
		}
		if !bytes.Equal(b, w.loaded[key]) {
			if err := w.tx.Put(tableContact, key[:], b); err != nil {
				return err
			}
		}
	}
	for key := range w.stepped {
		if err := w.tx.PutRotating(tableRatchet, key[:], w.ratchets[key].Marshal()); err != nil {
			return err
		}
	}
	return nil
}

func getRecord[T any](w *work, table string, key []byte) (*T, error) {
	b, err := w.tx.Get(table, key)
	if err != nil || b == nil {
		return nil, err
	}
	return parseRecord[T](table, b)
}

func parseRecord[T any](table string, b []byte) (*T, error) {
	v := new(T)
	if err := json.Unmarshal(b, v); err != nil {
		return nil, fmt.Errorf("%w: a %s record: %v", vault.ErrDamaged, table, err)
	}
	return v, nil
}

func eachRecord[T any](w *work, table string, f func(key []byte, v *T) error) error {
	return w.tx.Each(table, func(key, b []byte) error {
		v, err := parseRecord[T](table, b)
		if err != nil {
			return err
		}
		return f(key, v)
	})
}

func (w *work) put(table string, key []byte, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return w.tx.Put(table, key, b)
}

// putUntil stores what disappears with its retention day.
func (w *work) putUntil(table string, key []byte, v any, made time.Time) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return w.tx.PutUntil(table, key, b, vault.Day(made))
}

func (w *work) self() (*self, error) {
	s, err := getRecord[self](w, tableSelf, []byte(tableSelf))
	if err == nil && s == nil {
		err = ErrUnfinished
	}
	return s, err
}

func (w *work) putSelf(s *self) error { return w.put(tableSelf, []byte(tableSelf), s) }

// contact loads a contact; nil if there is none.
func (w *work) contact(key id) (*contact, error) {
	if c := w.contacts[key]; c != nil {
		return c, nil
	}
	b, err := w.tx.Get(tableContact, key[:])
	if err != nil || b == nil {
		return nil, err
	}
	c, err := parseRecord[contact](tableContact, b)
	if err == nil {
		w.contacts[key], w.loaded[key] = c, bytes.Clone(b)
	}
	return c, err
}

// all loads every contact, by label.
func (w *work) all() ([]*contact, error) {
	var out []*contact
	err := w.tx.Each(tableContact, func(key, _ []byte) error {
		c, err := w.contact(id(key))
		out = append(out, c)
		return err
	})
	for _, c := range w.contacts { // new in this commit
		if !slices.Contains(out, c) {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b *contact) int { return compareLabels(a.Label, b.Label) })
	return out, err
}

func (w *work) addContact(label string) *contact {
	c := &contact{ID: newID(), Label: label}
	w.contacts[c.ID] = c
	return c
}

// ratchet loads a session's ratchet state.
func (w *work) ratchet(s *session) (*ratchet.Session, error) {
	if r := w.ratchets[s.ID]; r != nil {
		return r, nil
	}
	b, err := w.tx.Get(tableRatchet, s.ID[:])
	if err != nil {
		return nil, err
	}
	r, err := ratchet.ParseSession(b)
	if err != nil {
		return nil, fmt.Errorf("%w: a ratchet state: %v", vault.ErrDamaged, err)
	}
	w.ratchets[s.ID] = r
	return r, nil
}

// step replaces a ratchet state when the commit ends.
func (w *work) step(s *session, next *ratchet.Session) {
	w.ratchets[s.ID] = next
	w.stepped[s.ID] = true
}

func (w *work) addRow(c *contact, r *row) error {
	c.Next++
	r.N = c.Next
	return w.putRow(c, r)
}

// putRow stores a row with its retention day. A text that is not whole has none yet: the
// receipts for its parts are out.
func (w *work) putRow(c *contact, r *row) error {
	key := messageKey(c.ID, r.In, r.ID)
	if !r.complete() {
		return w.put(tableMessage, key, r)
	}
	return w.putUntil(tableMessage, key, r, r.when())
}

func (w *work) row(c *contact, in bool, u [16]byte) (*row, error) {
	return getRecord[row](w, tableMessage, messageKey(c.ID, in, u))
}

// dropQueue has the relay delete a queue, at the next exchange.
func (w *work) dropQueue(q inQueue) error {
	if q.Receiver == (inQueue{}).Receiver {
		return nil // the relay never made it
	}
	return w.put(tableDel, q.Receiver[:], del{q.Relay, q.Key, q.Receiver, w.now})
}

// endSession forgets a session's ratchet and what was kept to tell duplicates, and has its
// queue deleted at the relay; not if it has stopped: what waits there is for the newer profile.
func (w *work) endSession(s *session) error {
	delete(w.ratchets, s.ID)
	delete(w.stepped, s.ID)
	if err := w.tx.Delete(tableRatchet, s.ID[:]); err != nil {
		return err
	}
	for n := range uint64(seenWindow) {
		if err := w.tx.Delete(tableSeen, seenKey(s.ID, n)); err != nil {
			return err
		}
	}
	if s.Stopped {
		return nil
	}
	return w.dropQueue(s.In)
}
