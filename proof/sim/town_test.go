//go:build linux

package sim

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"time"
)

// town is what one seed plays.
type town struct {
	seed   uint64
	dir    string
	begun  time.Time
	people []*person
	net    *network
	relay  *machine
	unread int  // envelopes that a queue may hold
	copies bool // profiles are copied, and the copies used

	mu         sync.Mutex // guards what follows
	all        []*said
	said       map[string]*said
	counts     map[string]int
	violations []string
	hash       hash.Hash
	trace      io.Writer
}

// Result is what came of a seed.
type Result struct {
	Seed       uint64
	Hash       string
	Virtual    time.Duration
	Counts     map[string]int
	Violations []string
}

// violation notes what must not be. mu is held.
func (t *town) violation(format string, a ...any) {
	t.log("JUDGE", format, a...)
	t.violations = append(t.violations, fmt.Sprintf(format, a...))
}

func (t *town) fail(format string, a ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.violation(format, a...)
}

// log writes a line of the trace. mu is held.
func (t *town) log(who, format string, a ...any) {
	line := fmt.Sprintf("%v %s %s\n", time.Since(t.begun), who, fmt.Sprintf(format, a...))
	io.WriteString(t.hash, line)
	io.WriteString(t.trace, line)
}

func (t *town) note(who, format string, a ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.log(who, format, a...)
}

func (t *town) count(what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts[what]++
}

func (w *founding) newTown(seed uint64, dir string, trace io.Writer) *town {
	t := &town{seed: seed, dir: dir, begun: time.Now(), net: &network{}, unread: 128, said: map[string]*said{}, counts: map[string]int{},
		hash: sha256.New(), trace: trace}
	t.relay = &machine{t: t, dir: filepath.Join(w.dir, "relay")}
	return t
}

// stream is a source of chance of its own for each thing that needs one.
func (t *town) stream(of ...uint64) *rand.Rand {
	n := uint64(0)
	for _, o := range of {
		n = n*1000 + o + 1
	}
	return rand.New(rand.NewPCG(t.seed, n))
}

// play plays a seed in dir, within a bubble.
func (w *founding) play(seed uint64, dir string, trace io.Writer) Result {
	t := w.newTown(seed, dir, trace)
	r := t.stream(0)
	if r.IntN(3) == 0 {
		t.unread = 8
	}
	t.copies = r.IntN(6) == 0
	if err := w.settle(t, 1+r.IntN(5)/4, 1+r.IntN(3)+r.IntN(4)/3); err != nil {
		t.fail("%v", err)
		return t.result()
	}
	for round := range 2 + r.IntN(2) {
		t.round(uint64(round), r)
	}
	t.live(r)
	if r.IntN(2) == 0 {
		t.anew()
	}
	t.calm()
	t.judge()
	t.end()
	return t.result()
}

func (t *town) result() Result {
	for _, p := range t.people {
		if p.process() != nil {
			p.process().end()
			p.process().Close()
		}
	}
	t.counts["virtual hours"] = int(time.Since(t.begun) / time.Hour)
	return Result{t.seed, hex.EncodeToString(t.hash.Sum(nil)[:8]), time.Since(t.begun), t.counts, t.violations}
}

// round is a crisis: everybody does a few things within minutes, while the network
// and the relay have their troubles.
func (t *town) round(n uint64, r *rand.Rand) {
	gap := time.Duration(r.Int64N(int64(3 * time.Hour)))
	if r.IntN(4) == 0 {
		gap = time.Duration(r.Int64N(int64(24 * time.Hour)))
	}
	time.Sleep(gap)
	t.note("town", "round %d", n)
	var all sync.WaitGroup
	for i, p := range t.people {
		if n == 0 && p.host { // the first round is for invites
			for range t.people {
				p.invite()
			}
		}
		all.Go(func() {
			for range 1 + p.rng.IntN(3) {
				time.Sleep(time.Duration(p.rng.Int64N(int64(20 * time.Second))))
				p.act()
			}
		})
		all.Go(func() {
			p.line.weather(t.stream(3, n, uint64(i)), func(what string) { t.count(what); t.note(p.name, "%s", what) })
		})
	}
	if r.IntN(3) > 0 {
		own := t.stream(4, n)
		all.Go(func() {
			time.Sleep(time.Duration(own.Int64N(int64(40 * time.Second))))
			t.relay.trouble(own)
		})
	}
	all.Wait()
}

// weather is what happens to a line in a round.
func (l *line) weather(r *rand.Rand, note func(string)) {
	l.set(func() {
		l.lag = time.Duration(10+r.IntN(100)) * time.Millisecond
		l.byte = time.Microsecond
		if r.IntN(4) == 0 { // 4 KB/s, and a second there and back
			l.lag, l.byte = 500*time.Millisecond, 250*time.Microsecond
		}
	})
	for range r.IntN(3) {
		time.Sleep(time.Duration(r.Int64N(int64(20 * time.Second))))
		length := time.Duration(r.Int64N(int64(60 * time.Second)))
		switch r.IntN(3) {
		case 0:
			note("connections are cut")
			l.cut()
		case 1:
			note("network is down")
			l.set(func() { l.down = true })
			l.cut()
			time.Sleep(length)
			l.set(func() { l.down = false })
		case 2:
			note("connections go silent")
			l.set(func() { l.silent = true })
			time.Sleep(4 * length)
			l.set(func() { l.silent = false })
		}
	}
	l.set(func() { l.lag, l.byte = 10*time.Millisecond, time.Microsecond })
}
