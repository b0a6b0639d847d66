package client

import (
	"bytes"
	"crypto/rand"
	"errors"
	"slices"
	"time"

	"github.com/gorilla/websocket"

	"kin/protocol"
)

var errCut = errors.New("the relay cuts the connection")

// command carries a command out, or lies about it.
func (s *liarSession) command(cmd protocol.Command) error {
	s.mu.Lock()
	answer := s.carryOut(cmd)
	cut := s.answer(cmd, answer)
	switch cmd := cmd.(type) {
	case *protocol.Sub:
		for handle := range s.subs {
			s.pump(handle)
		}
	case *protocol.Ack:
		s.pump(cmd.Handle)
	}
	s.mu.Unlock()
	s.flush()
	if cut {
		return errCut
	}
	return nil
}

// answer writes the answer, or something else. cut: the connection ends behind it.
func (s *liarSession) answer(cmd protocol.Command, a protocol.Answer) (cut bool) {
	if a == nil {
		return false
	}
	n := number(cmd)
	if !s.lies("lies with an answer") {
		s.write(a)
		return false
	}
	switch s.rng.IntN(12) {
	case 0:
		s.note("answer: none")
	case 1:
		s.note("answer: cut before it")
		return true
	case 2:
		s.note("answer: cut behind it")
		s.write(a)
		return true
	case 3:
		s.note("answer: twice")
		s.write(a)
		s.write(a)
	case 4:
		s.note("answer: to what was not asked")
		s.write(&protocol.OK{Corr: n + 7})
		s.write(a)
	case 5:
		s.note("answer: of another type")
		s.write(&protocol.Issued{Corr: n, Remaining: 1})
	case 6:
		s.note("answer: garbage")
		s.write(a)
		s.out[len(s.out)-1] ^= 1
	case 7:
		s.note("answer: malformed")
		s.out = s.link.Seal(s.out, protocol.TypeOK, []byte{1, 2, 3})
	case 8:
		s.note("answer: of a type that is unknown")
		s.out = s.link.Seal(s.out, protocol.Type(0x9f), []byte{1})
		s.write(a)
	case 9:
		s.note("answer: not binary")
		s.frame <- func() error { return s.ws.WriteMessage(websocket.TextMessage, []byte("{}")) }
	default:
		e := &protocol.Error{Corr: n, Code: protocol.Code(1 + s.rng.IntN(20)), Wait: uint32(s.rng.IntN(2)) * 30}
		if s.rng.IntN(3) == 0 {
			e.Wait = 1<<32 - 1
		}
		s.note("answer: refused though it was done")
		s.write(e)
	}
	return false
}

func number(cmd protocol.Command) uint64 {
	switch c := cmd.(type) {
	case *protocol.Issue:
		return c.Corr.Number()
	case *protocol.New:
		return c.Corr.Number()
	case *protocol.Offer:
		return c.Corr.Number()
	case *protocol.Del:
		return c.Corr.Number()
	case *protocol.Fetch:
		return c.Corr.Number()
	case *protocol.Put:
		return c.Corr.Number()
	case *protocol.First:
		return c.Corr.Number()
	case *protocol.Cancel:
		return c.Corr.Number()
	case *protocol.Sub:
		return c.Corr.Number()
	}
	return 0
}

// carryOut does what an honest relay does, or not.
func (s *liarSession) carryOut(cmd protocol.Command) protocol.Answer {
	if s.script != nil {
		if a := s.script(s, cmd); a != nil {
			return a
		}
	}
	n := number(cmd)
	ok := &protocol.OK{Corr: n}
	refuse := func(c protocol.Code) protocol.Answer { return &protocol.Error{Corr: n, Code: c} }
	bySender := func(id protocol.ID) *liarQueue { return s.find(func(q *liarQueue) bool { return q.sender == id }) }
	byReceiver := func(id protocol.ID) *liarQueue { return s.find(func(q *liarQueue) bool { return q.receiver == id }) }
	switch c := cmd.(type) {
	case *protocol.Issue:
		return &protocol.Issued{Corr: n, Remaining: 50}
	case *protocol.New:
		q := s.find(func(q *liarQueue) bool { return q.ticket == c.Ticket })
		if q == nil {
			q = &liarQueue{ticket: c.Ticket, key: c.Key}
			rand.Read(q.receiver[:])
			rand.Read(q.sender[:])
			s.queues = append(s.queues, q)
		}
		if q.key != c.Key {
			return refuse(protocol.CodeTicket)
		}
		return &protocol.IDs{Corr: n, Receiver: q.receiver, Sender: q.sender}
	case *protocol.Offer:
		q := byReceiver(c.Receiver)
		if q == nil {
			return refuse(protocol.CodeUnknownQueue)
		}
		if q.claim != nil && *q.claim != c.ClaimHash {
			return refuse(protocol.CodeConflict)
		}
		if q.claim == nil {
			q.claim, q.location, q.blob = &c.ClaimHash, c.Location, bytes.Clone(c.Blob)
		}
		return ok
	case *protocol.Fetch:
		return s.fetch(c)
	case *protocol.First:
		q := bySender(c.Sender)
		switch {
		case q == nil || q.claim == nil || *q.claim != protocol.ClaimHash(c.Claim):
			return refuse(protocol.CodeUnknown)
		case q.senderKey != nil && *q.senderKey != c.Key:
			return refuse(protocol.CodeUsed)
		case q.blob == nil && s.lies("FIRST: OK, and forgets the sender"):
			s.know(c.Message, c.Envelope)
			return ok
		}
		q.senderKey, q.used = &c.Key, true
		s.store(q, c.Message, c.Class, c.Flags&protocol.FlagUrgent, c.Envelope, q.blob != nil)
		return ok
	case *protocol.Put:
		q := bySender(c.Sender)
		if q == nil || q.senderKey == nil {
			return refuse(protocol.CodeUnknownQueue)
		}
		s.store(q, c.Message, c.Class, c.Flags&protocol.FlagUrgent, c.Envelope, false)
		return ok
	case *protocol.Cancel:
		if q := bySender(c.Sender); q != nil && !s.lies("CANCEL: OK, and keeps it") {
			q.mail = slices.DeleteFunc(q.mail, func(m liarMail) bool { return m.id == c.Message })
		}
		return ok
	case *protocol.Del:
		if q := byReceiver(c.Receiver); q != nil && !s.lies("DEL: OK, and keeps it") {
			q.gone = true
		}
		return ok
	case *protocol.Sub:
		return s.subscribe(c, byReceiver)
	case *protocol.Ack:
		sub := s.subs[c.Handle]
		if sub == nil {
			s.wrong("an ACK for handle %d, which was not given", c.Handle)
			return nil
		}
		for _, seq := range c.Sequences {
			if !sub.given[seq] {
				s.wrong("an ACK for %d, which was not given", seq)
			}
		}
		if s.lies("ACK: forgets nothing") {
			return nil
		}
		sub.queue.mail = slices.DeleteFunc(sub.queue.mail, func(m liarMail) bool { return slices.Contains(c.Sequences, m.seq) })
	}
	return nil
}

// know compares what is put again with what was put before.
func (s *liarSession) know(id protocol.MessageID, envelope []byte) {
	if before := s.given[id]; before != nil && !bytes.Equal(before, envelope) {
		s.wrong("a message was put again with other bytes")
	}
	s.given[id] = bytes.Clone(envelope)
}

func (s *liarSession) store(q *liarQueue, id protocol.MessageID, class, flags uint8, envelope []byte, flight bool) {
	s.know(id, envelope)
	q.all = append(q.all, bytes.Clone(envelope))
	if !flight && s.lies("PUT: OK, and stores nothing") {
		return
	}
	if slices.ContainsFunc(q.mail, func(m liarMail) bool { return m.id == id }) {
		return
	}
	q.next++
	life := time.Duration(protocol.TTLClasses[class]) * time.Hour
	q.mail = append(q.mail, liarMail{q.next, id, bytes.Clone(envelope), flags, endOfEpoch(time.Now().Add(life), time.Hour)})
}

func (s *liarSession) fetch(c *protocol.Fetch) protocol.Answer {
	n := c.Corr.Number()
	q := s.find(func(q *liarQueue) bool { return q.blob != nil && q.location == c.Location })
	if q == nil || q.used {
		return &protocol.Error{Corr: n, Code: protocol.CodeUnknown}
	}
	b := &protocol.Blob{Corr: n, Expiry: uint64(time.Now().Add(48 * time.Hour).Unix()), Blob: bytes.Clone(q.blob)}
	if s.lies("lies with a bundle") {
		switch other := s.find(func(o *liarQueue) bool { return o != q && o.blob != nil }); {
		case other != nil && s.rng.IntN(2) == 0:
			s.note("bundle: another invite's")
			b.Blob = bytes.Clone(other.blob)
		default:
			s.note("bundle: a byte altered")
			b.Blob[s.rng.IntN(len(b.Blob))] ^= 1
		}
	}
	return b
}

func (s *liarSession) subscribe(c *protocol.Sub, find func(protocol.ID) *liarQueue) protocol.Answer {
	a := &protocol.Subbed{Corr: c.Corr.Number()}
	for _, id := range c.Queues {
		q := find(id)
		if q == nil {
			a.Queues = append(a.Queues, protocol.Subscription{Code: protocol.CodeUnknownQueue})
			continue
		}
		if s.rate == 0 {
			q.mail = slices.DeleteFunc(q.mail, func(m liarMail) bool { return !time.Now().Before(m.expires) })
		}
		var handle uint16
		for h, sub := range s.subs {
			if sub.queue == q {
				handle = h
			}
		}
		if handle == 0 {
			handle = uint16(len(s.subs) + 1)
			s.subs[handle] = &liarSub{queue: q, given: map[uint64]bool{}}
		}
		sub := protocol.Subscription{Handle: handle, Waiting: uint32(len(q.mail))}
		if q.blob != nil {
			sub.Invite = protocol.InviteOpen
			if q.used {
				sub.Invite = protocol.InviteUsed
			}
		}
		if s.lies("lies about a queue") {
			switch s.rng.IntN(5) {
			case 0:
				s.note("SUB: nothing waits")
				sub.Waiting = 0
			case 1:
				s.note("SUB: four thousand million wait")
				sub.Waiting = 1<<32 - 1
			case 2:
				s.note("SUB: no such queue")
				sub = protocol.Subscription{Code: protocol.CodeUnknownQueue}
			case 3:
				s.note("SUB: false words on the invite")
				sub.Invite, sub.Fetches, sub.Tries = protocol.InviteState(s.rng.IntN(5)), uint8(s.rng.IntN(256)), uint8(s.rng.IntN(256))
			default:
				s.note("SUB: another handle")
				sub.Handle = uint16(s.rng.IntN(4))
			}
		}
		a.Queues = append(a.Queues, sub)
	}
	return a
}

// pump gives what waits in a subscribed queue, as far as the window allows.
func (s *liarSession) pump(handle uint16) {
	sub := s.subs[handle]
	if sub == nil {
		return
	}
	var msgs []*protocol.Msg
	for _, m := range sub.queue.mail {
		if len(sub.given) < 200 && !sub.given[m.seq] {
			sub.given[m.seq] = true
			if s.lies("withholds") {
				continue
			}
			msgs = append(msgs, &protocol.Msg{Handle: handle, Sequence: m.seq, Flags: m.flags, Envelope: m.envelope})
		}
	}
	if len(msgs) > 1 && s.lies("reorders") {
		s.rng.Shuffle(len(msgs), func(i, j int) { msgs[i], msgs[j] = msgs[j], msgs[i] })
	}
	for _, m := range msgs {
		s.msg(sub, m)
	}
	if s.lies("replays") && len(sub.queue.all) > 0 {
		s.msg(sub, &protocol.Msg{Handle: handle, Sequence: s.false(sub), Envelope: sub.queue.all[s.rng.IntN(len(sub.queue.all))]})
	}
	if s.rng.IntN(400) < s.rate {
		s.note("MSG: for a handle that was not given")
		s.write(&protocol.Msg{Handle: 999, Sequence: 1, Envelope: make([]byte, protocol.EnvelopeSize)})
	}
	if s.rng.IntN(2000) < s.rate {
		s.note("MSG: a flood")
		for range 900 {
			s.write(&protocol.Msg{Handle: handle, Sequence: s.false(sub), Envelope: make([]byte, protocol.EnvelopeSize)})
		}
	}
	if s.lies("TRIED: falsely") {
		s.write(&protocol.Tried{Handle: handle, Invite: protocol.InviteState(s.rng.IntN(5)), Tries: uint8(s.rng.IntN(256))})
	}
}

// false is a sequence number that no envelope has.
func (s *liarSession) false(sub *liarSub) uint64 {
	n := 1<<40 + s.rng.Uint64N(1<<20)
	sub.given[n] = true
	return n
}

// msg gives an envelope, and lies about it.
func (s *liarSession) msg(sub *liarSub, m *protocol.Msg) {
	if !s.lies("lies with an envelope") {
		s.write(m)
		return
	}
	switch s.rng.IntN(6) {
	case 0:
		s.note("MSG: twice")
		s.write(m)
		s.write(m)
	case 1, 2:
		s.note("MSG: tampered")
		e := bytes.Clone(m.Envelope)
		e[s.rng.IntN(len(e))] ^= 1 << s.rng.IntN(8)
		m.Envelope = e
		s.write(m)
	case 3:
		other := s.queues[s.rng.IntN(len(s.queues))]
		if len(other.all) == 0 || other == sub.queue {
			s.write(m)
			return
		}
		s.note("MSG: another queue's")
		m.Envelope = other.all[s.rng.IntN(len(other.all))]
		s.write(m)
	case 4:
		s.note("MSG: spliced")
		e := bytes.Clone(m.Envelope)
		other := sub.queue.all[s.rng.IntN(len(sub.queue.all))]
		copy(e[1+s.rng.IntN(len(e)-1):], other[len(other)/2:])
		m.Envelope = e
		s.write(m)
	default:
		s.note("MSG: a false number")
		m.Sequence = s.false(sub)
		s.write(m)
	}
}
