//go:build linux

package sim

import (
	"time"

	"github.com/google/uuid"

	"kin/client"
	"kin/protocol"
)

// bond is two people's connection, from one invite on. What breaks it ends what is
// owed.
type bond struct {
	host, guest *person
	broken      bool  // one of them removed the other
	rolled      bool  // one of them went on with an old copy of the profile
	before      *bond // theirs, which this one takes the place of
	again       bool  // such a one has begun
	gaps        map[*person]int
	unread      map[*person]bool // who said something that expired or was taken back
}

// said is a text that somebody told the client to send.
type said struct {
	n         int // in the order of its sender's texts
	bond      *bond
	from, to  *person
	body      string
	urgent    bool
	envelopes int
	ttl       time.Duration
	id        uuid.UUID // once it was accepted
	accepted  bool
	began     time.Time
	deadline  time.Time

	cancelled bool // it was to be taken back
	delivered bool // the sender was told so
	queuedAt  time.Time
	owedUntil time.Time // the relay has it, by what the sender was told, until then at least
	onRelay   bool
	shown     int
	committed bool // the receiver's profile was seen to have it
}

// intact tells whether both people still owe each other what they said.
func (b *bond) intact() bool { return !b.broken && !b.rolled }

// end breaks a bond and those whose place it took.
func (b *bond) end() {
	for ; b != nil; b = b.before {
		b.broken = true
	}
}

// roll notes that one of them is older than what the other has seen.
func (b *bond) roll() {
	for ; b != nil; b = b.before {
		b.rolled = true
	}
}

// lost tells whether a text should have been shown, and was not.
func (s *said) lost(now time.Time) bool {
	return s.bond.intact() && s.accepted && s.shown == 0 && !s.cancelled && now.Before(s.deadline)
}

// untold tells whether a text was shown, and its sender should have heard of it. A
// receipt that went with a text which was taken back or expired comes again only
// when the relay's copy of this one has expired: that long the town does not wait. Of a
// text that was taken back nobody hears in a new session (docs/reliability.md, Known).
func (s *said) untold(now time.Time) bool {
	return s.bond.intact() && !(s.cancelled && s.bond.again) && s.accepted && s.shown > 0 && !s.delivered && now.Before(s.deadline) && !s.bond.unread[s.to]
}

// lifeOnRelay is the longest life that a relay gives of at most ttl, and of what is
// left until the deadline.
func lifeOnRelay(ttl, left time.Duration) (life time.Duration) {
	for _, c := range protocol.TTLClasses {
		if d := time.Duration(c) * time.Hour; d <= min(ttl, left) {
			life = d
		}
	}
	return life
}

// show judges what a profile shows to p.
func (t *town) show(p *person, ms []client.Message) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	together := map[string]bool{}
	for _, m := range ms {
		together[m.Text] = true
	}
	for _, m := range ms {
		t.log(p.name, "is shown %q of %s gap %d note %q", first(m.Text), m.Contact, m.Gap, m.Note)
		from := p.labelled(m.Contact)
		if m.Note != "" {
			t.counts["note "+m.Note]++
			if b := p.bonds[from]; m.Note != client.NoteTakenBack && b != nil && b.intact() {
				t.violation("%s sees the note %q of %s, and nothing was done that explains it", p.name, m.Note, from.name)
			}
			continue
		}
		s := t.said[m.Text]
		switch {
		case s == nil:
			t.violation("%s is shown a text that nobody sent: %q", p.name, first(m.Text))
			continue
		case s.to != p || s.from != from:
			t.violation("%s is shown %q as from %q; it is from %s to %s", p.name, first(m.Text), m.Contact, s.from.name, s.to.name)
		case s.shown > 0 && p.restores == 0:
			t.violation("%s is shown %q again", p.name, first(m.Text))
		}
		b := s.bond
		if m.Urgent != s.urgent || m.Direction != client.In || !s.deadline.IsZero() && m.Until.Sub(s.deadline).Abs() > time.Minute {
			t.violation("%s is shown %q with another deadline or urgency: %+v", p.name, first(m.Text), m)
		}
		if late := m.Received.Sub(m.Until); late > time.Hour+5*time.Minute {
			t.violation("%s got %q %v after its deadline", p.name, first(m.Text), late)
		}
		s.shown++
		s.committed = true
		t.counts["shown"]++
		b.gaps[p] += m.Gap
		if b.gaps[p] == 0 && !b.rolled {
			for _, e := range t.said {
				if e.bond == b && e.from == s.from && e.n < s.n && e.lost(now) && !together[e.body] {
					t.violation("%s is shown %q before %q, and no gap is told", p.name, first(s.body), first(e.body))
				}
			}
		}
	}
}

// got judges a successful receive of p that began at a time: whatever was on the
// relay then, as its sender was told, has been shown. When two begin anew what was
// said before is taken from the relay, and said again, at a moment that the town does not know.
func (t *town) got(p *person, began time.Time) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.all {
		if s.to == p && s.onRelay && s.shown == 0 && !s.cancelled && s.bond.intact() && !s.bond.again && !s.queuedAt.After(began) && now.Before(s.owedUntil) {
			t.violation("%s received all there is and was not shown %q, which is on the relay since %v by what %s was told", p.name, first(s.body), s.queuedAt.Format(time.TimeOnly), s.from.name)
		}
	}
}

// status judges what p is told of its messages.
func (p *person) status(profile *client.Profile) {
	t := p.t
	all, err := profile.Status()
	if err != nil {
		t.fail("%s's status: %v", p.name, err)
		return
	}
	now := time.Now()
	byID := map[uuid.UUID]client.Status{}
	var look []*said
	t.mu.Lock()
	for _, st := range all {
		byID[st.ID] = st
	}
	for _, s := range t.all {
		st, ok := byID[s.id]
		if s.from != p || !s.accepted {
			continue
		}
		if !ok {
			if !s.bond.broken && !s.bond.rolled {
				t.violation("%s has no status of %q", p.name, first(s.body))
			}
			continue
		}
		delivered := st.State == client.StateDelivered || st.State == client.StateRead
		switch {
		case s.delivered && !delivered && !s.bond.rolled:
			t.violation("%s was told that %q is delivered, and now that it is %s", p.name, first(s.body), st.State)
		case delivered && s.shown == 0 && !s.committed:
			look = append(look, s)
		case st.State == client.StateCancelled && !s.cancelled:
			t.violation("%s is told that %q is cancelled, and did not ask for it", p.name, first(s.body))
		case st.State == client.StateExpiredUnread && now.Before(s.deadline.Add(-time.Second)):
			t.violation("%s is told that %q expired, before its deadline", p.name, first(s.body))
		}
		s.delivered = s.delivered || delivered
		if st.State == client.StateExpiredUnread || st.State == client.StateCancelled {
			s.bond.unread[p] = true
		}
		if st.State == client.StateOnRelay && !s.onRelay {
			// It was put after the last look.
			s.onRelay, s.queuedAt = true, now
			s.owedUntil = p.looked
			if p.looked.Before(s.began) {
				s.owedUntil = s.began
			}
			s.owedUntil = s.owedUntil.Add(lifeOnRelay(s.ttl, s.deadline.Sub(now)))
		}
	}
	p.looked = now
	t.mu.Unlock()
	for _, s := range look {
		if s.to.has(s) {
			t.mu.Lock()
			s.committed = true
			t.mu.Unlock()
			continue
		}
		t.fail("%s is told that %q is delivered, and %s does not have it", p.name, first(s.body), s.to.name)
	}
}

// first is how a text is called.
func first(text string) string { return text[:min(len(text), 16)] }
