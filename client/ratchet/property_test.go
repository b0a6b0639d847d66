package ratchet

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// model says which messages a receiver can open, from the document's rules alone:
// a message is (chain, n), and nothing in it is a key.
type model struct {
	chain, n int // the chain that is being received, and what was taken or skipped of it
	old      []map[int]time.Time
	oldChain []int // their chains, the newest first
	skipped  map[int]time.Time
}

// sent is an envelope, and where it stands.
type sent struct {
	envelope     []byte
	text         string
	seq, echo    uint64
	commitment   [32]byte
	chain, n, pn int
}

// open says whether m can be opened now, and goes on if so.
func (r *model) open(m sent, now time.Time) error {
	switch {
	case m.chain == r.chain && m.n >= r.n:
		r.skipTo(m.n, now)
		r.n++
		return nil
	case m.chain == r.chain:
		if _, ok := r.skipped[m.n]; !ok {
			return ErrUsed
		}
		delete(r.skipped, m.n)
		return nil
	case m.chain == r.chain+1:
		r.skipTo(m.pn, now)
		if len(r.skipped) > 0 {
			r.old = append([]map[int]time.Time{r.skipped}, r.old...)
			r.oldChain = append([]int{r.chain}, r.oldChain...)
		}
		if len(r.old) > 5 {
			r.old, r.oldChain = r.old[:5], r.oldChain[:5]
		}
		r.chain, r.n, r.skipped = m.chain, 0, map[int]time.Time{}
		r.skipTo(m.n, now)
		r.n++
		return nil
	}
	for i, c := range r.oldChain {
		if c != m.chain {
			continue
		}
		if _, ok := r.old[i][m.n]; !ok {
			return ErrUsed
		}
		delete(r.old[i], m.n)
		r.prune()
		return nil
	}
	return ErrNoKey
}

func (r *model) skipTo(n int, now time.Time) {
	for ; r.n < n; r.n++ {
		r.skipped[r.n] = now
	}
}

// forget returns how many keys died.
func (r *model) forget(now time.Time) (died int) {
	for _, keys := range append([]map[int]time.Time{r.skipped}, r.old...) {
		for n, at := range keys {
			if now.Sub(at) >= 15*24*time.Hour {
				delete(keys, n)
				died++
			}
		}
	}
	r.prune()
	return died
}

func (r *model) prune() {
	for i := len(r.old) - 1; i >= 0; i-- {
		if len(r.old[i]) == 0 {
			r.old = append(r.old[:i], r.old[i+1:]...)
			r.oldChain = append(r.oldChain[:i], r.oldChain[i+1:]...)
		}
	}
}

// party is a side, what it may open, and what is on its way to it.
type party struct {
	*side
	model
	chain, n, pn int // of what it sends
	way          []sent
	received     uint64
	heard        map[uint64]bool
}

// TestInterleavings: two people under loss, reordering, duplication, damage and
// restarts. What opens is right, once, and as often as the rules promise.
func TestInterleavings(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := newPair(t)
		g := &party{side: &p.guest, model: model{chain: -1, skipped: map[int]time.Time{}}, n: 1, heard: map[uint64]bool{}}
		h := &party{side: &p.host, model: model{n: 1, skipped: map[int]time.Time{}}, received: 1, heard: map[uint64]bool{1: true}}
		now := noon
		steps := rapid.IntRange(1, 150).Draw(rt, "steps")
		for i := range steps {
			from, to := g, h
			if rapid.Bool().Draw(rt, "host") {
				from, to = h, g
			}
			switch rapid.SampledFrom([]string{
				"send", "send", "send", "hear", "hear", "hear", "hear last", "hear last", "repeat", "lose", "damage", "restart", "wait",
			}).Draw(rt, "step") {
			case "send":
				from.sendTo(rt, to, fmt.Sprintf("message %d", i))
			case "hear":
				to.take(rt, now, false)
			case "hear last":
				if n := len(to.way); n > 0 {
					to.way[0], to.way[n-1] = to.way[n-1], to.way[0]
					to.takeAt(rt, 0, now, false)
				}
			case "repeat":
				to.take(rt, now, true)
			case "lose":
				if len(to.way) > 0 {
					i := rapid.IntRange(0, len(to.way)-1).Draw(rt, "which")
					to.way = append(to.way[:i:i], to.way[i+1:]...)
				}
			case "damage":
				to.damage(rt)
			case "restart":
				s, err := ParseSession(to.Marshal())
				if err != nil || !bytes.Equal(s.Marshal(), to.Marshal()) {
					rt.Fatalf("restart: %v", err)
				}
				to.Session = s
			case "wait":
				now = now.Add(time.Duration(rapid.IntRange(1, 400).Draw(rt, "hours")) * time.Hour)
				s, lost := to.Forget(now)
				if died := to.forget(now); died != len(lost) {
					rt.Fatalf("%d keys died, want %d", len(lost), died)
				}
				for _, seq := range lost {
					if to.heard[seq] {
						rt.Fatalf("seq %d was heard and is lost", seq)
					}
				}
				to.Session = s
			}
		}
		if g.ad != h.ad {
			rt.Fatal("the two sides name their session differently")
		}
	})
}

func (p *party) sendTo(rt *rapid.T, to *party, text string) {
	next, envelope, sealed, err := p.Seal(p.peerQE, []byte(text))
	if err != nil {
		rt.Fatal(err)
	}
	if sealed.Seq != p.Sent()+1 || next.Sent() != sealed.Seq {
		rt.Fatalf("seq %d behind %d", sealed.Seq, p.Sent())
	}
	p.Session = next
	to.way = append(to.way, sent{envelope, text, sealed.Seq, p.received, sealed.Commitment, p.chain, p.n, p.pn})
	p.n++
}

func (p *party) take(rt *rapid.T, now time.Time, again bool) {
	if len(p.way) > 0 {
		p.takeAt(rt, rapid.IntRange(0, len(p.way)-1).Draw(rt, "which"), now, again)
	}
}

func (p *party) takeAt(rt *rapid.T, i int, now time.Time, again bool) {
	m := p.way[i]
	if !again {
		p.way = append(p.way[:i:i], p.way[i+1:]...)
	}
	before, chain := p.Marshal(), p.model.chain
	want := p.open(m, now)
	next, got, err := p.Open(p.qe, m.envelope, now)
	if !bytes.Equal(p.Marshal(), before) {
		rt.Fatal("Open changed the state")
	}
	if !errors.Is(err, want) {
		rt.Fatalf("seq %d: %v, want %v", m.seq, err, want)
	}
	if err != nil {
		var oe *OpenError
		if !errors.As(err, &oe) || oe.Seq != m.seq || oe.Echo != m.echo {
			rt.Fatalf("seq %d, echo %d: %v", m.seq, m.echo, err)
		}
		return
	}
	if string(got.Plaintext) != m.text || got.Seq != m.seq || got.Echo != m.echo || got.Commitment != m.commitment {
		rt.Fatalf("opened %+v, want %+v", got, m)
	}
	if p.heard[m.seq] {
		rt.Fatalf("seq %d opened twice", m.seq)
	}
	p.heard[m.seq] = true
	stepped := p.model.chain != chain
	if (p.dh != next.dh) != stepped || (p.kem != next.kem) != stepped {
		rt.Fatal("keys are replaced exactly in a step")
	}
	if stepped {
		p.chain, p.pn, p.n = p.chain+1, p.n, 0
	}
	p.Session = next
	p.received = max(p.received, m.seq)
	if p.Received() != p.received {
		rt.Fatalf("received %d, want %d", p.Received(), p.received)
	}
}

// damage flips one bit, outside or behind the outer box.
func (p *party) damage(rt *rapid.T) {
	if len(p.way) == 0 {
		return
	}
	e := bytes.Clone(p.way[rapid.IntRange(0, len(p.way)-1).Draw(rt, "which")].envelope)
	bit := func(b []byte) {
		b[rapid.IntRange(0, len(b)-1).Draw(rt, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(rt, "bit")
	}
	if rapid.Bool().Draw(rt, "inside") {
		inner, err := openOuter(p.qe, e)
		if err != nil {
			rt.Fatal(err)
		}
		bit(inner)
		if e, err = sealOuter(p.qe.PublicKey(), inner); err != nil {
			rt.Fatal(err)
		}
	} else {
		bit(e)
	}
	before := p.Marshal()
	next, m, err := p.Open(p.qe, e, noon)
	if err == nil || next != nil || m.Plaintext != nil || !bytes.Equal(p.Marshal(), before) {
		rt.Fatalf("a damaged envelope: %+v, %v", m, err)
	}
}
