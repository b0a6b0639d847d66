package client

import (
	"context"
	"errors"
	"sync"
	"time"

	"kin/internal/random"
	"kin/protocol"
)

// visitOptions say what an exchange is for.
type visitOptions struct {
	only   *protocol.Address // this relay alone
	all    bool              // what is left for later, because a relay asked to wait, is an error
	follow bool
	came   func() error // something may have come; at the end of a visit, and while following
}

// exchange visits every relay that this profile has something to do with: sends
// what is in the outbox, takes what waits, and sends the receipts that are due.
func (p *Profile) exchange(ctx context.Context, o *visitOptions) (Report, error) {
	report := new(Report)
	relays, err := p.prepare(report)
	if err != nil {
		return *report, err
	}
	errs := make([]error, len(relays))
	var visits sync.WaitGroup
	for i, r := range relays {
		if o.only != nil && o.only.Fingerprint != r.address.Fingerprint {
			continue
		}
		visits.Go(func() { errs[i] = p.visit(ctx, r, o, report) })
	}
	visits.Wait()
	if o.only == nil {
		errs = append(errs, p.update(report, (*work).tellUnsent))
	}
	errs = append(errs, p.finish(report))
	return *report, errors.Join(errs...)
}

// finish gives up what is over, and counts what is not out.
func (p *Profile) finish(report *Report) error {
	return errors.Join(p.update(nil, (*work).giveUpOld), p.countQueued(report))
}

// overhear keeps what a person should hear of an exchange whose report nobody gets.
func (p *Profile) overhear(r Report) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.overheard.merge(&r)
}

// Overheard returns, once, the events that came up in Send, Cancel, Join, RevokeInvite
// and Remove.
func (p *Profile) Overheard() []Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	events := p.overheard.Events
	p.overheard = Report{}
	return events
}

// relayWork is a relay, and about how many queues are read there.
type relayWork struct {
	address protocol.Address
	queues  int
	read    bool // a visit took all that waited
}

// prepare does what time asks for, and lists the relays to visit.
func (p *Profile) prepare(report *Report) ([]*relayWork, error) {
	if _, err := p.v.Disappear(time.Now()); err != nil {
		return nil, err
	}
	var relays []*relayWork
	add := func(a protocol.Address, queues int) {
		for _, r := range relays {
			if r.address.Fingerprint == a.Fingerprint {
				r.queues += queues
				return
			}
		}
		relays = append(relays, &relayWork{address: a, queues: queues})
	}
	err := p.inSteps(report, func(w *work) error {
		contacts, err := w.all()
		for _, c := range contacts {
			if err == nil {
				err = w.age(c)
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	err = p.update(report, func(w *work) error {
		contacts, err := w.all()
		if err != nil {
			return err
		}
		for _, c := range contacts {
			for _, q := range c.readable(w.now) {
				add(q.Relay, 1)
			}
		}
		if err := w.giveUpParts(); err != nil {
			return err
		}
		if err := w.ageOutbox(); err != nil {
			return err
		}
		err = eachRecord(w, tableOutbox, func(_ []byte, o *op) error {
			c, err := w.contact(o.Contact)
			if c == nil || err != nil || !w.now.Before(o.Deadline) && !o.Cancel {
				return err
			}
			if s := c.findSession(o.Session); s != nil {
				add(s.Out.Relay, 0)
			}
			return nil
		})
		if err != nil {
			return err
		}
		return eachRecord(w, tableDel, func(key []byte, d *del) error {
			if !w.now.Before(d.Made.Add(giveUpAfter)) {
				return w.tx.Delete(tableDel, key)
			}
			add(d.Relay, 0)
			return nil
		})
	})
	return relays, err
}

// age does what time asks for in a contact: keys of an old invite die, messages whose
// keys have died are lost, and nobody answers a refused join any more. What a full commit
// has no room for is left.
func (w *work) age(c *contact) error {
	if err := w.sweepInvites(c); err != nil {
		return err
	}
	if j := c.Join; j != nil && !j.Refused.IsZero() && !w.now.Before(j.Refused.Add(MaxInvite+hostKeysAfter)) {
		if err := w.forgetJoin(c); err != nil {
			return err
		}
	}
	for _, s := range c.sessions() {
		if w.full() {
			return nil
		}
		r, err := w.ratchet(s)
		if err != nil {
			return err
		}
		next, lost := r.Forget(w.now)
		if next == r {
			continue
		}
		w.step(s, next)
		for _, seq := range lost {
			if s.Missing.remove(seq) {
				w.event(c, EventLost)
				if err := w.note(c, s, NoteLost, seq); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// visit does all there is to do at one relay on one connection.
func (p *Profile) visit(ctx context.Context, r *relayWork, o *visitOptions, report *Report) error {
	c, err := dial(ctx, p.listen, r.address, r.queues)
	if err != nil {
		return err
	}
	defer c.close()
	v := newVisit(p, c, r.address, report)
	if err := v.outgo(ctx); err != nil {
		return err
	}
	if err := v.collect(ctx, nil); err != nil {
		return err
	}
	if err := v.outgoWithReceipts(ctx); err != nil {
		return err
	}
	r.read = v.postponed() == nil
	if o.came != nil { // other relays may take long
		if err := o.came(); err != nil {
			return err
		}
	}
	if err := v.retireOld(); err != nil {
		return err
	}
	if o.follow {
		err := v.collect(ctx, func() error {
			r.read = r.read || v.postponed() == nil
			if err := o.came(); err != nil {
				return err
			}
			return v.outgoWithReceipts(ctx)
		})
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
	if o.all {
		return v.postponed()
	}
	return nil
}

// outgoWithReceipts is outgo once what waits has been taken: only then an old copy of a
// profile knows that it is one, and uses no number again for a receipt. What is elsewhere
// by now is taken back.
func (v *visit) outgoWithReceipts(ctx context.Context) error {
	if err := v.p.sendReceipts(v.relay); err != nil {
		return err
	}
	if err := v.p.update(nil, (*work).takeBackOld); err != nil {
		return err
	}
	return v.outgo(ctx)
}

// outgo sends the outbox, and what is to be deleted.
func (v *visit) outgo(ctx context.Context) error {
	if err := v.flush(ctx); err != nil {
		return err
	}
	return v.deleteQueues(ctx)
}

func (v *visit) deleteQueues(ctx context.Context) error {
	var dels []*del
	err := v.p.view(func(w *work) error {
		return eachRecord(w, tableDel, func(_ []byte, d *del) error {
			if d.Relay.Fingerprint == v.relay.Fingerprint && !w.now.Before(v.waits[d.Receiver].until) {
				dels = append(dels, d)
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	for _, d := range dels {
		err := v.conn.deleteQueue(ctx, d)
		if r := v.asksToWait(err); r != nil {
			v.postpone(d.Receiver, r.Code, r.Wait)
			continue
		}
		var refusal *protocol.Refusal
		if err != nil && !errors.As(err, &refusal) {
			return err
		}
		delete(v.waits, d.Receiver)
		if err := v.p.update(nil, func(w *work) error { return w.tx.Delete(tableDel, d.Receiver[:]) }); err != nil {
			return err
		}
	}
	return nil
}

// try exchanges again and again, with pauses that grow, until done says so, wait
// is over, or an error comes that trying does not mend. enough tells whether what is
// under way then may be left.
func (p *Profile) try(ctx context.Context, wait time.Duration, o visitOptions, done func(Report, error) (bool, error), enough func() bool) (Report, error) {
	end := time.Now().Add(wait)
	if wait > 0 {
		var cancel context.CancelFunc
		ctx, cancel = p.within(ctx, wait, enough)
		defer cancel()
	}
	var total Report
	for pause := time.Second; ; pause = min(2*pause, time.Minute) {
		report, err := p.exchange(ctx, &o)
		total.merge(&report)
		total.Queued = report.Queued
		ok, derr := done(report, err)
		if derr != nil || ok {
			return total, derr
		}
		if err != nil && !passes(err) {
			return total, err
		}
		next := max(pause/2+random.Below(pause), report.Wait)
		if time.Now().Add(next).After(end) {
			return total, err
		}
		t := time.NewTimer(next)
		select {
		case <-ctx.Done():
			t.Stop()
			return total, err
		case <-t.C:
		}
	}
}

// Sync sends and takes all it can, for at most wait. The report says how many messages
// are not out yet, without those that can't go out any more; of those its events tell,
// once. ErrStopped is as for Receive.
func (p *Profile) Sync(ctx context.Context, wait time.Duration) (Report, error) {
	r, err := p.try(ctx, wait, visitOptions{all: true}, func(r Report, err error) (bool, error) { return err == nil && r.Queued == 0, nil }, func() bool { return false })
	if err == nil {
		err = p.stopped(id{}, &r)
	}
	return r, err
}
