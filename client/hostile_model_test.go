package client

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
)

// The model: what two people wrote, and what each must see of it, whatever a relay
// does. It is written from docs/protocol.md (Ratchet, Messages, Sending and
// receiving, Rollback) and knows no key and no byte of an envelope.

// letter is an envelope as its writer knows it.
type letter struct {
	envelope []byte
	op       op
	stored   []byte // the outbox's record, since the last change that the model knows of
	kind     kind
	text     int // index of the text that it belongs to; -1: none
	part     int
	seq      uint64
	echo     uint64
	chain    int
	n, pn    int
	quiet    []uint64
	taken    []uint64
	receipts []uint64

	// What the relay said of it, and the reader.
	until, retry time.Time
	onRelay      bool
	done         bool // nothing is in the outbox any more
	cancelled    bool
	delivered    bool
}

// written is a text of one person's.
type written struct {
	id        uuid.UUID
	body      string
	letters   []uint64 // seqs
	until     time.Time
	cancelled bool
	filler    bool // sealed only: no row and no op
}

// shown is a row that a reader must have.
type shown struct {
	text  int // of the peer's; -1: a note
	note  string
	count int
}

// reader is one person's half of a contact: what they wrote and what they may read.
type reader struct {
	name  string
	guest bool
	who   id
	queue inQueue
	label string

	touched bool // something was done with them in this schedule

	// As a writer.
	letters []letter
	texts   []written
	chain   int
	n, pn   int
	quiet   []uint64
	taken   []listed

	// As a reader.
	joined      bool
	dead        bool // the invite's keys died before a flight came
	held        []uint64
	keys        keyring
	highest     uint64
	seen        map[uint64]bool
	missing     map[uint64]int // to the row that shows it in its gap; -1: none yet
	pieces      map[int]int    // of the peer's text, how many are here
	rows        []shown
	due         []uint64
	quarantined int
	lost        int
}

func (r *reader) clone() *reader {
	c := *r
	c.letters, c.texts = slices.Clone(r.letters), slices.Clone(r.texts)
	c.quiet, c.taken, c.held = slices.Clone(r.quiet), slices.Clone(r.taken), slices.Clone(r.held)
	c.seen, c.missing, c.due = maps.Clone(r.seen), maps.Clone(r.missing), slices.Clone(r.due)
	c.rows = slices.Clone(r.rows)
	c.pieces = maps.Clone(r.pieces)
	c.keys = r.keys.clone()
	return &c
}

// write adds the next letter. size is how many bytes of items its text takes.
func (r *reader) write(l letter, size int) *letter {
	l.seq, l.echo = uint64(len(r.letters)+1), r.highest
	l.chain, l.n, l.pn = r.chain, r.n, r.pn
	r.n++
	room := 1562 - 74 - size
	list := func(n, size int) int {
		n = max(0, min(n, 64, (room-3)/size))
		if n > 0 {
			room -= 3 + size*n
		}
		return n
	}
	for i := range list(len(r.taken), 8) {
		l.taken = append(l.taken, r.taken[i].Seq)
		if r.taken[i].By == 0 {
			r.taken[i].By = l.seq
		}
	}
	if n := list(len(r.quiet), 8); n > 0 {
		l.quiet = slices.Clone(r.quiet[len(r.quiet)-n:])
	}
	if n := list(len(r.due), 16); n > 0 {
		l.receipts, r.due = slices.Sorted(slices.Values(r.due[:n])), slices.Clone(r.due[n:])
	}
	if l.kind == kindControl {
		r.quiet = append(r.quiet, l.seq)
		r.quiet = r.quiet[max(0, len(r.quiet)-64):]
	}
	r.letters = append(r.letters, l)
	return &r.letters[len(r.letters)-1]
}

// owe makes a receipt due.
func (r *reader) owe(seq uint64) {
	if !slices.Contains(r.due, seq) {
		r.due = append(r.due, seq)
	}
}

// outcome is what must become of an envelope that a relay gave.
type outcome string

const (
	outJoined      outcome = "joined"
	outHeld        outcome = "held"
	outLeft        outcome = "left" // at the relay
	outOpened      outcome = "opened"
	outDuplicate   outcome = "duplicate"
	outLost        outcome = "lost"
	outQuarantined outcome = "quarantined"
)

// take is what r must do with a letter of peer's, untouched and on its own queue.
func (r *reader) take(peer *reader, seq uint64, now time.Time) outcome {
	l := &peer.letters[seq-1]
	switch {
	case !r.joined && l.kind == kindFirst:
		r.joined, r.highest, r.seen[1] = true, 1, true
		r.owe(1)
		r.keys = keyring{chain: 0, n: 1, base: 1}
		held := r.held
		r.held = nil
		for _, seq := range held {
			r.take(peer, seq, now)
		}
		return outJoined
	case !r.joined && len(r.held) >= 128:
		return outLeft
	case !r.joined:
		r.held = append(r.held, seq)
		return outHeld
	case l.kind == kindFirst:
		r.owe(1)
		return outDuplicate
	}
	chain := r.keys.chain
	if r.keys.open(l, now) {
		if r.keys.chain != chain {
			r.chain, r.pn, r.n = r.chain+1, r.n, 0
		}
		r.read(peer, l)
		return outOpened
	}
	if r.remembers(seq) {
		r.owe(seq)
		return outDuplicate
	}
	r.quarantined++
	if _, missing := r.missing[seq]; missing && r.highest-seq < 2048 {
		delete(r.missing, seq)
		r.lose()
		return outLost
	}
	return outQuarantined
}

func (r *reader) lose() {
	r.lost++
	r.rows = append(r.rows, shown{text: -1, note: NoteLost, count: 1})
}

// remembers tells whether seq is known as read: until 2,048 later ones were.
func (r *reader) remembers(seq uint64) bool {
	if !r.seen[seq] {
		return false
	}
	for later := seq + 2048; later <= r.highest; later += 2048 {
		if r.seen[later] {
			return false
		}
	}
	return true
}

// read is what a letter that opened says.
func (r *reader) read(peer *reader, l *letter) {
	r.seen[l.seq] = true
	r.quiet = slices.DeleteFunc(r.quiet, func(seq uint64) bool { return seq <= l.echo })
	r.taken = slices.DeleteFunc(r.taken, func(t listed) bool { return t.By != 0 && t.By <= l.echo })
	for seq := r.highest + 1; seq < l.seq; seq++ {
		r.missing[seq] = -1
	}
	r.highest = max(r.highest, l.seq)
	delete(r.missing, l.seq)
	for _, seq := range l.quiet {
		delete(r.missing, seq)
	}
	taken := 0
	for _, seq := range l.taken {
		if _, ok := r.missing[seq]; ok {
			delete(r.missing, seq)
			taken++
		}
	}
	if taken > 0 {
		r.rows = append(r.rows, shown{text: -1, note: NoteTakenBack, count: taken})
	}
	for _, seq := range l.receipts {
		if mine := &r.letters[seq-1]; mine.kind != kindControl { // a repeated one gets a receipt too, which means nothing
			mine.delivered, mine.done = true, true
		}
	}
	if l.kind != kindText {
		return
	}
	r.owe(l.seq)
	r.pieces[l.text]++
	seqs := peer.texts[l.text].letters
	if r.pieces[l.text] < len(seqs) {
		return
	}
	// The text is there. What is missing before it and not shown yet is its gap.
	i := len(r.rows)
	r.rows = append(r.rows, shown{text: l.text})
	for seq, by := range r.missing {
		if by < 0 && seq < slices.Max(seqs) {
			r.missing[seq] = i
		}
	}
}

// gap is how many are missing before row i.
func (r *reader) gap(i int) (n int) {
	for _, by := range r.missing {
		if by == i {
			n++
		}
	}
	return n
}

// forget lets the keys of what was skipped 15 days ago die.
func (r *reader) forget(now time.Time) {
	for _, seq := range r.keys.forget(now) {
		if _, ok := r.missing[seq]; ok {
			delete(r.missing, seq)
			r.lose()
		}
	}
}

// keyring says which letters a ratchet can open: a key is (chain, n), no more.
type keyring struct {
	chain   int // that is being received; -1: none
	n       int // taken or skipped of it
	base    uint64
	skipped []skip
	old     []oldChain // the newest first
}

type oldChain struct {
	chain   int
	skipped []skip
}

type skip struct {
	n   int
	seq uint64
	at  time.Time
}

func (k keyring) clone() keyring {
	k.skipped = slices.Clone(k.skipped)
	k.old = slices.Clone(k.old)
	for i := range k.old {
		k.old[i].skipped = slices.Clone(k.old[i].skipped)
	}
	return k
}

// open tells whether a letter opens, and goes on if it does.
func (k *keyring) open(l *letter, now time.Time) bool {
	switch {
	case l.chain == k.chain && l.n >= k.n:
		k.skipTo(l.n, now)
		k.n++
	case l.chain == k.chain:
		return takeSkipped(&k.skipped, l.n)
	case l.chain == k.chain+1:
		k.skipTo(l.pn, now)
		if len(k.skipped) > 0 {
			k.old = slices.Insert(k.old, 0, oldChain{k.chain, k.skipped})
			k.old = k.old[:min(len(k.old), 5)]
		}
		k.chain, k.n, k.base, k.skipped = l.chain, 0, l.seq-uint64(l.n), nil
		k.skipTo(l.n, now)
		k.n++
	case l.chain > k.chain:
		panic(fmt.Sprintf("chain %d behind %d: honest people don't write that", l.chain, k.chain))
	default:
		i := slices.IndexFunc(k.old, func(c oldChain) bool { return c.chain == l.chain })
		if i < 0 || !takeSkipped(&k.old[i].skipped, l.n) {
			return false
		}
		k.prune()
	}
	// 2,048 keys in all, the newest.
	for over := k.count() - 2048; over > 0; over-- {
		if last := len(k.old) - 1; last >= 0 {
			k.old[last].skipped = k.old[last].skipped[1:]
			k.prune()
		} else {
			k.skipped = k.skipped[1:]
		}
	}
	return true
}

func takeSkipped(keys *[]skip, n int) bool {
	i := slices.IndexFunc(*keys, func(s skip) bool { return s.n == n })
	if i >= 0 {
		*keys = slices.Delete(*keys, i, i+1)
	}
	return i >= 0
}

// skipTo keeps the keys of at most 512, the newest.
func (k *keyring) skipTo(n int, now time.Time) {
	for from := max(k.n, n-512); from < n; from++ {
		k.skipped = append(k.skipped, skip{from, k.base + uint64(from), now})
	}
	k.n = max(k.n, n)
}

func (k *keyring) count() int {
	n := len(k.skipped)
	for _, c := range k.old {
		n += len(c.skipped)
	}
	return n
}

func (k *keyring) prune() {
	k.old = slices.DeleteFunc(k.old, func(c oldChain) bool { return len(c.skipped) == 0 })
}

func (k *keyring) forget(now time.Time) (died []uint64) {
	drop := func(keys []skip) []skip {
		return slices.DeleteFunc(keys, func(s skip) bool {
			dead := now.Unix()-s.at.Unix() >= 15*24*60*60
			if dead {
				died = append(died, s.seq)
			}
			return dead
		})
	}
	k.skipped = drop(k.skipped)
	for i := range k.old {
		k.old[i].skipped = drop(k.old[i].skipped)
	}
	k.prune()
	slices.Sort(died)
	return died
}
