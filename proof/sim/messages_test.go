//go:build linux

package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"kin/client"
)

// friend is somebody that p is connected with.
func (p *person) friend() (q *person, label string, b *bond) {
	p.t.mu.Lock()
	defer p.t.mu.Unlock()
	var all []*person
	for _, q := range p.t.people {
		if p.bonds[q] != nil && p.labels[q] != "" && !slices.ContainsFunc(p.tokens, func(k token) bool { return k.bond.host == q }) {
			all = append(all, q)
		}
	}
	if len(all) == 0 {
		return nil, "", nil
	}
	q = all[p.rng.IntN(len(all))]
	return q, p.labels[q], p.bonds[q]
}

// write sends to somebody, or receives if there is nobody yet.
func (p *person) write() {
	q, label, b := p.friend()
	if q == nil {
		p.receive(client.ReceiveOptions{})
		return
	}
	r := p.rng
	o := client.SendOptions{Urgent: r.IntN(6) == 0, QueueOnly: r.IntN(8) == 0,
		TTL:   []time.Duration{time.Hour, 6 * time.Hour, 24 * time.Hour, 72 * time.Hour, 72 * time.Hour}[r.IntN(5)],
		Until: []time.Duration{2 * time.Hour, 24 * time.Hour, client.DefaultUntil, client.DefaultUntil}[r.IntN(4)]}
	if r.IntN(2) == 0 {
		o.Wait = time.Duration(r.Int64N(int64(time.Minute)))
	}
	p.send(b, q, label, o, true)
}

// send sends a text, and may be killed in it. nil: the profile did not take it.
func (p *person) send(b *bond, q *person, label string, o client.SendOptions, kill bool) *said {
	t := p.t
	s := p.says(b, q, o)
	var sent client.Sent
	killed, err := p.try(kill, func(c *process) (err error) {
		sent, err = c.Send(c.ctx, label, s.body, o)
		return err
	})
	t.note(p.name, "sends %q urgent %v ttl %v until %v: %s %v", first(s.body), o.Urgent, o.TTL, o.Until, sent.State, kind(err))
	t.count("send")
	p.expect("send", err)
	if killed {
		sent.ID = p.find(label, s.body)
	}
	if sent.ID == (uuid.UUID{}) {
		if errors.Is(err, client.ErrMustAccept) {
			_, err := p.process().Accept(label)
			p.expect("accept", err)
		}
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s.accepted, s.id = true, sent.ID
	if !killed {
		s.deadline = sent.Until
	}
	return s
}

// says makes a text, now and then one that takes several envelopes.
func (p *person) says(b *bond, to *person, o client.SendOptions) *said {
	p.t.mu.Lock()
	defer p.t.mu.Unlock()
	s := &said{n: len(p.t.all), bond: b, from: p, to: to, urgent: o.Urgent, ttl: o.TTL, envelopes: 1, began: time.Now()}
	s.deadline = s.began.Add(o.Until)
	s.body = fmt.Sprintf("%d %s to %s.", s.n, p.name, to.name)
	if p.rng.IntN(10) == 0 {
		s.envelopes = 2 + p.rng.IntN(2)
		s.body += strings.Repeat(" And so on.", s.envelopes*1400/11-10)
	}
	p.t.all = append(p.t.all, s)
	p.t.said[s.body] = s
	return s
}

// find looks in the profile for a text that a killed process was about to send.
func (p *person) find(label, body string) (id uuid.UUID) {
	all, err := p.process().History(label)
	p.expect("history", err)
	for _, m := range all {
		if m.Direction == client.Out && m.Text == body {
			id = m.ID
		}
	}
	return id
}

// noNewerCopy: who goes on with the newest profile is not told of a newer one.
func (p *person) noNewerCopy(r client.Report) {
	if !p.restored() && slices.ContainsFunc(r.Events, func(e client.Event) bool { return e.Kind == client.EventNewerCopy }) {
		p.t.fail("%s is told of a newer copy: %v", p.name, r.Events)
	}
}

func (p *person) receive(o client.ReceiveOptions) {
	began := time.Now()
	var report client.Report
	_, err := p.try(true, func(c *process) (err error) {
		report, err = c.Receive(c.ctx, o, p.shows(c))
		return err
	})
	p.t.note(p.name, "receives %d, queued %d: %v", report.Received, report.Queued, kind(err))
	p.t.count("receive")
	p.expect("receive", err)
	p.noNewerCopy(report)
	if (err == nil || errors.Is(err, client.ErrStopped)) && o.Wait == 0 { // stopped with one, whole with others
		p.t.got(p, began)
	}
}

func (p *person) sync() {
	_, err := p.try(true, func(c *process) error {
		report, err := c.Sync(c.ctx, time.Duration(p.rng.Int64N(int64(90*time.Second))))
		p.t.note(p.name, "syncs, queued %d: %v", report.Queued, kind(err))
		return err
	})
	p.t.count("sync")
	p.expect("sync", err)
	if err == nil {
		if _, err := p.process().ShowNew("", p.shows(p.process())); err != nil && !errors.Is(err, client.ErrNoContact) {
			p.t.fail("%s: show: %v", p.name, err)
		}
	}
}

// follow keeps a conversation open for a while, in which p also sends.
func (p *person) follow() {
	long := 5*time.Second + time.Duration(p.rng.Int64N(int64(40*time.Second))) // awake, it looks at the profile every two seconds
	p.try(true, func(c *process) error {
		ctx, cancel := context.WithTimeout(c.ctx, long)
		defer cancel()
		ended := make(chan error)
		go func() {
			_, err := c.Receive(ctx, client.ReceiveOptions{Follow: true}, p.shows(c))
			ended <- err
		}()
		err := <-ended
		p.t.note(p.name, "followed: %v", kind(err))
		p.t.count("follow")
		p.expect("follow", err)
		return err
	})
}

func (p *person) cancel() {
	t := p.t
	t.mu.Lock()
	var mine []*said
	for _, s := range t.all {
		if s.from == p && s.accepted && !s.delivered && !s.cancelled {
			mine = append(mine, s)
		}
	}
	if len(mine) == 0 {
		t.mu.Unlock()
		return
	}
	s := mine[p.rng.IntN(len(mine))]
	s.cancelled = true
	t.mu.Unlock()
	_, err := p.try(true, func(c *process) error {
		st, err := c.Cancel(c.ctx, s.id)
		t.note(p.name, "takes back %q: %s %v", first(s.body), st.State, kind(err))
		return err
	})
	t.count("cancel")
	t.mu.Lock()
	intact := s.bond.intact()
	t.mu.Unlock()
	if intact || !errors.Is(err, client.ErrNoMessage) { // an old copy of the profile may not have it
		p.expect("cancel", err)
	}
}
