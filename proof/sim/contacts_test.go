//go:build linux

package sim

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"kin/client"
	"kin/protocol"
)

// token is an invite on its way to a person.
type token struct {
	bond *bond
	text string
}

// rare is what ends connections.
func (p *person) rare() {
	switch p.rng.IntN(6) {
	case 0, 1:
		p.remove()
	case 2:
		if !p.host {
			p.wipe()
		}
	}
}

func (p *person) invite() {
	t := p.t
	t.mu.Lock()
	var free []*person
	for _, q := range t.people {
		if q == p || q.host || q.process() == nil || slices.ContainsFunc(q.tokens, func(k token) bool { return k.bond.host == p }) {
			continue
		}
		if b := p.bonds[q]; b == nil || b.intact() && p.labels[q] != "" && q.bonds[p] == b && p.rng.IntN(3) == 0 {
			free = append(free, q)
		}
	}
	t.mu.Unlock()
	if len(free) == 0 {
		return
	}
	q := free[p.rng.IntN(len(free))]
	expires := time.Duration(2+p.rng.IntN(40)) * time.Hour
	t.mu.Lock()
	p.invites++
	before, label := p.bonds[q], q.name
	if before != nil {
		before.again, label = true, p.labels[q]
		t.counts["invite anew"]++
	}
	t.mu.Unlock()
	var text string
	_, err := p.try(true, func(c *process) (err error) {
		text, _, err = c.Invite(c.ctx, label, expires)
		return err
	})
	t.note(p.name, "invites %s: %v", q.name, kind(err))
	t.count("invite")
	p.expect("invite", err)
	if err != nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	q.tokens = append(q.tokens, token{&bond{host: p, guest: q, before: before, gaps: map[*person]int{}, unread: map[*person]bool{}}, text})
}

func (p *person) join() {
	t := p.t
	t.mu.Lock()
	k := p.tokens[0]
	host := k.bond.host
	label, known := p.labels[host]
	t.mu.Unlock()
	if !known {
		label = host.name
	}
	var err error
	if !p.joined(label, known) {
		invite, perr := protocol.ParseInvite(k.text)
		if perr != nil {
			t.fail("an invite does not parse: %v", perr)
			return
		}
		_, err = p.try(true, func(c *process) error {
			_, err := c.Join(c.ctx, invite, "", label)
			return err
		})
	}
	t.note(p.name, "joins %s: %v", host.name, kind(err))
	t.count("join")
	p.expect("join", err)
	done := err == nil || p.joined(label, known)
	var refused *client.InviteRefusedError
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case done:
		p.tokens = p.tokens[1:]
		p.labels[host] = label
		if k.bond.before == nil {
			host.labels[p] = p.name
		} else {
			t.counts["join anew"]++
		}
		p.bonds[host], host.bonds[p] = k.bond, k.bond
	case errors.As(err, &refused):
		t.counts["join refused: "+refused.State]++
		p.tokens = p.tokens[1:]
	}
}

// joined tells whether a join has come to its end: of a contact that p has had
// before, it makes one that must be accepted.
func (p *person) joined(label string, known bool) bool {
	all, err := p.process().Contacts()
	if err != nil {
		p.t.fail("%s's contacts: %v", p.name, err)
	}
	return slices.ContainsFunc(all, func(c client.Contact) bool {
		return c.Label == label && c.Joined && (!known || c.MustAccept)
	})
}

func (p *person) check() {
	q, label, b := p.friend()
	if q == nil || q.process() == nil {
		return
	}
	p.t.mu.Lock()
	theirs, intact, changing := q.labels[p], b.intact(), b.again || b.before != nil
	p.t.mu.Unlock()
	if !intact {
		return
	}
	mine, _, err := p.process().Digits(label)
	if err != nil {
		return // not joined yet
	}
	other, _, err := q.process().Digits(theirs)
	if err != nil {
		return
	}
	p.t.mu.Lock()
	if mine != other && b.intact() && !changing {
		p.t.violation("%s and %s compare %s and %s", p.name, q.name, mine, other)
	}
	p.t.mu.Unlock()
	if mine != other {
		return // one of them has begun anew, and the other does not know yet
	}
	_, err = p.process().SetChecked(label)
	p.expect("check", err)
	p.t.count("check")
	p.t.note(p.name, "checks %s", q.name)
}

func (p *person) rename() {
	q, label, _ := p.friend()
	if q == nil {
		return
	}
	to := fmt.Sprintf("%s %c", q.name, 'a'+rune(p.rng.IntN(26)))
	if to == label {
		return
	}
	err := p.process().Rename(label, to)
	p.expect("rename", err)
	if err != nil {
		return
	}
	p.t.mu.Lock()
	defer p.t.mu.Unlock()
	p.labels[q] = to
	p.t.counts["rename"]++
}

func (p *person) remove() {
	q, label, b := p.friend()
	if q == nil {
		return
	}
	p.t.mu.Lock()
	b.end()
	for _, k := range q.tokens {
		if k.bond.host == p {
			k.bond.end()
		}
	}
	p.t.mu.Unlock()
	p.remember()
	err := p.process().Remove(p.process().ctx, label)
	p.t.note(p.name, "removes %s: %v", q.name, kind(err))
	p.t.count("remove")
	p.expect("remove", err)
	p.t.mu.Lock()
	defer p.t.mu.Unlock()
	delete(p.labels, q)
	delete(p.bonds, q)
}

func (p *person) wipe() {
	p.remember()
	p.t.mu.Lock()
	for _, b := range p.bonds {
		b.end()
	}
	p.tokens = nil
	p.t.mu.Unlock()
	p.t.count("wipe")
	p.t.note(p.name, "wipes")
	if err := client.Wipe(p.process().dir); err != nil {
		p.t.fail("%s wipes: %v", p.name, err)
	}
	p.process().Close()
	p.life.Store(nil)
}

// remember notes what p has had, before it is gone.
func (p *person) remember() {
	p.t.mu.Lock()
	all := slices.Clone(p.t.all)
	p.t.mu.Unlock()
	for _, s := range all {
		if s.to == p && p.has(s) {
			p.t.mu.Lock()
			s.committed = true
			p.t.mu.Unlock()
		}
	}
}

// restore goes on with an older copy of the profile, or makes one.
func (p *person) restore() {
	if p.backup == "" {
		p.backup = p.home()
		p.copyTo(p.backup)
		p.t.mu.Lock()
		p.calls = maps.Clone(p.labels)
		p.t.mu.Unlock()
		p.t.note(p.name, "copies the profile")
		return
	}
	p.remember()
	p.t.mu.Lock()
	p.restores++
	p.labels = p.calls
	for q := range p.bonds {
		if p.labels[q] == "" { // the copy may know the invite, or a join that had begun
			p.labels[q] = q.name
		}
	}
	for _, b := range p.bonds {
		b.roll()
	}
	for _, q := range p.t.people {
		for _, k := range q.tokens {
			if k.bond.host == p || q == p {
				k.bond.roll()
			}
		}
	}
	p.t.mu.Unlock()
	p.t.count("restore")
	p.t.note(p.name, "goes on with an old copy")
	p.process().Close()
	os.RemoveAll(p.process().dir)
	p.life.Store(p.open(p.backup))
	p.backup = ""
}
