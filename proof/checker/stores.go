package main

import (
	"fmt"

	"kin/proof/history"
)

// stores judges what the events say of stores.
type stores struct {
	r       *report
	queues  map[string]*queue
	readers map[string]*reader // by queue and actor
	room    int                // 0: nothing was said of it
	urgent  int                // of the room, for urgent ones alone
	crashes int
	sweeps  []int64 // until
}

type queue struct {
	name     string
	messages map[string]*stored
	order    []*stored
	touched  bool // something was put or erased since the last crash
}

// stored is a message that was handed in.
type stored struct {
	id, hash string
	until    int64 // of the put that reaches farthest

	owed     bool  // an OK was given, and it was not collected
	promised int64 // until when, by the OK that reaches farthest
	may      bool  // it may be there
	mayPut   bool  // may, before the last put
	acked    bool  // it was erased since the last crash, perhaps not for good
	taken    bool  // it was taken back since the last crash: what is put of it is erased
	expired  bool  // it is gone for good because its time was over
	collects int   // acks and cancels
	putAfter int   // of these, before the last put

	first   int // event of its first put
	ok      int // event of its first OK since it was last collected; 0: none
	crashes int // before it was last known to be there
	sweeps  int
}

// reader is an actor at a queue.
type reader struct {
	listing   bool
	following bool
	listed    map[*stored]bool // in this listing
	given     map[*stored]bool // since it was collected last, or the store's start
	lastSeq   uint64
	newest    int // the latest first put of what was listed
	newestID  string
}

func newStores(r *report) *stores {
	return &stores{r: r, queues: map[string]*queue{}, readers: map[string]*reader{}}
}

func (s *stores) queue(name string) *queue {
	q := s.queues[name]
	if q == nil {
		q = &queue{name: name, messages: map[string]*stored{}}
		s.queues[name] = q
	}
	return q
}

func (s *stores) reader(queue, actor string) *reader {
	key := queue + "\x00" + actor
	r := s.readers[key]
	if r == nil {
		r = &reader{given: map[*stored]bool{}}
		s.readers[key] = r
	}
	return r
}

// known is the message that an event names.
func (s *stores) known(i int, e history.Event) *stored {
	m := s.queue(e.Queue).messages[e.ID]
	if m == nil {
		s.r.add(malformed, "event %d: %s of %q, which was never put into %q", i, e.Kind, e.ID, e.Queue)
	}
	return m
}

func (s *stores) event(i int, e history.Event) {
	i++ // 0 is none
	switch e.Kind {
	case history.Quota:
		s.room, s.urgent = e.N, int(e.Seq)
	case history.Put:
		s.r.counts["puts"]++
		s.put(i, e)
	case history.OK:
		s.r.counts["acknowledged"]++
		if m := s.known(i, e); m != nil {
			s.okay(i, e, m)
		}
	case history.Refused:
		if m := s.known(i, e); m != nil {
			s.refused(e, m)
		}
	case history.List:
		r := s.reader(e.Queue, e.Actor)
		r.listing, r.listed, r.lastSeq, r.newest = true, map[*stored]bool{}, 0, 0
	case history.Deliver:
		s.r.counts["delivered by the store"]++
		s.deliver(e)
	case history.Listed:
		s.r.counts["listings"]++
		s.listed(e)
	case history.Follow:
		s.reader(e.Queue, e.Actor).following = true
	case history.Idle:
		s.idle(e)
	case history.Ack:
		if m := s.known(i, e); m != nil {
			s.erase(e, m)
		}
	case history.Cancel:
		m := s.message(i, e)
		s.erase(e, m)
		m.taken = true
	case history.Gone:
		if m := s.known(i, e); m != nil {
			m.may = false
		}
	case history.Flushed:
		for _, q := range s.queues {
			for _, m := range q.order {
				if m.acked && (e.Queue == "" || e.Queue == q.name) {
					m.may = false
				}
			}
		}
	case history.Swept:
		s.swept(e)
	case history.Trace:
		if m := s.known(i, e); m != nil && !m.may {
			s.r.add(remains, "%q of queue %q is on the raw disk", e.ID, e.Queue)
		}
	case history.Crash:
		s.crashes++
		s.readers = map[string]*reader{}
		for _, q := range s.queues {
			q.touched = false
			for _, m := range q.order {
				m.acked, m.taken = false, false // whether it is erased, the next life shows
			}
		}
	}
}

// message is the one that an event names; it may be new.
func (s *stores) message(i int, e history.Event) *stored {
	q := s.queue(e.Queue)
	m := q.messages[e.ID]
	if m == nil {
		m = &stored{id: e.ID, hash: e.Hash, first: i}
		q.messages[e.ID] = m
		q.order = append(q.order, m)
	}
	return m
}

func (s *stores) erase(e history.Event, m *stored) {
	m.owed, m.acked, m.ok = false, true, 0
	s.queue(e.Queue).touched = true
	m.collects++
	for _, r := range s.readers {
		delete(r.given, m)
	}
}

func (s *stores) put(i int, e history.Event) {
	s.queue(e.Queue).touched = true
	m := s.message(i, e)
	if m.hash != e.Hash {
		s.r.add(reencrypted, "%q of queue %q was put as %s and again as %s", e.ID, e.Queue, m.hash, e.Hash)
	}
	m.until, m.mayPut, m.putAfter = max(m.until, e.Until), m.may, m.collects
	if m.promised != 0 && e.At >= m.promised {
		m.ok = 0 // it may have expired, and is put anew
	}
	if m.taken {
		return
	}
	if e.Until == 0 || e.At < e.Until {
		m.may, m.acked, m.expired = true, false, false
	}
}

func (s *stores) okay(i int, e history.Event, m *stored) {
	if m.taken || m.putAfter != m.collects {
		return // collected since it was put: the OK may be older
	}
	until := e.Until
	if until == 0 {
		until = m.until
	}
	if m.owed {
		until = max(until, m.promised)
	}
	m.owed, m.promised, m.crashes, m.sweeps = true, until, s.crashes, len(s.sweeps)
	if m.ok == 0 {
		m.ok = i
	}
	if s.room == 0 {
		return
	}
	held := 0
	for _, o := range s.queue(e.Queue).order {
		if o.owed && (o.promised == 0 || e.At < o.promised) {
			held++
		}
	}
	if held > s.room {
		s.r.add(quota, "queue %q holds %d where %d fit", e.Queue, held, s.room)
	}
}

// refused: a full queue must hold, or be about to hold, what it may.
func (s *stores) refused(e history.Event, m *stored) {
	if e.State != "full" {
		return
	}
	m.may = m.mayPut
	room := s.room
	if !e.Urgent {
		room -= s.urgent
	}
	held := 0
	for _, o := range s.queue(e.Queue).order {
		if o.may {
			held++
		}
	}
	if held < room {
		s.r.add(quota, "queue %q refused %q as full: it holds at most %d where %d fit", e.Queue, e.ID, held, room)
	}
}

func (s *stores) deliver(e history.Event) {
	q := s.queue(e.Queue)
	var m *stored
	for _, o := range q.order {
		if o.hash == e.Hash {
			m = o
		}
	}
	if m == nil {
		s.r.add(forged, "queue %q delivers %s, which nobody put into it", e.Queue, e.Hash)
		return
	}
	if !m.may {
		kind := back
		if m.expired {
			kind = late
		}
		s.r.add(kind, "%q of queue %q is delivered after it was gone for good", m.id, e.Queue)
	}
	r := s.reader(e.Queue, e.Actor)
	r.given[m] = true
	if !r.listing {
		return
	}
	if r.listed[m] {
		s.r.add(duplicated, "%q of queue %q is there twice", m.id, e.Queue)
	}
	if e.Seq <= r.lastSeq && r.lastSeq > 0 {
		s.r.add(reordered, "%q of queue %q has sequence %d behind %d", m.id, e.Queue, e.Seq, r.lastSeq)
	}
	if m.ok > 0 && m.ok < r.newest {
		s.r.add(reordered, "%q of queue %q comes behind %q, which was put after its OK", m.id, e.Queue, r.newestID)
	}
	r.listed[m], r.lastSeq = true, e.Seq
	if m.first > r.newest {
		r.newest, r.newestID = m.first, m.id
	}
}

// listed compares what a reader was given with what the queue owes. What is not there
// behind a crash, before anything else happened, is gone for good.
func (s *stores) listed(e history.Event) {
	r := s.reader(e.Queue, e.Actor)
	if !r.listing {
		s.r.add(malformed, "queue %q was listed without a beginning", e.Queue)
		return
	}
	r.listing = false
	q := s.queue(e.Queue)
	for _, m := range q.order {
		switch {
		case r.listed[m]:
			m.acked = false // once more, and it may be collected once more
			m.crashes, m.sweeps = s.crashes, len(s.sweeps)
			continue
		case m.owed && (m.promised == 0 || e.At < m.promised):
			kind, why := s.whyLost(m)
			s.r.add(kind, "%q of queue %q had an OK and is not there%s", m.id, e.Queue, why)
		}
		m.owed, m.may = false, m.may && q.touched
	}
}

// whyLost tells an expiry from a loss: if there was a sweep, and no crash, since it was
// last known to be there, nothing else can have taken it.
func (s *stores) whyLost(m *stored) (kind, why string) {
	if n := len(s.sweeps); n > m.sweeps && m.crashes == s.crashes {
		return early, fmt.Sprintf(": a sweep took it %d s early", (m.promised-s.sweeps[n-1])/1e9)
	}
	return lost, ""
}

func (s *stores) swept(e history.Event) {
	s.sweeps = append(s.sweeps, e.Until)
	for _, q := range s.queues {
		for _, m := range q.order {
			if m.promised != 0 && m.promised <= e.Until {
				m.owed = false
			}
			if m.until != 0 && m.until <= e.Until {
				m.expired = m.expired || m.may
				m.may = false
			}
		}
	}
}

// idle: a reader that follows was given all that was acknowledged.
func (s *stores) idle(e history.Event) {
	for name, q := range s.queues {
		for _, m := range q.order {
			if !m.owed || m.promised != 0 && e.At >= m.promised {
				continue
			}
			for key, r := range s.readers {
				if r.following && key[:len(name)+1] == name+"\x00" && !r.given[m] {
					s.r.add(asleep, "%q waits in queue %q, and its reader was not told", m.id, name)
					r.given[m] = true // once is enough
				}
			}
		}
	}
}
