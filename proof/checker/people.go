package main

import (
	"fmt"

	"kin/proof/history"
)

// people judges what the events say of profiles.
type people struct {
	r        *report
	texts    map[string]*text
	order    []*text
	profiles map[string]*profile
	actors   map[string]*actor
	any      bool // of these events there was one
	ended    bool
	endAt    int64
	noticed  map[channel]bool // somebody was told that something is wrong
	alarms   []alarm
	suspects []suspect
}

// alarm is what a profile told of a contact.
type alarm struct {
	channel
	what string
}

// suspect is a violation, unless it came of a copied profile and was noticed.
type suspect struct {
	channel
	violation
}

// channel is two people, by name.
type channel struct{ a, b string }

func channelOf(a, b string) channel { return channel{min(a, b), max(a, b)} }

// text is a message that somebody handed in.
type text struct {
	id, hash, from, to string
	sender             string // the profile; of a copy, that one's name
	until              int64
	urgent             bool
	begun, accepted    int // events; 0: not
	state              string
	refused, cancelled bool
	gone               int  // when the relay said so
	mayReturn          bool // its relay died between the two
	delivered          bool // its sender saw it so
	shown              map[string]showing
}

// showing is by whom a profile was last shown a text, and how often that process had
// noted by then.
type showing struct {
	by    *actor
	notes int
}

// profile is one folder.
type profile struct {
	name      string
	person    string // whose it is: that of the profile that it was copied from
	abandoned bool
	newest    map[string]*text // by contact and urgency: of the shown, the one that was begun last
}

// actor is a process.
type actor struct {
	notes   int
	crashed bool
}

func newPeople(r *report) *people {
	return &people{r: r, texts: map[string]*text{}, profiles: map[string]*profile{}, actors: map[string]*actor{}, noticed: map[channel]bool{}}
}

func (p *people) profile(name string) *profile {
	o := p.profiles[name]
	if o == nil {
		o = &profile{name: name, person: name, newest: map[string]*text{}}
		p.profiles[name] = o
	}
	return o
}

func (p *people) actor(name string) *actor {
	a := p.actors[name]
	if a == nil {
		a = &actor{}
		p.actors[name] = a
	}
	return a
}

func (p *people) copied(c channel) bool {
	for _, o := range p.profiles {
		if o.name != o.person && (o.person == c.a || o.person == c.b) {
			return true
		}
	}
	return false
}

// suspect notes a violation of what is between two people.
func (p *people) suspect(a, b, kind, format string, args ...any) {
	p.suspects = append(p.suspects, suspect{channelOf(a, b), violation{kind, fmt.Sprintf(format, args...)}})
}

func (p *people) event(i int, e history.Event) {
	i++ // 0 is none
	if e.Of != "" {
		p.any = true
	}
	switch e.Kind {
	case history.Crash:
		p.actor(e.Actor).crashed = true
		if e.Of == "" { // a relay
			for _, t := range p.order {
				t.mayReturn = t.mayReturn || t.cancelled && t.gone == 0
			}
		}
	case history.Noted:
		p.actor(e.Actor).notes++
	case history.Fault:
		p.any = true
		p.r.add(faulty, "%s: %s", e.Of, e.State)
	case history.End:
		p.ended, p.endAt = true, e.At
	}
	if e.Of == "" {
		return
	}
	of := p.profile(e.Of)
	switch e.Kind {
	case history.Send:
		if p.texts[e.ID] != nil {
			p.r.add(malformed, "event %d: %q is sent again", i, e.ID)
		}
		t := &text{id: e.ID, hash: e.Hash, from: of.person, to: e.Queue, sender: of.name, until: e.Until, urgent: e.Urgent, begun: i, shown: map[string]showing{}}
		p.texts[e.ID] = t
		p.order = append(p.order, t)
	case history.Sent, history.Refused, history.Cancel, history.Gone, history.Status:
		t := p.texts[e.ID]
		if t == nil {
			p.r.add(malformed, "event %d: %s of %q, which nobody sent", i, e.Kind, e.ID)
			return
		}
		p.state(i, e, t)
	case history.Show:
		p.r.counts["shown"]++
		p.show(e, of)
	case history.Alarm:
		c := channelOf(of.person, p.profile(e.Queue).person)
		p.noticed[c] = true
		p.alarms = append(p.alarms, alarm{c, fmt.Sprintf("%s tells of %s: %s", of.name, e.Queue, e.State)})
	case history.Copy:
		p.r.counts["copies"]++
		p.copy(of, p.profile(e.ID))
	case history.Abandon:
		of.abandoned = true
	}
}

// state notes what a sender learnt of a text.
func (p *people) state(i int, e history.Event, t *text) {
	switch e.Kind {
	case history.Sent:
		p.r.counts["accepted"]++
		t.accepted, t.state = i, e.State
	case history.Refused:
		t.refused = true
	case history.Cancel:
		t.cancelled = true
	case history.Gone:
		p.r.counts["taken back"]++
		t.gone = i
	case history.Status:
		p.r.counts["states seen"]++
		t.state = e.State
		t.delivered = t.delivered || e.State == "delivered" || e.State == "read"
		if e.State == "expired_unread" && e.At < t.until {
			p.r.add(early, "%q is shown as expired before its time", t.id)
		}
		if t.accepted == 0 { // the process was killed before it could say so
			t.accepted = i
		}
	}
}

func (p *people) show(e history.Event, of *profile) {
	t := p.texts[e.ID]
	switch {
	case t == nil || t.hash != e.Hash:
		p.r.add(forged, "%s was shown %q (%s) from %s, which nobody sent", of.name, e.ID, e.Hash, e.Queue)
		return
	case t.to != of.person || t.from != e.Queue:
		p.r.add(forged, "%s was shown %q as from %s; it is from %s to %s", of.name, e.ID, e.Queue, t.from, t.to)
		return
	case t.refused:
		p.r.add(falsely, "%q was shown, though its sender was told that it is not sent", t.id)
	}
	if e.N > 0 {
		p.noticed[channelOf(t.from, t.to)] = true
	}
	by := p.actor(e.Actor)
	before, again := t.shown[of.name]
	t.shown[of.name] = showing{by, by.notes}
	if again {
		if before.by == nil || before.by.notes > before.notes || !before.by.crashed {
			p.suspect(t.from, t.to, duplicated, "%q was shown to %s again", t.id, of.name)
		} else {
			p.r.counts["shown again after a kill in the middle of showing"]++
		}
		return
	}
	key := fmt.Sprint(t.from, " ", t.urgent)
	newest := of.newest[key]
	// One that comes because its relay died before it had said that it is gone may come behind
	// what was sent before it said so.
	if newest != nil && t.accepted > 0 && newest.begun > t.accepted && !(t.mayReturn && (t.gone == 0 || newest.begun < t.gone)) {
		p.suspect(t.from, t.to, reordered, "%q was shown to %s behind %q, which was sent after it was accepted", t.id, of.name, newest.id)
	}
	if newest == nil || t.begun > newest.begun {
		of.newest[key] = t
	}
}

// copy gives a profile what another knows.
func (p *people) copy(from, to *profile) {
	to.person = from.person
	for k, t := range from.newest {
		to.newest[k] = t
	}
	for _, t := range p.order {
		if s, ok := t.shown[from.name]; ok {
			t.shown[to.name] = s
		}
	}
}

// end judges what can only be told at the end.
func (p *people) end() {
	if !p.any {
		return
	}
	if !p.ended {
		p.r.add(unfinished, "there is no end: what was lost can't be told")
	}
	for _, t := range p.order {
		seen := len(t.shown) > 0
		if t.delivered && !seen {
			p.suspect(t.from, t.to, falsely, "%q is shown as delivered to %s, who never had it", t.id, t.to)
		}
		leftBehind := t.state == "queued" && p.profile(t.sender).abandoned // with the device
		over := t.until != 0 && p.endAt >= t.until
		if p.ended && t.accepted > 0 && !t.cancelled && !over && !seen && !leftBehind {
			p.suspect(t.from, t.to, lost, "%q from %s to %s was accepted (%s) and never shown", t.id, t.from, t.to, t.state)
		}
	}
	for _, a := range p.alarms {
		if !p.copied(a.channel) {
			p.r.add(alarmed, "%s", a.what)
		}
	}
	for _, s := range p.suspects {
		switch {
		case !p.copied(s.channel):
			p.r.add(s.kind, "%s", s.what)
		case p.noticed[s.channel]:
			p.r.counts["noticed"]++
		default:
			p.r.add(silent, "%s, and nobody was told (%s)", s.what, s.kind)
		}
	}
}
