package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"kin/client/ratchet"
	"kin/protocol"
)

// DefaultUntil is how long a message is tried for.
const (
	DefaultUntil = 14 * 24 * time.Hour
	DefaultTTL   = 72 * time.Hour
)

// ErrOwnInvite is returned by Join for an invite that this profile made.
var ErrOwnInvite = errors.New("this invite was made by this profile: it is for the other person")

// Join takes an invite. It needs the relay, not the host, and returns when the
// relay holds the claim durably: the contact may then be sent to at once. name is
// what the host is told, the profile's if "". label "" takes the name in the
// invite. If the relay can't be reached what was begun is kept, and Join with the
// same invite goes on; after a refusal (*InviteRefusedError) nothing is left of it to be
// sent. After another error IsKnown tells whether the host may hear of this profile.
func (p *Profile) Join(ctx context.Context, inv protocol.Invite, name, label string) (Contact, error) {
	if err := checkName(name); err != nil {
		return Contact{}, err
	}
	who, err := p.begun(inv)
	if err != nil {
		return Contact{}, err
	}
	c, err := dial(ctx, p.Dial, inv.Relay, 0)
	if err != nil {
		return Contact{}, err
	}
	defer c.close()
	if who == nil {
		if who, err = p.fetchInvite(ctx, c, inv, name, label); err != nil {
			return Contact{}, err
		}
	}
	if err := p.makeFlight(ctx, c, *who); err != nil {
		return Contact{}, p.abandon(*who, err)
	}
	var own string
	if err := p.view(func(w *work) error {
		c, err := w.contact(*who)
		if c != nil {
			own = c.Label
		}
		return err
	}); err != nil {
		return Contact{}, err
	}
	var report Report
	defer func() { // but for what is returned
		report.Events = slices.DeleteFunc(report.Events, func(e Event) bool { return e.Contact == own && (e.Kind == EventJoined || e.Kind == EventRefused) })
		p.overhear(report)
	}()
	v := newVisit(p, c, inv.Relay, &report)
	if err := v.flush(ctx); err != nil {
		return Contact{}, err
	}
	var out Contact
	var anew bool
	err = p.view(func(w *work) error {
		c, err := w.contact(*who)
		switch {
		case err != nil:
			return err
		case v.refused[*who] != nil:
			return v.refused[*who]
		case c == nil || c.Join != nil:
			return ErrOffline
		}
		out, anew = c.public(w), len(c.Old) > 0
		return nil
	})
	if err == nil && anew { // receipts that wait at the relay are heard before anything is said again
		last, _ := p.exchange(ctx, &visitOptions{only: &inv.Relay}) // what went wrong the next command meets too
		report.merge(&last)
	}
	return out, err
}

// IsKnown tells whether somebody may have this profile for a contact, or come to: a
// claim may have gone out, whatever Join returned. What they write then, only this profile
// can read.
func (p *Profile) IsKnown() (known bool, err error) {
	err = p.view(func(w *work) error {
		contacts, err := w.all()
		for _, c := range contacts {
			known = known || len(c.sessions()) > 0
		}
		return err
	})
	return known, err
}

// begun finds the contact whose join with this invite has begun or is done.
func (p *Profile) begun(inv protocol.Invite) (who *id, err error) {
	err = p.view(func(w *work) error {
		contacts, err := w.all()
		for _, c := range contacts {
			if c.Join != nil && c.Join.Refused.IsZero() && c.Join.Invite.Hash == inv.Hash {
				who = &c.ID
			}
			for _, i := range c.Invites {
				if i.Hash == inv.Hash {
					return ErrOwnInvite
				}
			}
		}
		return err
	})
	return who, err
}

// fetchInvite reads the invite's bundle, checks it, and stores what the join needs.
func (p *Profile) fetchInvite(ctx context.Context, c *conn, inv protocol.Invite, name, label string) (*id, error) {
	blob, err := c.fetch(ctx, ratchet.DeriveInvite(inv.Hash).Location)
	if err != nil {
		return nil, inviteRefused(err)
	}
	b, err := ratchet.OpenBundle(inv.Hash, blob)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTampered, err)
	}
	meta, err := parseMeta(b.Meta())
	if err != nil || b.Fingerprint() != inv.Relay.Fingerprint || len(meta.tickets) == 0 {
		return nil, ErrTampered
	}
	var who id
	err = p.update(nil, func(w *work) error {
		s, err := w.self()
		if err != nil {
			return err
		}
		if name == "" {
			name = s.Name
		}
		contact, err := w.guestLabel(label, meta.name)
		if err != nil {
			return err
		}
		if contact.Join != nil {
			if err := w.forgetJoin(contact); err != nil {
				return err
			}
		}
		contact.Calls = meta.name
		contact.Join = &joining{Invite: inv, Bundle: b.Marshal(), Ticket: meta.tickets[0], Name: name,
			In: inQueue{Relay: inv.Relay, Key: newKey(), Envelope: newKey()}, Claim: newKey()}
		who = contact.ID
		return nil
	})
	return &who, err
}

// ErrTampered is returned for an invite whose bundle at the relay is not the one
// that the invite names.
var ErrTampered = errors.New("what the relay holds is not what the invite names")

// guestLabel finds or adds the contact for a join: by the label that was asked
// for, else by the name in the invite, else the next free one.
func (w *work) guestLabel(label, name string) (*contact, error) {
	if label != "" {
		return w.labelled(label)
	}
	contacts, err := w.all()
	if err != nil {
		return nil, err
	}
	if name, err := cleanLabel(name); err == nil && freeLabel(contacts, name, nil) == nil {
		return w.addContact(name), nil
	}
	return w.addContact(nextLabel(contacts)), nil
}

// makeFlight makes the guest's own queue, then the session and the first flight,
// which are stored before the relay hears of them.
func (p *Profile) makeFlight(ctx context.Context, c *conn, who id) error {
	var j joining
	err := p.view(func(w *work) error {
		contact, err := w.contact(who)
		if err != nil || contact == nil || contact.Join == nil {
			return errors.Join(err, ErrNoContact)
		}
		j = *contact.Join
		return nil
	})
	if err != nil || j.Session != nil {
		return err
	}
	if err := c.makeQueue(ctx, j.Ticket, &j.In); err != nil {
		return err
	}
	if err := c.offer(ctx, j.In, j.Claim, 0, protocol.ID{}, nil); err != nil {
		return err
	}
	return p.update(nil, func(w *work) error {
		contact, err := w.contact(who)
		if err != nil || contact == nil || contact.Join == nil {
			return errors.Join(err, ErrNoContact)
		}
		if contact.Join.Session != nil {
			return nil // another process was quicker
		}
		contact.Join.In = j.In
		return w.beginSession(contact)
	})
}

func (w *work) beginSession(c *contact) error {
	j := c.Join
	b, err := ratchet.ParseBundle(j.Bundle)
	if err != nil {
		return err
	}
	first := body{kind: kindFirst, id: uuid.New(), seq: 1, sent: w.now, deadline: w.now.Add(DefaultUntil)}
	first.items.name = j.Name
	first.items.queues = []descriptor{{j.In.Relay, j.In.Sender, j.Claim, [32]byte(privateKey(j.In.Envelope).PublicKey().Bytes())}}
	r, envelope, flight, err := ratchet.Begin(b, first.marshal())
	if err != nil {
		return err
	}
	s := &session{ID: newID(), In: j.In, Guest: true, Flight: flight.ID, Prev: flight.Commitment}
	s.Out = outQueue{Relay: j.Invite.Relay, Sender: b.SenderID(), Claim: ratchet.DeriveInvite(j.Invite.Hash).Claim,
		Key: newKey(), Envelope: [32]byte(b.QueueKey())}
	j.Session = s
	w.step(s, r)
	return w.addOp(&op{Contact: c.ID, Session: s.ID, Seq: 1, Envelope: envelope, Made: w.now, TTL: DefaultUntil,
		Deadline: first.deadline, Flight: true})
}

// finishJoin is called when the relay has confirmed the claim.
func (w *work) finishJoin(c *contact) error {
	s := c.Join.Session
	c.Join = nil
	return c.adopt(w, s)
}

// forgetJoin ends a join that came to nothing; who has no other session is no
// contact any more.
func (w *work) forgetJoin(c *contact) error {
	j := c.Join
	c.Join = nil
	if j.Session != nil {
		if err := w.endSession(j.Session); err != nil {
			return err
		}
		return w.dropOps(j.Session)
	}
	return w.dropQueue(j.In)
}

// dropOps takes what a session has to send out of the outbox.
func (w *work) dropOps(s *session) error {
	return eachRecord(w, tableOutbox, func(key []byte, o *op) error {
		if o.Session != s.ID {
			return nil
		}
		return w.tx.Delete(tableOutbox, key)
	})
}

// joins tells whether an op is the flight of the contact's join.
func (c *contact) joins(o *op) bool {
	return o.Flight && c.Join != nil && c.Join.Session != nil && c.Join.Session.ID == o.Session
}

// refuseJoin ends a join whose flight the relay refused. One with somebody who has a
// session is listened for as long as its host might take the flight, or until a newer
// session is there: a relay can refuse it and hand it on, and the two would write past
// each other.
func (w *work) refuseJoin(c *contact) error {
	if c.Session == nil {
		return w.endJoin(c)
	}
	c.Join.Refused = w.now
	return w.dropOps(c.Join.Session)
}

// abandon forgets a join that the relay refused for good, and returns why.
func (p *Profile) abandon(who id, why error) error {
	why = inviteRefused(why)
	var refusal *protocol.Refusal
	if !errors.Is(why, ErrInviteState) && (!errors.As(why, &refusal) || refusal.Code.Temporary()) {
		return why
	}
	err := p.update(nil, func(w *work) error {
		c, err := w.contact(who)
		if err != nil || c == nil || c.Join == nil {
			return err
		}
		return w.endJoin(c)
	})
	return errors.Join(why, err)
}

// endJoin forgets a join, and the contact if that was all.
func (w *work) endJoin(c *contact) error {
	if err := w.forgetJoin(c); err != nil {
		return err
	}
	if c.Session == nil && len(c.Invites) == 0 && len(c.Old) == 0 {
		return w.forget(c)
	}
	return nil
}

// inviteRefused turns a relay's word on an invite into an error of its own.
func inviteRefused(err error) error {
	var r *protocol.Refusal
	if !errors.As(err, &r) {
		return err
	}
	switch r.Code {
	case protocol.CodeUsed:
		return &InviteRefusedError{stateUsed}
	case protocol.CodeExpired:
		return &InviteRefusedError{stateExpired}
	case protocol.CodeRevoked:
		return &InviteRefusedError{stateRevoked}
	case protocol.CodeUnknown, protocol.CodeUnknownQueue:
		return &InviteRefusedError{"unknown"}
	case protocol.CodeFetches:
		return &InviteRefusedError{"fetched too often"}
	}
	return err
}
