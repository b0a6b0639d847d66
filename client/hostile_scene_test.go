package client

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	mrand "math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"kin/client/ratchet"
	"kin/client/vault"
	"kin/protocol"
)

// scene is two hosts and two guests, all in one commit of one vault, and a relay
// between them that does as it likes. What runs is what runs in a profile: take,
// compose, seal, settle, cancel, age. What the relay gives, and what must come of
// it, is drawn from a seed and a model.
type scene struct {
	w      *work
	rng    *mrand.Rand
	now    time.Time
	people []*reader // a host, their guest; another host, their guest
	report *Report
	trace  []string
	counts map[string]int // lies told and outcomes
	err    error          // the first thing that is wrong
}

var (
	dawn        = time.Date(2027, 3, 1, 0, 20, 0, 0, time.UTC)
	sceneRelay  = protocol.Address{Hosts: []protocol.Host{{Name: "127.0.0.1:1"}}, Fingerprint: protocol.Fingerprint{1}}
	sceneLimits = protocol.Limits{Epoch: time.Hour, MaxTTL: 336, Durable: true, Window: protocol.Window}
	inviteEnds  = dawn.Add(50 * time.Hour)
)

func (sc *scene) wrong(format string, a ...any) {
	if sc.err == nil {
		sc.err = fmt.Errorf(format, a...)
	}
}

func (sc *scene) must(err error) {
	if err != nil {
		sc.wrong("%w", err)
	}
}

func (sc *scene) note(kind, format string, a ...any) {
	sc.counts[kind]++
	sc.trace = append(sc.trace, kind+" "+fmt.Sprintf(format, a...))
}

func (sc *scene) peer(i int) *reader { return sc.people[i^1] }

// fork is a scene that goes on from here with a seed of its own, in a commit of its own.
func (sc *scene) fork(tx *vault.Tx, seed uint64) *scene {
	f := &scene{rng: mrand.New(mrand.NewPCG(seed, 2)), now: sc.now, report: &Report{Events: slices.Clone(sc.report.Events)},
		trace: slices.Clone(sc.trace), counts: map[string]int{}}
	for _, r := range sc.people {
		c := r.clone()
		c.touched = false
		f.people = append(f.people, c)
	}
	f.w = newWork(tx, f.report)
	f.w.now = f.now
	maps.Copy(f.w.ratchets, sc.w.ratchets) // a state never changes; restart reads them anew
	return f
}

// newScene makes the four people; the guests' flights are at the relay. long: the
// first guest has written much.
func newScene(tx *vault.Tx, seed uint64, long bool) *scene {
	sc := &scene{rng: mrand.New(mrand.NewPCG(seed, 1)), now: dawn, report: new(Report), counts: map[string]int{}}
	sc.w = newWork(tx, sc.report)
	sc.w.now = sc.now
	for pair := range 2 {
		sc.must(sc.invite(pair))
	}
	if sc.err == nil && long {
		sc.fill(1, 2700)
	}
	return sc
}

func (sc *scene) invite(pair int) error {
	w := sc.w
	s := &self{Name: "K", Relay: &sceneRelay}
	hc := w.addContact(fmt.Sprint("guest ", pair))
	i, err := w.openInvite(hc, s, DefaultInvite)
	if err != nil {
		return err
	}
	q := i.In
	rand.Read(q.Receiver[:])
	rand.Read(q.Sender[:])
	if err := w.makeBundle(i, s, q); err != nil {
		return err
	}
	i.Offered, i.Expires = true, inviteEnds
	gc := w.addContact(fmt.Sprint("host ", pair))
	in := inQueue{Relay: sceneRelay, Key: newKey(), Envelope: newKey()}
	rand.Read(in.Receiver[:])
	rand.Read(in.Sender[:])
	gc.Join = &joining{Invite: protocol.Invite{Relay: sceneRelay, Hash: i.Hash}, Bundle: i.Bundle, Name: "G", In: in, Claim: newKey()}
	if err := w.beginSession(gc); err != nil {
		return err
	}
	var flight *op
	if err := eachRecord(w, tableOutbox, func(_ []byte, o *op) error {
		if o.Contact == gc.ID {
			flight = o
		}
		return nil
	}); err != nil {
		return err
	}
	host := &reader{name: fmt.Sprint("host ", pair), who: hc.ID, label: hc.Label, queue: i.In}
	guest := &reader{name: fmt.Sprint("guest ", pair), guest: true, joined: true, who: gc.ID, label: gc.Label, queue: in, keys: keyring{chain: -1, base: 1}}
	for _, r := range []*reader{host, guest} {
		r.seen, r.missing, r.pieces = map[uint64]bool{}, map[uint64]int{}, map[int]int{}
	}
	sc.people = append(sc.people, host, guest)
	l := guest.write(letter{kind: kindFirst, text: -1}, 0)
	l.envelope, l.op = flight.Envelope, *flight
	err = sc.settle(len(sc.people)-1, l, nil) // with this OK the guest has joined
	sc.remember(l)
	return err
}

// fill seals n texts that no outbox holds.
func (sc *scene) fill(i, n int) {
	r := sc.people[i]
	c, err := sc.w.contact(r.who)
	if err != nil {
		sc.must(err)
		return
	}
	for k := range n {
		b := &body{kind: kindText, id: uuid.New(), sent: sc.now, deadline: sc.now.Add(DefaultUntil)}
		b.items.text = fmt.Appendf(nil, "filler %d", k)
		envelope, err := sc.w.seal(c.Session, b)
		if err != nil {
			sc.must(err)
			return
		}
		l := r.write(letter{kind: kindText, text: len(r.texts), envelope: envelope, done: true}, 3+len(b.items.text))
		r.texts = append(r.texts, written{id: b.id, body: string(b.items.text), letters: []uint64{l.seq}, filler: true})
	}
}

// restart stores everything and forgets what is in memory, as the end of a commit does.
func (sc *scene) restart() {
	sc.must(sc.w.save())
	sc.w = newWork(sc.w.tx, sc.report)
	sc.w.now = sc.now
}

func (sc *scene) pass(d time.Duration) {
	sc.now = sc.now.Add(d)
	sc.w.now = sc.now
}

// step is one thing that a person or the relay does. write is how likely it is, in
// a hundred, that somebody writes.
func (sc *scene) step(write int) {
	i := sc.rng.IntN(len(sc.people))
	if sc.rng.IntN(100) < 60 {
		i &= 1 // mostly the first pair
	}
	if sc.rng.IntN(100) < write {
		sc.touch(i)
		switch k := sc.rng.IntN(20); {
		case k < 13:
			sc.say(i)
		case k < 18:
			sc.tell(i)
		default:
			sc.takeBack(i)
		}
		return
	}
	switch k := sc.rng.IntN(100); {
	case k < 8:
		sc.people[i].touched = true
		sc.answer(i)
	case k < 13:
		sc.note("restart", "")
		sc.restart()
	case k < 19:
		sc.wait()
	default:
		sc.lie(i)
	}
}

// say has a person write a text of some length.
func (sc *scene) say(i int) {
	r := sc.people[i]
	if !r.joined {
		return
	}
	body := fmt.Sprintf("%s says %d", r.name, len(r.texts))
	switch k := sc.rng.IntN(100); {
	case k < 8:
		body += strings.Repeat("…", 950) // three pieces, cut within characters
	case k < 12:
		body += strings.Repeat("x", 1485-len(body))
	}
	until := DefaultUntil
	if sc.rng.IntN(10) == 0 {
		until = 2 * time.Hour
	}
	sc.write(i, body, until)
}

func (sc *scene) write(i int, body string, until time.Duration) {
	r := sc.people[i]
	c, err := sc.w.contact(r.who)
	if err != nil {
		sc.must(err)
		return
	}
	sc.owes(r, c.Session)
	parts := split(body)
	sent, err := sc.w.compose(c, parts, SendOptions{TTL: DefaultTTL, Until: until})
	if err != nil {
		sc.must(err)
		return
	}
	sc.note("says", "%s: %d bytes", r.name, len(body))
	row, err := sc.w.row(c, false, sent.ID)
	if err != nil || row == nil || len(row.Sent) != len(parts) {
		sc.wrong("the row of what %s wrote: %v", r.name, err)
		return
	}
	t := written{id: sent.ID, body: body, until: sc.now.Add(until)}
	for k, pt := range row.Sent {
		size := 3 + len(parts[k])
		if len(parts) > 1 {
			size += 3 + 4
		}
		l := r.write(letter{kind: kindText, text: len(r.texts), part: k}, size)
		t.letters = append(t.letters, l.seq)
		sc.sealed(r, l, pt.Op)
		if pt.Seq != l.seq {
			sc.wrong("%s wrote %d as %d", r.name, l.seq, pt.Seq)
		}
	}
	r.texts = append(r.texts, t)
	sc.owes(r, c.Session)
}

// tell sends the receipts that are due in an hour, if there are any.
func (sc *scene) tell(i int) {
	r := sc.people[i]
	if !r.joined {
		return
	}
	sc.pass(time.Hour)
	c, err := sc.w.contact(r.who)
	if err != nil {
		sc.must(err)
		return
	}
	if due := c.Session.isDue(sc.now); due != (len(r.due) > 0) {
		sc.wrong("%s owes %v, the profile says %v", r.name, r.due, due)
	} else if !due {
		return
	}
	o, err := sc.w.sealReceipts(c, c.Session)
	if err != nil {
		sc.must(err)
		return
	}
	sc.note("tells", "%s", r.name)
	l := r.write(letter{kind: kindControl, text: -1}, 0)
	sc.sealed(r, l, o.ID)
	sc.owes(r, c.Session)
}

// sealed notes the envelope of a letter.
func (sc *scene) sealed(r *reader, l *letter, key protocol.MessageID) {
	o, err := getRecord[op](sc.w, tableOutbox, key[:])
	if err != nil || o == nil {
		sc.wrong("%s wrote, and nothing is in the outbox: %v", r.name, err)
		return
	}
	l.envelope, l.op = o.Envelope, *o
	sc.remember(l)
}

// remember notes how a letter stands in the outbox.
func (sc *scene) remember(l *letter) {
	b, err := sc.w.tx.Get(tableOutbox, l.op.ID[:])
	sc.must(err)
	l.stored = b
}

// owes compares the receipts that are due with the profile's.
func (sc *scene) owes(r *reader, s *session) {
	var got []uint64
	for _, d := range s.Due {
		got = append(got, d.Seq)
	}
	if !slices.Equal(got, r.due) {
		sc.wrong("%s owes receipts for %v, the profile says %v", r.name, r.due, got)
	}
	for _, seq := range got {
		if !r.seen[seq] {
			sc.wrong("%s owes a receipt for %d, which was not read", r.name, seq)
		}
	}
}

// takeBack cancels a text.
func (sc *scene) takeBack(i int) {
	r := sc.people[i]
	if len(r.texts) == 0 {
		return
	}
	t := &r.texts[sc.rng.IntN(len(r.texts))]
	if t.filler {
		return
	}
	sc.must(sc.w.cancel(t.id))
	if t.cancelled || r.delivered(t) || !sc.now.Before(t.until) {
		return
	}
	sc.note("takes back", "%s: %q", r.name, t.body[:min(20, len(t.body))])
	t.cancelled = true
	for _, seq := range t.letters {
		l := &r.letters[seq-1]
		if l.done {
			continue
		}
		l.cancelled, l.until, l.retry = true, time.Time{}, time.Time{}
		if sc.remember(l); !bytes.Contains(l.stored, []byte(`"Cancel":true`)) {
			sc.wrong("%s's %d was taken back, and the relay is not to hear of it", r.name, seq)
		}
		r.taken = append(r.taken, listed{Seq: seq})
		for _, told := range l.receipts { // go with another letter
			r.owe(told)
		}
	}
}

func (r *reader) delivered(t *written) bool {
	for _, seq := range t.letters {
		if !r.letters[seq-1].delivered {
			return false
		}
	}
	return true
}

// wait lets time pass, and does what a command does first.
func (sc *scene) wait() {
	d := time.Duration(1+sc.rng.IntN(90)) * time.Minute
	switch sc.rng.IntN(6) {
	case 0:
		d = time.Duration(1+sc.rng.IntN(16*24)) * time.Hour
	case 1:
		d = 15 * 24 * time.Hour
	}
	sc.pass(d)
	sc.note("time passes", "%v", d)
	sc.age()
}

func (sc *scene) age() {
	for _, r := range sc.people {
		r.touched = true
		c, err := sc.w.contact(r.who)
		if err != nil {
			sc.must(err)
			return
		}
		sc.must(sc.w.age(c))
		if r.joined {
			r.forget(sc.now)
		} else if !sc.now.Before(inviteEnds.Add(15 * 24 * time.Hour)) {
			r.dead, r.held = true, nil
		}
	}
}

// answer has the relay say something about an envelope that it was given.
func (sc *scene) answer(i int) {
	r := sc.people[i]
	var open []int
	for k := range r.letters {
		if !r.letters[k].done {
			open = append(open, k)
		}
	}
	if len(open) == 0 {
		return
	}
	l := &r.letters[open[sc.rng.IntN(len(open))]]
	var lie error
	switch k := sc.rng.IntN(10); {
	case k < 5:
		sc.note("says OK", "to %s's %d", r.name, l.seq)
	case k < 8:
		codes := []protocol.Code{protocol.CodeQueueFull, protocol.CodeRelayFull, protocol.CodeSlowDown, protocol.CodeSubscribers, protocol.CodeInternal}
		lie = &protocol.Refusal{Code: codes[sc.rng.IntN(len(codes))], Wait: time.Duration(sc.rng.IntN(3600)) * time.Second}
		sc.note("says wait", "to %s's %d: %v", r.name, l.seq, lie)
	default:
		lie = &protocol.Refusal{Code: protocol.Code(sc.rng.IntN(40))}
		sc.note("refuses", "%s's %d: %v", r.name, l.seq, lie)
	}
	sc.must(sc.settle(i, l, lie))
	sc.remember(l)
}

// settle commits an answer to a letter, if it would be put now.
func (sc *scene) settle(i int, l *letter, answer error) error {
	r := sc.people[i]
	v := newVisit(nil, &conn{hello: &protocol.Hello{Limits: sceneLimits}}, protocol.Address{}, nil)
	o, err := getRecord[op](sc.w, tableOutbox, l.op.ID[:])
	if err != nil || o == nil {
		return fmt.Errorf("%s's %d is not in the outbox: %w", r.name, l.seq, err)
	}
	want := !sc.now.Before(l.retry) && (l.cancelled ||
		sc.now.Before(l.op.Deadline) && (l.until.IsZero() || l.kind != kindControl && !sc.now.Before(l.until)))
	if got := v.wants(o, sc.now); got != want {
		return fmt.Errorf("%s's %d is to be put: %v, should be %v", r.name, l.seq, got, want)
	} else if !got {
		return nil
	}
	g := &outgoing{op: *o}
	if !l.cancelled {
		if !bytes.Equal(o.Envelope, l.envelope) {
			return fmt.Errorf("%s's %d is put with other bytes", r.name, l.seq)
		}
		g.class = ttlClass(o, sceneLimits, sc.now)
	} else {
		g.Cancel = true
	}
	if err := v.settle(sc.w, g, answer); err != nil {
		return err
	}
	var refusal *protocol.Refusal
	switch refused := errors.As(answer, &refusal); {
	case refused && l.cancelled && !temporary(refusal.Code):
		l.done = true
	case refused:
		switch {
		case temporary(refusal.Code):
			l.retry = sc.now.Add(max(refusal.Wait, time.Second))
		case refusal.Code == 3: // as FIRST, at once
			l.retry = sc.now
		default:
			l.retry = sc.now.Add(time.Hour)
		}
		if !sc.now.Before(l.until) {
			l.until, l.onRelay = time.Time{}, false
		}
	case l.cancelled || l.kind == kindControl:
		l.done = true
	default:
		life := min(l.op.TTL, l.op.Deadline.Sub(sc.now))
		longest := time.Hour
		for _, h := range []time.Duration{6, 24, 72, 168, 336} {
			if 10*h*time.Hour <= 11*life {
				longest = h * time.Hour
			}
		}
		if l.kind == kindFirst { // put again after 72 h, whatever its class
			longest = min(longest, 72*time.Hour)
		}
		l.until, l.retry, l.onRelay = sc.now.Add(longest).Truncate(time.Hour).Add(time.Hour), time.Time{}, true
	}
	return nil
}

// temporary are the codes that the document's table marks with "wait".
func temporary(c protocol.Code) bool { return slices.Contains([]protocol.Code{4, 5, 6, 16, 17}, c) }

// lie gives a person an envelope of the relay's choice.
func (sc *scene) lie(i int) {
	r, peer := sc.people[i], sc.peer(i)
	if len(peer.letters) == 0 {
		sc.swap(i)
		return
	}
	pick := func() *letter { return &peer.letters[sc.rng.IntN(len(peer.letters))] }
	var waiting, read []*letter
	first := 0
	if len(peer.letters) > 500 {
		first = sc.rng.IntN(len(peer.letters))
		first = max(0, first-20)
	}
	for k := first; k < min(len(peer.letters), first+500); k++ {
		if l := &peer.letters[k]; r.seen[l.seq] {
			read = append(read, l)
		} else {
			waiting = append(waiting, l)
		}
	}
	switch k := sc.rng.IntN(100); {
	case k < 38 && len(waiting) > 0:
		sc.give(i, waiting[0], "gives the next")
	case k < 50 && len(waiting) > 0:
		sc.give(i, waiting[len(waiting)-1], "gives the last")
	case k < 64 && len(waiting) > 0:
		sc.give(i, waiting[sc.rng.IntN(len(waiting))], "reorders")
	case k < 76 && len(read) > 0:
		sc.give(i, read[sc.rng.IntN(len(read))], "repeats")
	case k < 82:
		sc.swap(i)
	case k < 97:
		sc.tamper(i, pick().envelope)
	default:
		sc.give(i, pick(), "replays")
	}
}

// give delivers a letter untouched.
func (sc *scene) give(i int, l *letter, lie string) {
	r := sc.people[i]
	want := outLeft
	if !r.dead {
		want = r.take(sc.peer(i), l.seq, sc.now)
	}
	sc.note(lie, "%s %d: %s", r.name, l.seq, want)
	sc.counts["→ "+string(want)]++
	refused := want == outQuarantined || want == outLost || want == outDuplicate || want == outLeft || want == outHeld
	sc.deliver(i, l.envelope, want != outLeft, refused, false)
}

// swap delivers what was written for somebody else.
func (sc *scene) swap(i int) {
	k := sc.rng.IntN(len(sc.people))
	from := sc.people[k]
	if k == i^1 || len(from.letters) == 0 {
		return
	}
	l := &from.letters[sc.rng.IntN(len(from.letters))]
	sc.note("swaps", "%s's %d to %s", from.name, l.seq, sc.people[i].name)
	sc.foreign(i, l.envelope)
}

// tamper delivers bytes that nobody wrote.
func (sc *scene) tamper(i int, envelope []byte) {
	e := bytes.Clone(envelope)
	switch k := sc.rng.IntN(10); {
	case k < 5:
		at := sc.rng.IntN(len(e))
		if k == 0 {
			at = sc.rng.IntN(48) // the ephemeral key and the box's tag
		}
		e[at] ^= 1 << sc.rng.IntN(8)
		sc.note("flips a bit", "of byte %d, for %s", at, sc.people[i].name)
	case k < 8:
		from := sc.people[sc.rng.IntN(len(sc.people))]
		if len(from.letters) == 0 {
			return
		}
		other := from.letters[sc.rng.IntN(len(from.letters))].envelope
		cut := 1 + sc.rng.IntN(len(e)-1)
		copy(e[cut:], other[cut:])
		if bytes.Equal(e, envelope) || bytes.Equal(e, other) {
			return
		}
		sc.note("splices", "at %d, for %s", cut, sc.people[i].name)
	case k < 9:
		for n := range e {
			e[n] = byte(sc.rng.Uint32())
		}
		sc.note("makes noise", "for %s", sc.people[i].name)
	default:
		clear(e[:32]) // an ephemeral key with which anybody could open the box
		sc.note("gives a key of low order", "to %s", sc.people[i].name)
	}
	sc.foreign(i, e)
}

// foreign delivers what a person must not be able to open.
func (sc *scene) foreign(i int, envelope []byte) {
	r := sc.people[i]
	if !r.dead {
		r.quarantined++
	}
	sc.counts["→ "+string(outQuarantined)]++
	sc.deliver(i, envelope, !r.dead, true, true)
}

// deliver takes an envelope and looks whether a refused one changed anything.
// foreign: nothing at all but the quarantine.
func (sc *scene) deliver(i int, envelope []byte, ack, refused, foreign bool) {
	r := sc.people[i]
	r.touched = true
	c, err := sc.w.contact(r.who)
	if err != nil {
		sc.must(err)
		return
	}
	image := func() (state *ratchet.Session, rest []byte) {
		if c.Session != nil {
			s, err := sc.w.ratchet(c.Session)
			sc.must(err)
			if refused {
				state = s // it never changes; another takes its place
			}
		}
		if foreign {
			plain := *c
			plain.Quarantined = 0
			rest, err = json.Marshal(plain)
			sc.must(err)
		}
		return state, rest
	}
	stateBefore, restBefore := image()
	got, err := sc.w.take(r.who, r.queue.Receiver, bytes.Clone(envelope))
	sc.must(err)
	if got != ack {
		sc.wrong("ACK for %s: %v, should be %v", r.name, got, ack)
	}
	if sc.err != nil {
		return
	}
	stateAfter, restAfter := image()
	if stateBefore != stateAfter || !bytes.Equal(restBefore, restAfter) {
		sc.wrong("what %s refused changed what is stored", r.name)
	}
	if c.Session == nil {
		return
	}
	s, err := sc.w.ratchet(c.Session)
	sc.must(err)
	if s.Received() != r.highest || s.Sent() != uint64(len(r.letters)) {
		sc.wrong("%s has received up to %d and sent up to %d, should be %d and %d", r.name, s.Received(), s.Sent(), r.highest, len(r.letters))
	}
}

// honest has the relay give everything that it has, in order, and tell the truth;
// then everything that can still come must be there.
func (sc *scene) honest() {
	sc.note("turns honest", "")
	for i := range sc.people {
		sc.touch(i)
	}
	for round := 0; ; round++ {
		for i, r := range sc.people {
			peer := sc.peer(i)
			for k := range peer.letters {
				l := &peer.letters[k]
				if sc.err != nil {
					return
				}
				switch {
				case l.cancelled: // erased
				case !r.seen[l.seq] && !r.gone(l.seq):
					sc.give(i, l, "gives the rest")
				case r.seen[l.seq] && l.kind == kindText && !l.delivered && round == 0:
					sc.give(i, l, "gives again") // put again, since no receipt came
				}
			}
		}
		if round == 3 {
			break
		}
		for i := range sc.people {
			if round == 1 {
				sc.say(i)
			}
			sc.tell(i)
		}
	}
	for i, r := range sc.people {
		peer := sc.peer(i)
		if r.dead || !r.joined || !peer.joined {
			continue
		}
		for k := range r.texts {
			t := &r.texts[k]
			if t.filler || t.cancelled || slices.ContainsFunc(t.letters, peer.gone) {
				continue
			}
			if !r.delivered(t) {
				sc.wrong("%s's %q never became delivered", r.name, t.body[:min(20, len(t.body))])
			}
		}
	}
}

// gone tells whether a letter that was not read can't be read any more, or need not be.
func (r *reader) gone(seq uint64) bool {
	if r.seen[seq] || seq > r.highest {
		return false
	}
	if _, ok := r.missing[seq]; !ok {
		return true
	}
	if seq >= r.keys.base {
		return !slices.ContainsFunc(r.keys.skipped, func(s skip) bool { return s.seq == seq })
	}
	return !slices.ContainsFunc(r.keys.old, func(c oldChain) bool {
		return slices.ContainsFunc(c.skipped, func(s skip) bool { return s.seq == seq })
	})
}

// touch notes that what a person has or had written may have changed.
func (sc *scene) touch(i int) { sc.people[i].touched, sc.people[i^1].touched = true, true }

// check compares all that is stored of who was touched with the model.
func (sc *scene) check() {
	rows := map[id][]*row{}
	sc.must(eachRecord(sc.w, tableMessage, func(key []byte, r *row) error {
		rows[id(key)] = append(rows[id(key)], r)
		return nil
	}))
	lost := 0
	for _, r := range sc.people {
		lost += r.lost
		if sc.err != nil || !r.touched {
			continue
		}
		slices.SortFunc(rows[r.who], func(a, b *row) int { return int(a.N) - int(b.N) })
		sc.checkHistory(r, rows[r.who])
		sc.checkSent(r, rows[r.who])
	}
	told := 0
	for _, e := range sc.report.Events {
		switch e.Kind {
		case EventLost:
			told += e.Count
		case EventStopped, EventNewerCopy, EventForked, EventOtherGuest:
			sc.wrong("%s is told %q, of honest people", e.Contact, e.Kind)
		}
	}
	if told != lost {
		sc.wrong("%d are told lost, should be %d", told, lost)
	}
}

// checkHistory: what a person sees is what was written to them, once, in the order
// in which it came, with its gaps.
func (sc *scene) checkHistory(r *reader, rows []*row) {
	c, err := sc.w.contact(r.who)
	if err != nil {
		sc.must(err)
		return
	}
	if c.Quarantined != uint64(r.quarantined) {
		sc.wrong("%s has quarantined %d, should be %d", r.name, c.Quarantined, r.quarantined)
	}
	if joined := c.Session != nil; joined != r.joined {
		sc.wrong("%s joined: %v, should be %v", r.name, joined, r.joined)
		return
	}
	peer := sc.people[slices.Index(sc.people, r)^1]
	var got []*row
	for _, x := range rows {
		if x.In && x.complete() {
			got = append(got, x)
		}
	}
	if len(got) != len(r.rows) {
		sc.wrong("%s sees %d rows, should see %d", r.name, len(got), len(r.rows))
		return
	}
	for i, want := range r.rows {
		m := got[i].message(sc.w, c)
		if m.Note != want.note {
			sc.wrong("%s sees the note %q, should be %q", r.name, m.Note, want.note)
		}
		if want.note != "" {
			if m.Count != want.count {
				sc.wrong("%s sees the note %q of %d, should be %d", r.name, m.Note, m.Count, want.count)
			}
			continue
		}
		t := &peer.texts[want.text]
		if m.Text != t.body || m.ID != t.id || m.Direction != In || m.State != StateReceived {
			sc.wrong("%s sees %.40q (%v), should be %.40q (%v)", r.name, m.Text, m.ID, t.body, t.id)
		}
		if gap := r.gap(i); m.Gap != gap {
			sc.wrong("%s sees a gap of %d before %.40q, should be %d", r.name, m.Gap, t.body, gap)
		}
	}
	if !r.joined {
		return
	}
	if c.Session.Stopped || c.Session.Forked {
		sc.wrong("%s's session stopped: %v, forked: %v, and everybody is honest", r.name, c.Session.Stopped, c.Session.Forked)
	}
	s, err := sc.w.ratchet(c.Session)
	if err != nil {
		sc.must(err)
		return
	}
	// 1,568 bytes, 44 for each skipped key and 74 for each old chain: no more is kept.
	if n, want := len(s.Marshal()), 1568+44*r.keys.count()+74*len(r.keys.old); n != want {
		sc.wrong("%s's ratchet has %d bytes, should have %d", r.name, n, want)
	}
}

// checkSent: what a person wrote has the state that the peer's receipts and the
// relay's word give it, and is in the outbox until a receipt or its deadline.
func (sc *scene) checkSent(r *reader, rows []*row) {
	peer := sc.people[slices.Index(sc.people, r)^1]
	n := 0
	for i := range r.texts {
		t := &r.texts[i]
		if t.filler {
			continue
		}
		k := slices.IndexFunc(rows, func(x *row) bool { return !x.In && x.ID == t.id })
		if k < 0 {
			sc.wrong("%s's %.40q is gone", r.name, t.body)
			return
		}
		n++
		delivered, relay := true, true
		for _, seq := range t.letters {
			l := &r.letters[seq-1]
			delivered = delivered && l.delivered
			relay = relay && (l.onRelay || l.delivered)
			if l.delivered && !peer.seen[seq] {
				sc.wrong("%s's %d has a receipt and was not read", r.name, seq)
			}
		}
		want := StateQueued
		switch {
		case delivered:
			want = StateDelivered
		case t.cancelled:
			want = StateCancelled
		case !sc.now.Before(t.until):
			want = StateExpiredUnread
		case relay:
			want = StateOnRelay
		}
		if got := rows[k].state(sc.now); got != want {
			sc.wrong("%s's %.40q is %s, should be %s", r.name, t.body, got, want)
		}
	}
	for _, x := range rows {
		if !x.In {
			n--
		}
	}
	if n != 0 {
		sc.wrong("%s has %d sent rows too many", r.name, -n)
	}
	for i := range r.letters {
		l := &r.letters[i]
		if l.op.ID == (protocol.MessageID{}) {
			continue
		}
		b, err := sc.w.tx.Get(tableOutbox, l.op.ID[:])
		sc.must(err)
		if l.done && b != nil || !l.done && !bytes.Equal(b, l.stored) {
			sc.wrong("%s's %d in the outbox: %.60q, should be %.60q", r.name, l.seq, b, l.stored)
		}
	}
}
