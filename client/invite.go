package client

import (
	"context"
	"fmt"
	"slices"
	"time"

	"kin/client/ratchet"
	"kin/protocol"
)

// Lives of an invite (docs/protocol.md, Invite).
const (
	DefaultInvite = 48 * time.Hour
	MaxInvite     = 7 * 24 * time.Hour

	hostKeysAfter = 15 * 24 * time.Hour // the keys outlive the invite, for a flight that waits at the relay
)

const (
	stateOpen    = "open"
	stateUsed    = "used"
	stateExpired = "expired"
	stateRevoked = "revoked"
)

var inviteStates = map[protocol.InviteState]string{
	protocol.InviteOpen: stateOpen, protocol.InviteUsed: stateUsed,
	protocol.InviteExpired: stateExpired, protocol.InviteRevoked: stateRevoked,
}

func (i *invite) open(now time.Time) bool {
	return i.State == stateOpen && (i.Expires.IsZero() || now.Before(i.Expires))
}

// Invite makes an invite for a contact and returns it as text, with the label that
// the contact has. label "" takes the next free one; a known label starts a new
// session for that contact; while an invite for it is open, the same one comes
// again. What was begun goes on when it is called again.
func (p *Profile) Invite(ctx context.Context, label string, expires time.Duration) (token, contactLabel string, err error) {
	if expires == 0 {
		expires = DefaultInvite
	}
	if expires < time.Second || expires > MaxInvite {
		return "", "", fmt.Errorf("an invite lives at most %v", MaxInvite)
	}
	var s *self
	var inv invite
	var who id
	err = p.update(nil, func(w *work) error {
		if s, err = w.self(); err != nil {
			return err
		}
		if s.Relay == nil {
			return ErrNoGrant
		}
		c, err := w.labelled(label)
		if err != nil {
			return err
		}
		i, err := w.openInvite(c, s, expires)
		if err != nil {
			return err
		}
		who, inv, contactLabel = c.ID, *i, c.Label
		return w.putSelf(s)
	})
	if err != nil {
		return "", "", err
	}
	if !inv.Offered {
		if err := p.offerInvite(ctx, s, who, &inv); err != nil {
			return "", contactLabel, err
		}
	}
	token, err = protocol.Invite{Relay: *s.Relay, Hash: inv.Hash}.Text()
	return token, contactLabel, err
}

// labelled finds the contact with this label, or adds one.
func (w *work) labelled(label string) (*contact, error) {
	contacts, err := w.all()
	if err != nil {
		return nil, err
	}
	if label == "" {
		return w.addContact(nextLabel(contacts)), nil
	}
	if c, err := w.find(label); err == nil {
		return c, nil
	}
	if label, err = cleanLabel(label); err != nil {
		return nil, err
	}
	if err := freeLabel(contacts, label, nil); err != nil {
		return nil, err
	}
	return w.addContact(label), nil
}

// openInvite is the contact's open invite, or a new one with its keys.
func (w *work) openInvite(c *contact, s *self, expires time.Duration) (*invite, error) {
	for _, i := range c.Invites {
		if i.open(w.now) {
			return i, nil
		}
	}
	keys, err := ratchet.NewHostKeys()
	if err != nil {
		return nil, err
	}
	i := &invite{ID: newID(), Made: w.now, TTL: expires, State: stateOpen}
	i.In = inQueue{Relay: *s.Relay, Key: newKey(), Envelope: [32]byte(keys.QueueKey().Bytes())}
	if len(s.Tickets) >= 2 {
		i.Tickets, s.Tickets = s.Tickets[:2], s.Tickets[2:]
	} else {
		i.Tickets = []protocol.ID{newTicket(), newTicket()}
	}
	c.Invites = append(c.Invites, i)
	return i, w.tx.PutRotating(tableHostKeys, i.ID[:], keys.Marshal())
}

// offerInvite makes the invite's queue and puts its bundle at the relay. Keys are
// stored before the relay hears of them, and the sealed bundle before it is offered:
// if the answer is lost, the same bytes are offered again.
func (p *Profile) offerInvite(ctx context.Context, s *self, who id, inv *invite) error {
	c, err := dial(ctx, p.Dial, *s.Relay, 0)
	if err != nil {
		return err
	}
	defer c.close()
	if inv.Blob == nil {
		if err := c.issue(ctx, s.Grant, inv.Tickets); err != nil {
			return err
		}
		if err := c.makeQueue(ctx, inv.Tickets[0], &inv.In); err != nil {
			return err
		}
		err := p.update(nil, func(w *work) error {
			i, err := w.invite(who, inv.ID)
			if err != nil {
				return err
			}
			if i.Blob == nil {
				if err := w.makeBundle(i, s, inv.In); err != nil {
					return err
				}
			}
			*inv = *i
			return nil
		})
		if err != nil {
			return err
		}
	}
	secrets := ratchet.DeriveInvite(inv.Hash)
	epoch := c.hello.Limits.Epoch
	epochs := min((inv.TTL+epoch-1)/epoch, MaxInvite/epoch)
	if err := c.offer(ctx, inv.In, secrets.Claim, uint32(epochs), secrets.Location, inv.Blob); err != nil {
		return err
	}
	return p.update(nil, func(w *work) error {
		i, err := w.invite(who, inv.ID)
		if err != nil {
			return err
		}
		if !i.Offered {
			i.Offered, i.Blob = true, nil
			i.Expires = endOfEpoch(w.now.Add(epochs*epoch), epoch)
		}
		return nil
	})
}

// endOfEpoch is the end of the epoch that t falls into.
func endOfEpoch(t time.Time, epoch time.Duration) time.Time {
	return t.Truncate(epoch).Add(epoch)
}

// invite loads an invite that is still there.
func (w *work) invite(who, key id) (*invite, error) {
	c, err := w.contact(who)
	if err != nil {
		return nil, err
	}
	if c != nil {
		for _, i := range c.Invites {
			if i.ID == key {
				return i, nil
			}
		}
	}
	return nil, &InviteRefusedError{stateRevoked}
}

// makeBundle makes the bundle of an invite whose queue is there.
func (w *work) makeBundle(i *invite, s *self, q inQueue) error {
	stored, err := w.tx.Get(tableHostKeys, i.ID[:])
	if err != nil {
		return err
	}
	keys, err := ratchet.ParseHostKeys(stored)
	if err != nil {
		return err
	}
	meta := marshalMeta(&items{name: s.Name, tickets: i.Tickets[1:]})
	b, err := keys.Bundle(s.Relay.Fingerprint, q.Sender, meta)
	if err != nil {
		return err
	}
	i.In.Receiver, i.In.Sender = q.Receiver, q.Sender
	i.Bundle, i.Blob, i.Hash = b.Marshal(), ratchet.SealBundle(b), b.Hash()
	return nil
}

// dropInvite destroys an invite's keys and has the relay delete its queue.
func (w *work) dropInvite(i *invite) error {
	if err := w.tx.Delete(tableHostKeys, i.ID[:]); err != nil {
		return err
	}
	if err := w.deletePrefix(tableHeld, i.ID); err != nil {
		return err
	}
	return w.dropQueue(i.In)
}

// Invites returns the invites that are known, by label.
func (p *Profile) Invites(context.Context) ([]InviteInfo, error) {
	var out []InviteInfo
	err := p.view(func(w *work) error {
		contacts, err := w.all()
		for _, c := range contacts {
			for _, i := range c.Invites {
				info := InviteInfo{Label: c.Label, Made: i.Made, Expires: i.Expires, State: i.State, Fetches: i.Fetches, Tries: i.Tries}
				if info.State == stateOpen && !i.open(w.now) {
					info.State = stateExpired
				}
				out = append(out, info)
			}
		}
		return err
	})
	return out, err
}

// RevokeInvite takes back a contact's open invite: its keys are destroyed at once;
// then the relay is told. Who was only invited is no contact any more.
func (p *Profile) RevokeInvite(ctx context.Context, label string) error {
	var relay protocol.Address
	err := p.change(label, func(w *work, c *contact) error {
		n := len(c.Invites)
		for _, i := range c.Invites {
			relay = i.In.Relay
			if err := w.dropInvite(i); err != nil {
				return err
			}
		}
		if n == 0 {
			return fmt.Errorf("%w: no invite for %q is open", ErrNoMessage, label)
		}
		c.Invites = nil
		if c.Session == nil && c.Join == nil {
			return w.forget(c)
		}
		return nil
	})
	if err != nil {
		return err
	}
	report, err := p.exchange(ctx, &visitOptions{only: &relay, all: true})
	p.overhear(report)
	return err
}

// sweepInvites forgets invites whose keys must die.
func (w *work) sweepInvites(c *contact) error {
	var err error
	c.Invites = slices.DeleteFunc(c.Invites, func(i *invite) bool {
		if err != nil || i.Expires.IsZero() || w.now.Before(i.Expires.Add(hostKeysAfter)) {
			return false
		}
		err = w.dropInvite(i)
		return err == nil
	})
	return err
}
