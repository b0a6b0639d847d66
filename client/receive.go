package client

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// Receive takes what waits, sends due receipts and the outbox, and passes new
// messages to show, each relay's as soon as it has no more. When show returns nil they
// count as shown and are not passed again; unless Slowly is set it must not use the profile. With Wait it goes
// on until there is a message or the time is over, which is an error if a relay was never
// read; with Follow until the context ends. Both connect anew, with growing pauses, to each
// relay that is lost.
//
// Messages that an earlier command took are shown even when the relay can't be
// reached. ErrStopped says that the contact, or some contact, has seen a newer profile
// than this; unless there is another error it is said each time until that is mended.
func (p *Profile) Receive(ctx context.Context, o ReceiveOptions, show func([]Message) error) (Report, error) {
	var who id
	if o.Contact != "" {
		err := p.view(func(w *work) error {
			c, err := w.guess(o.Contact)
			if err == nil {
				who = c.ID
			}
			return err
		})
		if err != nil {
			return Report{}, err
		}
	}
	showNew := p.showNew
	if o.Slowly {
		showNew = p.showSlowly
	}
	var total Report
	var err error
	switch {
	case o.Follow && o.Announce != nil:
		var before map[newOne]bool
		_, err = p.follow(ctx, &total, inTurn(func() (err error) {
			before, err = p.announce(who, before, o.Announce)
			return err
		}))
	case o.Follow:
		_, err = p.follow(ctx, &total, inTurn(func() error {
			_, err := showNew(who, show)
			return err
		}))
	case o.Wait > 0:
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.Wait)
		defer cancel()
		shown := 0
		came := inTurn(func() error {
			n, err := showNew(who, show)
			if shown += n; n > 0 {
				cancel()
			}
			return err
		})
		var unread error
		unread, err = p.follow(ctx, &total, came)
		if err == nil {
			err = came() // of what a connection brought that the end cut off
		}
		if err == nil && shown == 0 {
			err = unread
		}
	default:
		came := inTurn(func() error {
			_, err := showNew(who, show)
			return err
		})
		total, err = p.exchange(ctx, &visitOptions{all: true, came: came})
		if serr := came(); !errors.Is(err, serr) {
			err = errors.Join(err, serr)
		}
	}
	if err == nil {
		err = p.stopped(who, &total)
	}
	return total, err
}

// inTurn is f for the visits of several relays: one after another, and not again once it
// failed.
func inTurn(f func() error) func() error {
	var mu sync.Mutex
	var failed error
	return func() error {
		mu.Lock()
		defer mu.Unlock()
		if failed == nil {
			failed = f()
		}
		return failed
	}
}

// ShowNew passes new messages that are in the profile already to show, as Receive
// does.
func (p *Profile) ShowNew(label string, show func([]Message) error) (n int, err error) {
	var who id
	if err := p.view(func(w *work) error {
		c, err := w.guess(label)
		if err == nil {
			who = c.ID
		}
		return err
	}); err != nil {
		return 0, err
	}
	return p.showNew(who, show)
}

// stopped returns ErrStopped if the session in use has stopped, now or earlier, with
// the one contact that was asked for, or with any; the report names each.
func (p *Profile) stopped(who id, r *Report) error {
	return p.view(func(w *work) error {
		all, err := w.all()
		if err != nil {
			return err
		}
		for _, c := range all {
			if c.Session == nil || !c.Session.Stopped || who != (id{}) && who != c.ID {
				continue
			}
			if !slices.ContainsFunc(r.Events, func(e Event) bool { return e.Contact == c.Label && e.Kind == EventStopped }) {
				r.event(Event{c.Label, EventStopped, 1})
			}
			err = ErrStopped
		}
		return err
	})
}

// Remove ends a contact: the session, the messages and their keys. Their queue is
// deleted at the relay as soon as it can be reached, unless the session has stopped.
func (p *Profile) Remove(ctx context.Context, label string) error {
	err := p.change(label, func(w *work, c *contact) error { return w.forget(c) })
	if err != nil {
		return err
	}
	if err := p.v.Rotate(time.Now()); err != nil {
		return err
	}
	report, err := p.exchange(ctx, &visitOptions{all: true})
	p.overhear(report)
	return err
}
