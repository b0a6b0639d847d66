package client

import (
	"cmp"
	"slices"
)

// sayAgain says in the contact's session what was said in replaced ones and has no
// receipt, in its order and under the same ids, so that they are shown it once whichever
// arrives. What was written for somebody whose identity was checked waits until that of
// the new session is.
func (w *work) sayAgain(c *contact) (n int, err error) {
	rows, err := w.unheard(c)
	if err != nil {
		return 0, err
	}
	for _, r := range rows {
		if r.Checked && !c.Checked {
			continue
		}
		ttl := DefaultTTL
		for _, pt := range r.Sent {
			o, err := getRecord[op](w, tableOutbox, pt.Op[:])
			if err != nil {
				return n, err
			}
			if o != nil { // no receipt came for this part
				ttl = o.TTL
			}
		}
		r.Before = append(r.Before, sealing{r.Session, r.Sent})
		r.Session, r.Sent, r.State, r.Changed, r.Reason = c.Session.ID, nil, StateQueued, w.now, ""
		if err := w.say(c, c.Session, r, split(string(r.Text)), ttl); err != nil {
			return n, err
		}
		if err := w.putRow(c, r); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// Unheard is how many texts to the contact with exactly this label were said in a replaced
// session and have no receipt, and how many of them were written to an identity that was
// checked: Accept says the others again, SetChecked all.
func (p *Profile) Unheard(label string) (all, checked int, err error) {
	err = p.view(func(w *work) error {
		c, err := w.find(label)
		if err != nil {
			return err
		}
		rows, err := w.unheard(c)
		for _, r := range rows {
			all++
			if r.Checked {
				checked++
			}
		}
		return err
	})
	return all, checked, err
}

// unheard are the texts without a receipt of the contact's replaced sessions that can
// still be put. A session that stopped has none: its texts may be in the newer profile,
// and taken back there.
func (w *work) unheard(c *contact) (rows []*row, err error) {
	old := map[id]bool{}
	for _, s := range c.Old {
		if !s.Stopped {
			old[s.ID] = true
		}
	}
	if len(old) == 0 {
		return nil, nil
	}
	err = eachRecord(w, tableMessage, func(key []byte, r *row) error {
		st := r.state(w.now)
		if id(key) == c.ID && old[r.Session] && r.Until.Sub(w.now) >= minLife && (st == StateQueued || st == StateOnRelay || st == StateOnRelayMemory) {
			rows = append(rows, r)
		}
		return nil
	})
	slices.SortFunc(rows, func(a, b *row) int { return cmp.Compare(a.N, b.N) })
	return rows, err
}
