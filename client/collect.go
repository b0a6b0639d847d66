package client

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"kin/client/vault"
	"kin/protocol"
)

const (
	quietFor = 2 * time.Second  // without a MSG, on a fast line: ask again how many wait
	stallFor = 20 * time.Second // without a MSG, on a fast line: the relay doesn't send what it has
	batch    = 16               // MSGs of one commit

	subAgain  = 10 * time.Second // a queue that was refused for a while: SUBBED tells no time
	longAgain = 5 * time.Minute  // at most, whatever the relay asks for: something may wait there
)

// wait is a refusal for a while, of what is tried again on the same connection.
type wait struct {
	code  protocol.Code
	until time.Time
}

// postpone has a queue wait.
func (v *visit) postpone(receiver protocol.ID, code protocol.Code, d time.Duration) {
	v.waits[receiver] = wait{code, time.Now().Add(min(max(d, time.Second), longAgain))}
}

// asksToWait is the refusal that asks to wait, if err is one; the report tells for how long.
func (v *visit) asksToWait(err error) *protocol.Refusal {
	r := forAWhile(err)
	if r != nil {
		v.p.mu.Lock()
		defer v.p.mu.Unlock()
		v.report.Wait = max(v.report.Wait, r.Wait)
	}
	return r
}

// postponed is the error of a visit that leaves something for later.
func (v *visit) postponed() error {
	for _, w := range v.waits {
		return &protocol.Refusal{Code: w.code, Wait: max(time.Until(w.until), time.Second)}
	}
	return nil
}

// subscribed is a queue that a visit reads.
type subscribed struct {
	who      id
	receiver protocol.ID
	key      [32]byte
	waiting  int  // at the relay, as far as is known; not yet taken
	held     int  // taken, but left at the relay
	stopped  bool // its session has, or the contact is gone
}

// readable returns the queues at this relay that the profile reads and this visit
// has not asked for, or may ask for again.
func (v *visit) readable() ([]*subscribed, error) {
	var out []*subscribed
	err := v.p.view(func(w *work) error {
		contacts, err := w.all()
		read := map[protocol.ID]bool{}
		for _, c := range contacts {
			for _, q := range c.readable(w.now) {
				read[q.Receiver] = true
				if q.Relay.Fingerprint == v.relay.Fingerprint && !v.asked[q.Receiver] && !w.now.Before(v.waits[q.Receiver].until) {
					out = append(out, &subscribed{who: c.ID, receiver: q.Receiver, key: q.Key})
				}
			}
		}
		for receiver := range v.waits {
			d, derr := getRecord[del](w, tableDel, receiver[:])
			if err = errors.Join(err, derr); d == nil && !read[receiver] { // any more
				delete(v.waits, receiver)
			}
		}
		return err
	})
	return out, err
}

// readable are a contact's queues that are read. A stopped session's is left alone,
// so that the newer profile can still read it.
func (c *contact) readable(now time.Time) []inQueue {
	var out []inQueue
	for _, s := range c.sessions() {
		if !s.Stopped {
			out = append(out, s.In)
		}
	}
	for _, i := range c.Invites {
		if i.Offered && now.Before(i.Expires.Add(hostKeysAfter)) {
			out = append(out, i.In)
		}
	}
	return out
}

// hasStopped tells whether the session that is read from this queue has stopped.
func (c *contact) hasStopped(receiver protocol.ID) bool {
	return slices.ContainsFunc(c.sessions(), func(s *session) bool { return s.Stopped && s.In.Receiver == receiver })
}

// subscribe asks for queues, and notes what the relay says of each.
func (v *visit) subscribe(ctx context.Context, queues []*subscribed) error {
	for part := range slices.Chunk(queues, protocol.MaxSub) {
		a, err := v.conn.do(ctx, func(n protocol.Corr, p prover) (protocol.Command, error) {
			cmd := &protocol.Sub{Corr: n}
			for _, q := range part {
				cmd.Queues = append(cmd.Queues, q.receiver)
			}
			for _, q := range part {
				proof, err := p.prove(privateKey(q.key), cmd)
				if err != nil {
					return nil, err
				}
				cmd.Proofs = append(cmd.Proofs, proof)
			}
			return cmd, nil
		})
		if r := v.asksToWait(err); r != nil {
			for _, q := range part {
				v.postpone(q.receiver, r.Code, r.Wait)
			}
			continue
		}
		if err != nil {
			return err
		}
		s, ok := a.(*protocol.Subbed)
		if !ok || len(s.Queues) != len(part) {
			return errAnswer(a)
		}
		err = v.p.update(v.report, func(w *work) error {
			for i, q := range part {
				if code := s.Queues[i].Code; code.Temporary() {
					v.postpone(q.receiver, code, subAgain)
					continue
				}
				v.asked[q.receiver] = true
				delete(v.waits, q.receiver)
				if err := v.subscribed(w, q, s.Queues[i]); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (v *visit) subscribed(w *work, q *subscribed, s protocol.Subscription) error {
	c, err := w.contact(q.who)
	if err != nil || c == nil {
		return err
	}
	switch s.Code {
	case protocol.CodeOK:
		q.waiting = int(s.Waiting) - q.held
		v.handles[s.Handle] = q
		w.inviteWord(c, q.receiver, s.Invite, s.Fetches, s.Tries)
	case protocol.CodeUnknownQueue:
		v.gone[q.receiver] = true
		if !slices.ContainsFunc(c.Old, func(s *session) bool { return s.In.Receiver == q.receiver }) {
			w.event(c, EventGone)
		}
	}
	return nil
}

// inviteWord notes the relay's word on an invite, and tells once that somebody
// else tried it.
func (w *work) inviteWord(c *contact, receiver protocol.ID, st protocol.InviteState, fetches, tries uint8) {
	told := func(q *inQueue) {
		if q.Receiver == receiver && tries > q.Tries {
			q.Tries = tries
			w.event(c, EventTried)
		}
	}
	for _, i := range c.Invites {
		if i.In.Receiver == receiver {
			if word := inviteStates[st]; word != "" {
				i.State = word
			}
			i.Fetches, i.Tries = int(fetches), int(tries)
		}
		told(&i.In)
	}
	if c.Session != nil {
		told(&c.Session.In)
	}
}

// waiting is how much is still to come. What waits for a stopped session is not for
// this profile.
func (v *visit) waiting() (n int) {
	for _, q := range v.handles {
		if !q.stopped {
			n += max(0, q.waiting)
		}
	}
	return n
}

// subscribeNew asks for the queues that this visit has not asked for: all of them at
// first, then those of invites that another process on the profile has made, and those
// that were refused for a while.
func (v *visit) subscribeNew(ctx context.Context) error {
	queues, err := v.readable()
	if err != nil {
		return err
	}
	return v.subscribe(ctx, queues)
}

// collect takes what waits in every readable queue. With follow it goes on until the
// context ends, and calls follow whenever something came or a moment has passed.
func (v *visit) collect(ctx context.Context, follow func() error) error {
	if err := v.subscribeNew(ctx); err != nil {
		return err
	}
	last, asked := time.Now(), time.Now()
	pause := quietFor // what this line takes for a MSG, twice over
	for follow != nil || v.waiting() > 0 {
		t := time.NewTimer(quietFor)
		select {
		case m, ok := <-v.conn.msgs:
			t.Stop()
			if !ok {
				return v.conn.lost()
			}
			pause = max(pause, 2*time.Since(last))
			if err := v.takeBatch(m); err != nil {
				return err
			}
			last = time.Now()
		case m := <-v.conn.tried:
			t.Stop()
			if q := v.handles[m.Handle]; q != nil {
				err := v.p.update(v.report, func(w *work) error {
					c, err := w.contact(q.who)
					if c != nil {
						w.inviteWord(c, q.receiver, m.Invite, m.Fetches, m.Tries)
					}
					return err
				})
				if err != nil {
					return err
				}
			}
		case <-ctx.Done():
			t.Stop()
			if follow != nil {
				return nil
			}
			return offline(ctx.Err())
		case <-t.C:
		}
		if follow != nil {
			if err := follow(); err != nil {
				return err
			}
			if err := v.subscribeNew(ctx); err != nil {
				return err
			}
			continue
		}
		if time.Since(last) >= max(stallFor, 2*pause) {
			return errStalled
		}
		if time.Since(last) >= pause && time.Since(asked) >= pause {
			// Another process on this profile may have taken the rest.
			queues := make([]*subscribed, 0, len(v.handles))
			for _, handle := range slices.Sorted(maps.Keys(v.handles)) {
				if q := v.handles[handle]; !q.stopped {
					queues = append(queues, q)
				}
			}
			if err := v.subscribe(ctx, queues); err != nil {
				return err
			}
			asked = time.Now()
		}
	}
	return nil
}

var (
	errStalled = offline(errors.New("the relay has more and doesn't send it"))
	errHandle  = offline(errors.New("the relay sends for a queue that was not asked for"))
)

// takeBatch commits a MSG and those that are already here, of as many queues as a commit
// may step ratchets, then lets the relay forget them.
func (v *visit) takeBatch(m *protocol.Msg) error {
	msgs, queues := []*protocol.Msg{m}, map[uint16]bool{m.Handle: true}
	for len(msgs) < batch && len(queues) < vault.Steps {
		select {
		case m, ok := <-v.conn.msgs:
			if ok {
				msgs, queues[m.Handle] = append(msgs, m), true
				continue
			}
		default:
		}
		break
	}
	acks := map[uint16][]uint64{}
	err := v.p.update(v.report, func(w *work) error {
		for _, m := range msgs {
			q := v.handles[m.Handle]
			if q == nil {
				return errHandle
			}
			ack, err := w.take(q.who, q.receiver, m.Envelope)
			if err != nil {
				return err
			}
			q.waiting--
			if ack {
				acks[m.Handle] = append(acks[m.Handle], m.Sequence)
			} else {
				q.held++
				c, err := w.contact(q.who)
				if err != nil {
					return err
				}
				q.stopped = q.stopped || c == nil || c.hasStopped(q.receiver)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, handle := range slices.Sorted(maps.Keys(acks)) {
		if err := v.conn.ack(handle, acks[handle]); err != nil {
			return err
		}
	}
	return nil
}
