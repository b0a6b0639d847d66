package relay

import (
	"bytes"
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
)

func (s *session) failed(n protocol.Corr, err error) {
	s.relay.cfg.Log.Error("a command failed", "error", err)
	s.refuse(n, protocol.CodeInternal, 30*time.Second)
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
	if tk.Key != nil { // its queue was deleted
		return receiver, sender, protocol.CodeTicket, nil
	}
	if len(st.receivers) >= r.cfg.Queues || r.room() < roomForQueues {
		return receiver, sender, protocol.CodeRelayFull, nil
	}
	q := &queue{Receiver: hashOf(receiver), Sender: hashOf(sender), Key: key, Day: today(now)}
	tk.Key = &kh
	err = st.change(q, q, func(tx *bbolt.Tx) error { return put(tx, bucketTickets, th[:], tk) })
	return receiver, sender, protocol.CodeOK, err
}

func (s *session) offer(c *protocol.Offer) {
	st := s.relay.store
	q, ok := st.find(st.receivers, c.Receiver)
	if !ok {
		s.refuse(c.Corr, protocol.CodeUnknownQueue, 0)
		return
	}
	if !s.proved(q.Key, c.Proof, c.Corr, c) {
		s.refuse(c.Corr, protocol.CodeProof, 0)
		return
	}
	code, err := s.relay.offer(c, time.Now())
	switch {
	case err != nil:
		s.failed(c.Corr, err)
	case code != protocol.CodeOK:
		s.refuse(c.Corr, code, 0)
	default:
		s.ok(c.Corr)
	}
}

const maxInvite = 7 * 24 * time.Hour

func (r *Relay) offer(c *protocol.Offer, now time.Time) (protocol.Code, error) {
	st := r.store
	st.mu.Lock()
	defer st.mu.Unlock()
	q := st.receivers[hashOf(c.Receiver)]
	if q == nil || q.Gone {
		return protocol.CodeUnknownQueue, nil
	}
	location := hashOf(c.Location)
	if q.Claim != nil { // once; the same again is the same
		same := *q.Claim == c.ClaimHash && (q.Invite == nil) == (c.Blob == nil)
		if same && q.Invite != nil {
			same = q.Invite.Location == location && q.Invite.TTL == c.TTL && (q.Invite.Blob == nil || bytes.Equal(q.Invite.Blob, c.Blob))
		}
		if !same {
			return protocol.CodeConflict, nil
		}
		return protocol.CodeOK, nil
	}
	next, claim := *q, c.ClaimHash
	next.Claim = &claim
	if c.Blob != nil {
		if c.TTL == 0 || time.Duration(c.TTL)*r.cfg.Epoch > max(maxInvite, r.cfg.Epoch) {
			return protocol.CodeTTL, nil
		}
		if st.locations[location] != nil {
			return protocol.CodeConflict, nil
		}
		expiry := spool.EpochOf(now, r.cfg.Epoch) + c.TTL + 1
		next.Invite = &invite{Location: location, Blob: bytes.Clone(c.Blob), TTL: c.TTL, State: protocol.InviteOpen,
			Expires: int64(expiry) * int64(r.cfg.Epoch/time.Second)}
	}
	return protocol.CodeOK, st.change(q, &next)
}

func (s *session) del(c *protocol.Del) {
	st := s.relay.store
	q, ok := st.find(st.receivers, c.Receiver)
	if !ok {
		s.refuse(c.Corr, protocol.CodeUnknownQueue, 0)
		return
	}
	if !s.proved(q.Key, c.Proof, c.Corr, c) {
		s.refuse(c.Corr, protocol.CodeProof, 0)
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
			err = st.change(r, &next)
		} else {
			err = st.delete(r)
		}
	}
	st.mu.Unlock()
	if err != nil {
		s.failed(c.Corr, err)
		return
	}
	s.relay.spool.Drop(q.spoolID())
	s.ok(c.Corr)
}

func (s *session) fetch(c *protocol.Fetch) {
	b, code, told, err := s.relay.fetch(c.Location, time.Now())
	switch {
	case err != nil:
		s.failed(c.Corr, err)
	case code != protocol.CodeOK:
		s.refuse(c.Corr, code, 0)
	default:
		b.Corr = c.Corr.Number()
		s.answer(b)
		s.relay.tell(told)
	}
}

var inviteCodes = map[protocol.InviteState]protocol.Code{
	protocol.InviteUsed: protocol.CodeUsed, protocol.InviteExpired: protocol.CodeExpired, protocol.InviteRevoked: protocol.CodeRevoked,
}

func (r *Relay) fetch(location protocol.ID, now time.Time) (*protocol.Blob, protocol.Code, *queue, error) {
	st := r.store
	st.mu.Lock()
	defer st.mu.Unlock()
	q := st.locations[hashOf(location)]
	if q == nil {
		return nil, protocol.CodeUnknown, nil, nil
	}
	if code := inviteCodes[q.Invite.state(now)]; code != protocol.CodeOK {
		return nil, code, nil, nil
	}
	if q.Invite.Fetches >= protocol.MaxFetches {
		return nil, protocol.CodeFetches, nil, nil
	}
	next, inv := *q, *q.Invite
	inv.Fetches++
	next.Invite = &inv
	if err := st.change(q, &next); err != nil {
		return nil, 0, nil, err
	}
	return &protocol.Blob{Expiry: uint64(inv.Expires), Blob: inv.Blob}, protocol.CodeOK, &next, nil
}

// first registers a sender's key with the claim, durably, and then stores the
// envelope. A crash between leaves a first PUT that can be repeated.
func (s *session) first(c *protocol.First) {
	st := s.relay.store
	q, ok := st.find(st.senders, c.Sender)
	if !ok && q.Invite == nil {
		s.refuse(c.Corr, protocol.CodeUnknownQueue, 0)
		return
	}
	if !s.proved(c.Key, c.Proof, c.Corr, c) {
		s.refuse(c.Corr, protocol.CodeProof, 0)
		return
	}
	if ok && (q.SenderKey == nil || *q.SenderKey == c.Key) {
		if !s.mayStore(&q, c.Corr, c.Flags) {
			return
		}
	}
	code, told, err := s.relay.register(c, time.Now())
	if told != nil {
		s.relay.tell(told)
	}
	switch {
	case err != nil:
		s.failed(c.Corr, err)
	case code != protocol.CodeOK:
		s.refuse(c.Corr, code, 0)
	default:
		s.store(&q, c.Corr, c.Message, c.Class, c.Flags, c.Envelope)
	}
}

func (r *Relay) register(c *protocol.First, now time.Time) (code protocol.Code, told *queue, err error) {
	st := r.store
	st.mu.Lock()
	defer st.mu.Unlock()
	q := st.senders[hashOf(c.Sender)]
	if q == nil {
		return protocol.CodeUnknownQueue, nil, nil
	}
	if q.Claim == nil || *q.Claim != protocol.ClaimHash(c.Claim) {
		return protocol.CodeUnknown, nil, nil
	}
	if q.SenderKey != nil && *q.SenderKey == c.Key && !q.Gone {
		return protocol.CodeOK, nil, nil
	}
	next := *q
	if q.Invite != nil {
		inv := *q.Invite
		if q.SenderKey != nil && !q.Gone {
			if inv.Tries < 255 {
				inv.Tries++
			}
			next.Invite = &inv
			return protocol.CodeUsed, &next, st.change(q, &next)
		}
		if code := inviteCodes[inv.state(now)]; code != protocol.CodeOK {
			return code, nil, nil
		}
		inv.State, inv.Blob = protocol.InviteUsed, nil
		next.Invite = &inv
		told = &next
	} else if q.SenderKey != nil {
		return protocol.CodeUsed, nil, nil
	}
	key := c.Key
	next.SenderKey = &key
	return protocol.CodeOK, told, st.change(q, &next)
}

// mayStore checks pace and room before anything is changed.
func (s *session) mayStore(q *queue, n protocol.Corr, flags uint8) bool {
	urgent := flags&protocol.FlagUrgent != 0
	if !q.paced.Allow() {
		s.refuse(n, protocol.CodeSlowDown, 30*time.Second)
		return false
	}
	if room := s.relay.room(); room < roomForUrgent || room < roomForAll && !urgent {
		s.refuse(n, protocol.CodeRelayFull, fullWait)
		return false
	}
	return true
}

func (s *session) put(c *protocol.Put) {
	st := s.relay.store
	q, ok := st.find(st.senders, c.Sender)
	if !ok || q.SenderKey == nil {
		s.refuse(c.Corr, protocol.CodeUnknownQueue, 0)
		return
	}
	if !s.proved(*q.SenderKey, c.Proof, c.Corr, c) {
		s.refuse(c.Corr, protocol.CodeProof, 0)
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
	p := spool.Put{ID: spool.MessageID(id), Urgent: flags&protocol.FlagUrgent != 0, Body: body[:],
		Expiry: spool.EpochOf(time.Now(), r.cfg.Epoch) + uint32(protocol.TTLClasses[class])}
	s.useful = true
	r.spool.Put(q.spoolID(), p, func(err error) {
		clear(p.Body)
		bodies.Put(body)
		s.stored(n, err)
	})
}

// bodies are for envelopes until they are stored.
var bodies = sync.Pool{New: func() any { return new([protocol.EnvelopeSize]byte) }}

// stored answers a PUT: the one place where the spool's errors become codes.
func (s *session) stored(n protocol.Corr, err error) {
	var full *spool.FullError
	switch {
	case err == nil:
		s.ok(n)
	case errors.As(err, &full):
		s.refuse(n, protocol.CodeQueueFull, full.Wait)
	case errors.Is(err, spool.ErrFull):
		s.refuse(n, protocol.CodeRelayFull, fullWait)
	case errors.Is(err, spool.ErrConflict):
		s.refuse(n, protocol.CodeConflict, 0)
	case errors.Is(err, spool.ErrExpiry):
		s.refuse(n, protocol.CodeTTL, 0)
	default:
		s.failed(n, err)
	}
}

func (s *session) cancel(c *protocol.Cancel) {
	st := s.relay.store
	q, ok := st.find(st.senders, c.Sender)
	if !ok || q.SenderKey == nil {
		s.refuse(c.Corr, protocol.CodeUnknownQueue, 0)
		return
	}
	if !s.proved(*q.SenderKey, c.Proof, c.Corr, c) {
		s.refuse(c.Corr, protocol.CodeProof, 0)
		return
	}
	n := c.Corr
	s.relay.spool.Cancel(q.spoolID(), spool.MessageID(c.Message), func(err error) {
		if err != nil {
			s.failed(n, err)
			return
		}
		s.ok(n)
	})
}
