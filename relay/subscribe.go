package relay

import (
	"cmp"
	"slices"
	"time"

	"kin/protocol"
	"kin/relay/spool"
)

// subscription is a queue that a session reads. The session's mu guards it.
type subscription struct {
	// Static.
	session *session
	queue   spool.QueueID
	handle  uint16

	after   uint64   // the last sequence that was sent
	unacked []uint64 // sent and not erased, at most a window
	dirty   bool     // there may be more
	known   bool     // the other side has the handle
}

// sub subscribes to queues. One that the session reads already keeps its handle and
// gets fresh counts.
func (s *session) sub(c *protocol.Sub) {
	out := &protocol.Subbed{Corr: c.Corr.Number()}
	var fresh []*subscription
	for i, id := range c.Queues {
		q, ok := s.relay.store.find(s.relay.store.receivers, id)
		a := protocol.Subscription{}
		switch {
		case !ok:
			a.Code = protocol.CodeUnknownQueue
		case !s.proved(q.Key, c.Proofs[i], c.Corr, c):
			a.Code = protocol.CodeProof
		default:
			s.relay.known(s, q.Key)
			sub, code := s.subscribe(q.spoolID())
			if a.Code = code; code != protocol.CodeOK {
				break
			}
			fresh = append(fresh, sub)
			a.Handle, a.Waiting = sub.handle, uint32(s.relay.spool.Waiting(sub.queue))
			if q.Invite != nil {
				a.Invite, a.Fetches, a.Tries = q.Invite.state(time.Now()), q.Invite.Fetches, q.Invite.Tries
			}
		}
		out.Queues = append(out.Queues, a)
	}
	s.answer(out)
	for _, sub := range fresh {
		s.follow(sub)
	}
}

// follow has what waits in a queue sent: its handle was told.
func (s *session) follow(sub *subscription) {
	s.mu.Lock()
	sub.known = true
	s.mu.Unlock()
	s.wakeUp(sub)
}

// subscribe finds or makes the session's subscription to a queue.
func (s *session) subscribe(q spool.QueueID) (*subscription, protocol.Code) {
	r := s.relay
	r.mu.Lock()
	defer r.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, protocol.CodeInternal
	}
	for _, sub := range s.subs {
		if sub.queue == q {
			return sub, protocol.CodeOK
		}
	}
	if len(r.subs[q]) >= subscribers || s.last == 1<<16-1 {
		return nil, protocol.CodeSubscribers
	}
	s.last++
	sub := &subscription{session: s, queue: q, handle: s.last}
	s.subs = append(s.subs, sub)
	r.subs[q] = append(r.subs[q], sub)
	return sub, protocol.CodeOK
}

// subscription is the one with a handle; nil if there is none. mu is held.
func (s *session) subscription(handle uint16) *subscription {
	if i, ok := slices.BinarySearchFunc(s.subs, int(handle), byHandle); ok {
		return s.subs[i]
	}
	return nil
}

func byHandle(sub *subscription, handle int) int { return cmp.Compare(int(sub.handle), handle) }

func (r *Relay) unsubscribe(sub *subscription) {
	r.mu.Lock()
	defer r.mu.Unlock()
	left := slices.DeleteFunc(slices.Clone(r.subs[sub.queue]), func(o *subscription) bool { return o == sub })
	if len(left) == 0 {
		delete(r.subs, sub.queue)
	} else {
		r.subs[sub.queue] = left
	}
}

func (s *session) unsub(c *protocol.Unsub) {
	s.mu.Lock()
	sub := s.subscription(c.Handle)
	s.subs = slices.DeleteFunc(s.subs, func(o *subscription) bool { return o == sub })
	s.mu.Unlock()
	if sub == nil {
		s.refuse(c.Corr, protocol.CodeUnknownQueue, 0)
		return
	}
	s.relay.unsubscribe(sub)
	s.ok(c.Corr)
}

// ack erases collected envelopes. It is not answered.
func (s *session) ack(c *protocol.Ack) {
	s.mu.Lock()
	sub := s.subscription(c.Handle)
	if sub == nil {
		s.mu.Unlock()
		return
	}
	var seqs []uint64
	for _, seq := range c.Sequences {
		if i := slices.Index(sub.unacked, seq); i >= 0 { // only what was sent to it
			sub.unacked = slices.Delete(sub.unacked, i, i+1)
			seqs = append(seqs, seq)
		}
	}
	s.mu.Unlock()
	s.useful = len(seqs) > 0
	s.relay.spool.Ack(sub.queue, seqs...)
	s.wakeUp(sub)
}

// ready is told by the spool which queues got something.
func (r *Relay) ready(queues []spool.QueueID) {
	for _, q := range queues {
		r.mu.Lock()
		subs := r.subs[q]
		r.mu.Unlock()
		for _, sub := range subs {
			sub.session.wakeUp(sub)
		}
	}
}

// tell tells a queue's subscribers that its invite changed.
func (r *Relay) tell(q *queue) {
	r.mu.Lock()
	subs := r.subs[q.spoolID()]
	r.mu.Unlock()
	for _, sub := range subs {
		sub.session.answer(&protocol.Tried{Handle: sub.handle, Invite: q.Invite.state(time.Now()), Fetches: q.Invite.Fetches, Tries: q.Invite.Tries})
	}
}
