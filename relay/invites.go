package relay

import (
	"bytes"
	"time"

	"kin/protocol"
	"kin/relay/spool"
)

const (
	maxInvite = 7 * 24 * time.Hour
	maxTries  = 255 // that are counted
)

func (s *session) offer(c *protocol.Offer) {
	st := s.relay.store
	q, ok := st.find(st.receivers, c.Receiver)
	if !s.allowed(ok, &q.Key, c.Proof, c.Corr, c) {
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
	if err := spool.CheckClock(now); err != nil {
		return 0, err
	}
	next, claim := *q, c.ClaimHash
	next.Claim = &claim
	if c.Blob != nil {
		if c.TTL == 0 || time.Duration(c.TTL) > maxInvite/r.cfg.Epoch {
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
	if !s.paced() {
		s.postpone(placeOf(&q, c.Flags), c.Corr, protocol.CodeSlowDown, paceWait)
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
	if err == nil && told != nil {
		s.relay.tell(told)
	}
	switch {
	case err != nil:
		s.relay.cfg.Log.Error("a sender's key could not be registered", "error", err)
		s.postpone(placeOf(&q, c.Flags), c.Corr, protocol.CodeInternal, failedWait)
	case code != protocol.CodeOK:
		s.refuse(c.Corr, code, 0)
	default:
		s.relay.known(s, c.Key)
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
			if inv.Tries == maxTries {
				return protocol.CodeUsed, nil, nil
			}
			inv.Tries++
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
