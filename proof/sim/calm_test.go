//go:build linux

package sim

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"time"

	"kin/client"
	"kin/protocol"
)

// calm lets everything arrive: what was sent, then the receipts, for which a full
// hour must pass. Where that is not enough, since a relay told to wait, it goes on.
func (t *town) calm() {
	t.note("town", "calm")
	for round := 0; round < 4 || round < 12 && !t.settled(); round++ {
		for _, p := range t.people {
			p.settleDown()
		}
		if round%2 == 1 {
			time.Sleep(61 * time.Minute)
		}
	}
}

// anew has a host and a guest begin anew, whatever is still on its way between them.
func (t *town) anew() {
	for _, p := range t.people {
		if !p.host || p.process() == nil {
			continue
		}
		q, label, b := p.friend()
		if q == nil || q.host || q.process() == nil || !b.intact() || q.bonds[p] != b || slices.ContainsFunc(q.tokens, func(k token) bool { return k.bond.host == p }) {
			continue
		}
		p.invites++
		b.again = true
		text, _, err := p.process().Invite(p.process().ctx, label, 48*time.Hour)
		p.expect("invite", err)
		if err != nil {
			continue
		}
		invite, err := protocol.ParseInvite(text)
		if err != nil {
			t.fail("an invite does not parse: %v", err)
			return
		}
		_, err = q.process().Join(q.process().ctx, invite, "", q.labels[p])
		t.note(q.name, "joins %s anew: %v", p.name, kind(err))
		q.expect("join", err)
		if err == nil {
			t.count("anew in calm")
			next := &bond{host: p, guest: q, before: b, gaps: map[*person]int{}, unread: map[*person]bool{}}
			p.bonds[q], q.bonds[p] = next, next
		}
	}
}

// live has somebody follow while another sends, with nothing in the way: what came to
// the relay is shown at once.
func (t *town) live(r *rand.Rand) {
	p := t.people[r.IntN(len(t.people))]
	if p.process() == nil {
		return
	}
	from, _, b := p.friend()
	if from == nil || from.process() == nil || !b.intact() {
		return
	}
	p.settleDown()
	from.settleDown()
	ctx, cancel := context.WithCancel(p.process().ctx)
	ended := make(chan error)
	go func() {
		_, err := p.process().Receive(ctx, client.ReceiveOptions{Follow: true}, p.shows(p.process()))
		ended <- err
	}()
	time.Sleep(5 * time.Second)
	t.mu.Lock()
	label := from.labels[p]
	t.mu.Unlock()
	s := from.send(b, p, label, client.SendOptions{TTL: 24 * time.Hour, Until: client.DefaultUntil}, false)
	time.Sleep(time.Second)
	from.status(from.process().Profile)
	t.mu.Lock()
	if s != nil && s.onRelay && s.shown == 0 && s.envelopes == 1 {
		t.violation("%s follows, and was not shown %q a second after it came to the relay", p.name, first(s.body))
	}
	t.counts["live"]++
	t.mu.Unlock()
	cancel()
	if err := <-ended; err != nil {
		t.fail("%s follows with nothing in the way: %v", p.name, err)
	}
}

// settled tells whether nothing is owed any more.
func (t *town) settled() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !slices.ContainsFunc(t.all, func(s *said) bool { return s.lost(time.Now()) || s.untold(time.Now()) })
}

// settleDown receives what there is, with nothing in the way.
func (p *person) settleDown() {
	if p.process() == nil {
		return
	}
	contacts, err := p.process().Contacts()
	if err != nil {
		p.t.fail("%s's contacts: %v", p.name, err)
	}
	for _, c := range contacts {
		if c.MustAccept {
			_, err := p.process().Accept(c.Label)
			p.expect("accept", err)
		}
		unheard, _, err := p.process().Unheard(c.Label)
		p.expect("unheard", err)
		if unheard > 0 { // written to an identity that was checked
			_, _, err := p.process().Digits(c.Label)
			p.expect("digits", err)
			_, err = p.process().SetChecked(c.Label)
			p.expect("check", err)
			p.t.count("check anew")
		}
	}
	began := time.Now()
	report, err := p.process().Receive(p.process().ctx, client.ReceiveOptions{}, p.shows(p.process()))
	p.t.note(p.name, "receives %d in calm, queued %d: %v", report.Received, report.Queued, kind(err))
	if err != nil && !p.restored() {
		p.t.fail("%s receives in calm: %v", p.name, err)
	}
	p.noNewerCopy(report)
	if err == nil || errors.Is(err, client.ErrStopped) {
		p.t.got(p, began)
	}
	p.status(p.process().Profile)
}

// judge is the judgement at the end of the calm.
func (t *town) judge() {
	clean := true
	t.mu.Lock()
	now := time.Now()
	missing := map[*bond]map[*person]int{}
	for _, s := range t.all {
		if missing[s.bond] == nil {
			missing[s.bond] = map[*person]int{}
		}
		if s.shown == 0 && s.accepted {
			missing[s.bond][s.to] += s.envelopes
		}
		if !s.accepted && s.shown > 0 {
			t.violation("%q was shown, and the profile that sent it knows nothing of it", first(s.body))
		}
		if s.lost(now) {
			t.violation("%q of %s to %s was lost", first(s.body), s.from.name, s.to.name)
		}
		if s.untold(now) {
			t.violation("%q of %s to %s was shown, and %s was never told", first(s.body), s.from.name, s.to.name, s.from.name)
		}
	}
	t.mu.Unlock()
	made := map[*bond]bool{}
	for _, p := range t.people {
		clean = clean && p.process() != nil && p.restores == 0
		for q, b := range p.bonds {
			made[b] = true
			if b.broken || b.rolled {
				clean = false
				continue
			}
			all, err := p.process().History(p.labels[q])
			if err != nil {
				t.fail("%s's history: %v", p.name, err)
			}
			gap := 0
			for _, m := range all {
				gap += m.Gap
			}
			are := 0
			for b := b; b != nil; b = b.before {
				are += missing[b][p]
			}
			if gap > are {
				t.fail("%s is told that %d are missing of %s, and %d are", p.name, gap, q.name, are)
			}
		}
	}
	if t.counts["remove"] > 0 {
		clean = false
	}
	st, up := t.relay.status()
	if !up {
		t.fail("the relay is not up")
	}
	if clean && st.Envelopes > 0 {
		t.fail("%d envelopes are on the relay, and everything was collected", st.Envelopes)
	}
	t.grants()
}

// grants judges what is left of each host's grant: an invite takes two queues.
func (t *town) grants() {
	grants, err := t.relay.relay.Grants()
	if err != nil {
		t.fail("grants: %v", err)
	}
	for i, p := range t.people {
		if !p.host {
			continue
		}
		for _, g := range grants {
			if used := g.Queues - g.Left; g.Queues == queues+i && used > 2*max(1, p.invites) {
				t.fail("%s's grant was charged for %d queues, after %d invites", p.name, used, p.invites)
			}
		}
	}
}

// end lets the relay be away for longer than anything lives; then nothing is left.
func (t *town) end() {
	m := t.relay
	m.shutDown()
	time.Sleep(15 * 24 * time.Hour)
	m.again(nil)
	time.Sleep(90 * time.Second)
	if st, up := m.status(); !up || st.Envelopes != 0 || st.SpoolBytes != 0 {
		t.fail("after everything expired the relay has %d envelopes, in %d bytes", st.Envelopes, st.SpoolBytes)
	}
	m.shutDown()
	f, err := m.disk.FS.AfterKill().Open(filepath.Join(m.dir, "epochs"))
	if err != nil {
		t.fail("%v", err)
		return
	}
	size, _ := f.Size()
	b := make([]byte, size)
	f.ReadAt(b, 0)
	if len(bytes.Trim(b[4096:], "\x00")) > 0 {
		t.fail("after everything expired the relay has keys of epochs")
	}
}
