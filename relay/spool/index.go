package spool

import (
	"slices"
	"sort"

	"kin/protocol"
)

// place is where a record's salt lies.
type place struct {
	segment uint32
	salt    uint32 // offset in the segment
}

// entry is what RAM holds of a record: 48 bytes, no pointers.
type entry struct {
	id MessageID
	place
	seq   uint64
	body  uint32 // offset in the segment
	batch uint32 // number of the batch, less the segment's first
	epoch uint32
	index uint16 // in its batch
	class uint8
	flags uint8
}

const flagUrgent = 1

func (e *entry) urgent() bool { return e.flags&flagUrgent != 0 }

// queue lists a queue's records by slab index, ascending by sequence.
type queue struct{ items []uint32 }

// cacheSize is how many of the newest bodies stay in RAM, so that what is
// collected at once is not read back.
const cacheSize = 1024

// kept is a body in RAM. It is overwritten when its record goes, or another takes
// its place.
type kept struct {
	seq  uint64
	body *[protocol.EnvelopeSize]byte // nil before its first use
}

// index finds records by queue. Entries lie in a slab without pointers.
type index struct {
	queues map[QueueID]*queue
	slab   slab
	count  int

	cache map[uint64]int // by sequence: where in ring
	ring  [cacheSize]kept
	turn  int
}

// at returns the record of a queue with this sequence; nil if there is none.
func (x *index) at(q QueueID, seq uint64) *entry {
	if e := x.next(q, seq-1); e != nil && e.seq == seq {
		return e
	}
	return nil
}

// next returns the queue's first record above a sequence.
func (x *index) next(q QueueID, after uint64) *entry {
	l := x.queues[q]
	if l == nil {
		return nil
	}
	i := sort.Search(len(l.items), func(i int) bool { return x.slab.at(l.items[i]).seq > after })
	if i == len(l.items) {
		return nil
	}
	return x.slab.at(l.items[i])
}

// find returns the queue's record with this message id. A queue is short.
func (x *index) find(q QueueID, id MessageID) *entry {
	if l := x.queues[q]; l != nil {
		for _, i := range l.items {
			if x.slab.at(i).id == id {
				return x.slab.at(i)
			}
		}
	}
	return nil
}

func (x *index) waiting(q QueueID) int {
	if l := x.queues[q]; l != nil {
		return len(l.items)
	}
	return 0
}

func (x *index) add(q QueueID, e entry) {
	l, at := x.place(q, e)
	i := sort.Search(len(l.items), func(i int) bool { return x.slab.at(l.items[i]).seq > e.seq })
	l.items = slices.Insert(l.items, i, at)
}

// load is add without the order, for a start that puts all in order at the end.
func (x *index) load(q QueueID, e entry) {
	l, at := x.place(q, e)
	l.items = append(l.items, at)
}

// place puts an entry into the slab, and finds or makes its queue.
func (x *index) place(q QueueID, e entry) (l *queue, at uint32) {
	if l = x.queues[q]; l == nil {
		l = &queue{}
		x.queues[q] = l
	}
	x.count++
	return l, x.slab.add(e)
}

// drop takes an entry out of the slab.
func (x *index) drop(at uint32) {
	x.slab.drop(at)
	x.count--
}

// remove takes a record out; e is not valid afterwards.
func (x *index) remove(q QueueID, e *entry) {
	l := x.queues[q]
	seq := e.seq
	i := sort.Search(len(l.items), func(i int) bool { return x.slab.at(l.items[i]).seq >= seq })
	at := l.items[i]
	l.items = slices.Delete(l.items, i, i+1)
	if len(l.items) == 0 {
		delete(x.queues, q)
	}
	x.drop(at)
	x.uncache(seq)
}

// keep puts a copy of a fresh body into RAM in place of the oldest there.
func (x *index) keep(seq uint64, body []byte) {
	if len(body) != protocol.EnvelopeSize {
		return
	}
	if x.cache == nil {
		x.cache = map[uint64]int{}
	}
	c := &x.ring[x.turn]
	x.uncache(c.seq)
	if c.body == nil {
		c.body = new([protocol.EnvelopeSize]byte)
	}
	c.seq = seq
	copy(c.body[:], body)
	x.cache[seq] = x.turn
	x.turn = (x.turn + 1) % cacheSize
}

// cached copies a body that is in RAM; nil if it is not.
func (x *index) cached(seq uint64) []byte {
	at, ok := x.cache[seq]
	if !ok {
		return nil
	}
	b := envelopes.Get().(*[sealedEnvelope]byte)[:protocol.EnvelopeSize]
	copy(b, x.ring[at].body[:])
	return b
}

func (x *index) uncache(seq uint64) {
	if at, ok := x.cache[seq]; ok {
		clear(x.ring[at].body[:])
		delete(x.cache, seq)
	}
}
