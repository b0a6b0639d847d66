//go:build linux

package sim

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kin/client"
	"kin/internal/disk/disktest"
	"kin/protocol"
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

// founding is the town as every seed finds it: a relay that gave out its grants,
// and profiles without contacts. The relay's folder is the same for all.
type founding struct {
	dir     string
	db      []byte
	disk    *disktest.FS
	keys    map[string][]byte
	address protocol.Address
}

var (
	hosts  = []string{"Host1", "Host2"}
	guests = []string{"Ari", "Bo", "Cho", "Dae"}
)

const queues = 100 // of the first host's grant; the next has one more

// bubble runs f in virtual time from a day on that is always the same, with all that
// is random from a seed.
func bubble(t *testing.T, f func(*testing.T)) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)))
		f(t)
	})
}

// found makes the founding in dir.
func found(t *testing.T, dir string) *founding {
	w := &founding{dir: dir, keys: map[string][]byte{}}
	bubble(t, func(t *testing.T) {
		town := w.newTown(0, "", io.Discard)
		if err := os.Mkdir(town.relay.dir, 0o700); err != nil {
			t.Fatal(err)
		}
		disk := disktest.New()
		if err := disk.MkdirAll(town.relay.dir); err != nil {
			t.Fatal(err)
		}
		for d := town.relay.dir; d != filepath.Dir(d); d = filepath.Dir(d) { // whoever installed the relay made it durable
			if err := disk.SyncDir(filepath.Dir(d)); err != nil {
				t.Fatal(err)
			}
		}
		if err := town.relay.start(disk); err != nil {
			t.Fatal(err)
		}
		w.address = protocol.Address{Hosts: []protocol.Host{{Name: "127.0.0.1:1"}}, Fingerprint: town.relay.relay.Fingerprint()}
		l := &line{net: town.net, rng: rand.New(rand.NewPCG(0, 0)), lag: time.Millisecond}
		keep := func(name string, p *client.Profile, err error) {
			if err != nil {
				t.Fatal(err)
			}
			w.keys[name] = p.Key()
			p.Close()
		}
		for i, name := range hosts {
			text, err := town.relay.relay.NewGrant(queues+i, 1000*time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			grant, err := protocol.ParseGrant(text)
			if err != nil {
				t.Fatal(err)
			}
			p, err := client.Create(t.Context(), filepath.Join(dir, name), []byte("correct horse"), client.Setup{Name: name, Relay: w.address,
				Grant: grant, Keep: 30 * 24 * time.Hour, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) { return l.dial(ctx) }})
			keep(name, p, err)
		}
		for _, name := range guests {
			p, err := client.CreateGuest(t.Context(), filepath.Join(dir, name), []byte("correct horse"), name, 30*24*time.Hour)
			keep(name, p, err)
		}
		town.relay.shutDown()
		w.db, w.disk = town.relay.found, town.relay.disk.FS.AfterKill()
	})
	return w
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

// settle makes the town as it was founded, for so many people.
func (w *founding) settle(t *town, nHosts, nGuests int) error {
	for i, name := range append(hosts[:nHosts:nHosts], guests[:nGuests]...) {
		p := &person{t: t, name: name, host: i < nHosts, rng: t.stream(1, uint64(i)), key: w.keys[name], looked: t.begun,
			line:   &line{net: t.net, rng: t.stream(2, uint64(i)), lag: 10 * time.Millisecond, byte: time.Microsecond},
			labels: map[*person]string{}, bonds: map[*person]*bond{}}
		home := p.home()
		if err := copyFolder(filepath.Join(w.dir, name), home); err != nil {
			return err
		}
		q := p.open(home)
		if q == nil {
			return nil
		}
		p.life.Store(q)
		t.people = append(t.people, p)
	}
	if err := os.WriteFile(t.relay.db(), w.db, 0o600); err != nil {
		return err
	}
	return t.relay.start(w.disk.AfterPowerLoss(t.stream(5))) // all of it is durable: a copy
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

// calm lets everything arrive: what was sent, then the receipts, for which a full
// hour must pass. Where that is not enough, since a relay told to wait, it goes on.
func (t *town) calm() {
	t.note("town", "calm")
	for round := 0; round < 4 || round < 12 && !t.settled(); round++ {
		for _, p := range t.people {
			p.settleDown()
		}
		if round%2 == 1 {
			time.Sleep(61 * time.Minute)
		}
	}
}

// live has somebody follow while another sends, with nothing in the way: what came to
// the relay is shown at once.
func (t *town) live(r *rand.Rand) {
	p := t.people[r.IntN(len(t.people))]
	if p.process() == nil {
		return
	}
	from, _, b := p.friend()
	if from == nil || from.process() == nil || !b.intact() {
		return
	}
	p.settleDown()
	from.settleDown()
	ctx, cancel := context.WithCancel(p.process().ctx)
	ended := make(chan error)
	go func() {
		_, err := p.process().Receive(ctx, client.ReceiveOptions{Follow: true}, p.shows(p.process()))
		ended <- err
	}()
	time.Sleep(5 * time.Second)
	t.mu.Lock()
	label := from.labels[p]
	t.mu.Unlock()
	s := from.send(b, p, label, client.SendOptions{TTL: 24 * time.Hour, Until: client.DefaultUntil}, false)
	time.Sleep(time.Second)
	from.status(from.process().Profile)
	t.mu.Lock()
	if s != nil && s.onRelay && s.shown == 0 && s.envelopes == 1 {
		t.violation("%s follows, and was not shown %q a second after it came to the relay", p.name, first(s.body))
	}
	t.counts["live"]++
	t.mu.Unlock()
	cancel()
	if err := <-ended; err != nil {
		t.fail("%s follows with nothing in the way: %v", p.name, err)
	}
}

// settled tells whether nothing is owed any more.
func (t *town) settled() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !slices.ContainsFunc(t.all, func(s *said) bool { return s.lost(time.Now()) || s.untold(time.Now()) })
}

// settleDown receives what there is, with nothing in the way.
func (p *person) settleDown() {
	if p.process() == nil {
		return
	}
	contacts, err := p.process().Contacts()
	if err != nil {
		p.t.fail("%s's contacts: %v", p.name, err)
	}
	for _, c := range contacts {
		if c.MustAccept {
			p.expect("accept", p.process().Accept(c.Label))
		}
	}
	began := time.Now()
	report, err := p.process().Receive(p.process().ctx, client.ReceiveOptions{}, p.shows(p.process()))
	p.t.note(p.name, "receives %d in calm, queued %d: %v", report.Received, report.Queued, kind(err))
	if err != nil && !p.rolled() {
		p.t.fail("%s receives in calm: %v", p.name, err)
	}
	if err == nil {
		p.t.got(p, began)
	}
	p.status(p.process().Profile)
}

// judge is the judgement at the end of the calm.
func (t *town) judge() {
	clean := true
	t.mu.Lock()
	now := time.Now()
	missing := map[*bond]map[*person]int{}
	for _, s := range t.all {
		if missing[s.bond] == nil {
			missing[s.bond] = map[*person]int{}
		}
		if s.shown == 0 && s.accepted {
			missing[s.bond][s.to] += s.envelopes
		}
		if !s.accepted && s.shown > 0 {
			t.violation("%q was shown, and the profile that sent it knows nothing of it", first(s.body))
		}
		if s.lost(now) {
			t.violation("%q of %s to %s was lost", first(s.body), s.from.name, s.to.name)
		}
		if s.untold(now) {
			t.violation("%q of %s to %s was shown, and %s was never told", first(s.body), s.from.name, s.to.name, s.from.name)
		}
	}
	t.mu.Unlock()
	made := map[*bond]bool{}
	for _, p := range t.people {
		clean = clean && p.process() != nil && p.restores == 0
		for q, b := range p.bonds {
			made[b] = true
			if b.broken || b.rolled {
				clean = false
				continue
			}
			all, err := p.process().History(p.labels[q])
			if err != nil {
				t.fail("%s's history: %v", p.name, err)
			}
			gap := 0
			for _, m := range all {
				gap += m.Gap
			}
			if gap > missing[b][p] {
				t.fail("%s is told that %d are missing of %s, and %d are", p.name, gap, q.name, missing[b][p])
			}
		}
	}
	if t.counts["remove"] > 0 {
		clean = false
	}
	st, up := t.relay.status()
	if !up {
		t.fail("the relay is not up")
	}
	if clean && st.Envelopes > 0 {
		t.fail("%d envelopes are on the relay, and everything was collected", st.Envelopes)
	}
	t.grants()
}

// grants judges what is left of each host's grant: an invite takes two queues.
func (t *town) grants() {
	grants, err := t.relay.relay.Grants()
	if err != nil {
		t.fail("grants: %v", err)
	}
	for i, p := range t.people {
		if !p.host {
			continue
		}
		for _, g := range grants {
			if used := g.Queues - g.Left; g.Queues == queues+i && used > 2*max(1, p.invites) {
				t.fail("%s's grant was charged for %d queues, after %d invites", p.name, used, p.invites)
			}
		}
	}
}

// end lets the relay be away for longer than anything lives; then nothing is left.
func (t *town) end() {
	m := t.relay
	m.shutDown()
	time.Sleep(15 * 24 * time.Hour)
	m.again(nil)
	time.Sleep(90 * time.Second)
	if st, up := m.status(); !up || st.Envelopes != 0 || st.SpoolBytes != 0 {
		t.fail("after everything expired the relay has %d envelopes, in %d bytes", st.Envelopes, st.SpoolBytes)
	}
	m.shutDown()
	f, err := m.disk.FS.AfterKill().Open(filepath.Join(m.dir, "epochs"))
	if err != nil {
		t.fail("%v", err)
		return
	}
	size, _ := f.Size()
	b := make([]byte, size)
	f.ReadAt(b, 0)
	if len(bytes.Trim(b[4096:], "\x00")) > 0 {
		t.fail("after everything expired the relay has keys of epochs")
	}
}
