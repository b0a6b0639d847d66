package relay

import (
	"errors"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"kin/protocol"
	"kin/relay/spool"
)

const (
	sendBurst = 128 // of a queue, before Config.Pace
	fullWait  = 10 * time.Minute

	failedWait = 30 * time.Second
)

func (s *session) failed(n protocol.Corr, err error) {
	s.relay.cfg.Log.Error("a command failed", "error", err)
	s.refuse(n, protocol.CodeInternal, failedWait)
}

func (s *session) issue(c *protocol.Issue) {
	left, code, err := s.relay.store.issue(c.Grant, c.Hashes, time.Now())
	switch {
	case err != nil:
		s.failed(c.Corr, err)
	case code != protocol.CodeOK:
		s.refuse(c.Corr, code, 0)
	default:
		s.answer(&protocol.Issued{Corr: c.Corr.Number(), Remaining: uint32(left)})
	}
}

// newQueue looks at the ticket first: to check a proof costs far more, and anybody can
// ask for that.
func (s *session) newQueue(c *protocol.New) {
	if tk, err := s.relay.store.ticket(protocol.TicketHash(c.Ticket)); err != nil {
		s.failed(c.Corr, err)
		return
	} else if tk == nil {
		s.refuse(c.Corr, protocol.CodeTicket, fullWait)
		return
	}
	if !s.proved(c.Key, c.Proof, c.Corr, c) {
		s.refuse(c.Corr, protocol.CodeProof, 0)
		return
	}
	receiver, sender, code, err := s.relay.makeQueue(c.Ticket, c.Key, time.Now())
	switch {
	case err != nil:
		s.failed(c.Corr, err)
	case code != protocol.CodeOK:
		s.refuse(c.Corr, code, fullWait)
	default:
		s.relay.known(s, c.Key)
		ids := &protocol.IDs{Corr: c.Corr.Number(), Receiver: receiver, Sender: sender}
		s.answer(ids)
		*ids = protocol.IDs{}
	}
}

// makeQueue makes the queue of a ticket, or finds the one that was made with the
// same ticket and key.
func (r *Relay) makeQueue(t protocol.ID, key [32]byte, now time.Time) (receiver, sender protocol.ID, code protocol.Code, err error) {
	st := r.store
	st.mu.Lock()
	defer st.mu.Unlock()
	th, kh := protocol.TicketHash(t), protocol.ClaimHash(key)
	tk, err := st.ticket(th)
	if err != nil {
		return receiver, sender, 0, err
	}
	if tk == nil || now.Unix() >= tk.Expires || tk.Key != nil && *tk.Key != kh {
		return receiver, sender, protocol.CodeTicket, nil
	}
	receiver, sender = st.ids(t, key)
	if old := st.receivers[hashOf(receiver)]; old != nil && !old.Gone {
		return receiver, sender, protocol.CodeOK, nil
	}
	if tk.Key != nil {
		if shown, err := st.shown(hashOf(receiver)); !shown { // its queue was deleted
			return receiver, sender, protocol.CodeTicket, err
		}
	} else if len(st.receivers) >= r.cfg.Queues || r.room() < roomForQueues {
		return receiver, sender, protocol.CodeRelayFull, nil
	}
	q := &queue{Receiver: hashOf(receiver), Sender: hashOf(sender), Key: key, Day: today(now)}
	tk.Key = &kh
	err = st.change(q, q, func(tx *bbolt.Tx) error { return put(tx, bucketTickets, th[:], tk) })
	return receiver, sender, protocol.CodeOK, err
}

func (s *session) del(c *protocol.Del) {
	st := s.relay.store
	q, ok := st.find(st.receivers, c.Receiver)
	if !s.allowed(ok, &q.Key, c.Proof, c.Corr, c) {
		return
	}
	st.mu.Lock()
	var err error
	if r := st.receivers[q.Receiver]; r != nil {
		if r.Invite != nil && r.Invite.State == protocol.InviteOpen {
			next := *r
			inv := *r.Invite
			inv.State, inv.Blob = protocol.InviteRevoked, nil
			next.Gone, next.Invite = true, &inv
			err = st.change(r, &next, next.markDeleted)
		} else {
			err = st.delete(r)
		}
	}
	st.mu.Unlock()
	if err != nil {
		s.failed(c.Corr, err)
		return
	}
	n := c.Corr
	s.relay.erase(q.Receiver, func(err error) {
		if err != nil {
			s.failed(n, err)
			return
		}
		s.ok(n)
	})
}

// mayStore checks order, pace and room before anything is changed.
func (s *session) mayStore(q *queue, n protocol.Corr, flags uint8) bool {
	at := placeOf(q, flags)
	s.told = s.relay.spool.Told() // before
	if s.waits(at, protocol.Heard(flags), n) {
		return false
	}
	if !s.relay.store.allow(q.Receiver) {
		s.postpone(at, n, protocol.CodeSlowDown, 30*time.Second)
		return false
	}
	if room := s.relay.room(); room < roomForUrgent || room < roomForAll && !at.urgent {
		s.postpone(at, n, protocol.CodeRelayFull, fullWait)
		return false
	}
	return true
}

func (s *session) put(c *protocol.Put) {
	st := s.relay.store
	q, ok := st.find(st.senders, c.Sender)
	if !s.allowed(ok, q.SenderKey, c.Proof, c.Corr, c) {
		return
	}
	if s.mayStore(&q, c.Corr, c.Flags) {
		s.store(&q, c.Corr, c.Message, c.Class, c.Flags, c.Envelope)
	}
}

// store puts an envelope into the spool; OK follows the sync.
func (s *session) store(q *queue, n protocol.Corr, id protocol.MessageID, class, flags uint8, envelope []byte) {
	r := s.relay
	if int(class) >= len(protocol.TTLClasses) || protocol.TTLClasses[class] > r.limits.MaxTTL {
		s.refuse(n, protocol.CodeTTL, 0)
		return
	}
	body := bodies.Get().(*[protocol.EnvelopeSize]byte)
	copy(body[:], envelope)
	at := placeOf(q, flags)
	p := spool.Put{ID: spool.MessageID(id), Urgent: at.urgent, Body: body[:],
		Expiry: spool.EpochOf(time.Now(), r.cfg.Epoch) + uint32(protocol.TTLClasses[class]), Told: s.told}
	s.useful = true
	r.spool.Put(q.spoolID(), p, func(err error) {
		clear(p.Body)
		bodies.Put(body)
		s.stored(at, n, err)
	})
}

// bodies are for envelopes until they are stored.
var bodies = sync.Pool{New: func() any { return new([protocol.EnvelopeSize]byte) }}

// stored answers a PUT: the one place where the spool's errors become codes.
func (s *session) stored(at place, n protocol.Corr, err error) {
	var full *spool.FullError
	switch {
	case err == nil:
		s.ok(n)
	case errors.As(err, &full):
		s.postpone(at, n, protocol.CodeQueueFull, full.Wait)
	case errors.Is(err, spool.ErrFull):
		s.postpone(at, n, protocol.CodeRelayFull, fullWait)
	case errors.Is(err, spool.ErrBusy):
		s.postpone(at, n, protocol.CodeSlowDown, paceWait)
	case errors.Is(err, spool.ErrConflict):
		s.refuse(n, protocol.CodeConflict, 0)
	case errors.Is(err, spool.ErrExpiry):
		s.refuse(n, protocol.CodeTTL, 0)
	default:
		if !errors.Is(err, spool.ErrBehind) { // which is told already
			s.relay.cfg.Log.Error("an envelope could not be stored", "error", err)
		}
		s.postpone(at, n, protocol.CodeInternal, failedWait)
	}
}

func (s *session) cancel(c *protocol.Cancel) {
	st := s.relay.store
	q, ok := st.find(st.senders, c.Sender)
	n, first := c.Corr, ok && q.SenderKey == nil // its FIRST may be on its way
	switch {
	case first && !s.paced():
		s.refuse(n, protocol.CodeSlowDown, paceWait)
		return
	case !first && !s.allowed(ok, q.SenderKey, c.Proof, n, c):
		return
	}
	s.relay.spool.Cancel(q.spoolID(), spool.MessageID(c.Message), func(err error) {
		switch {
		case err != nil:
			s.failed(n, err)
		case first:
			s.refuse(n, protocol.CodeUnknownQueue, 0)
		default:
			s.ok(n)
		}
	})
}
