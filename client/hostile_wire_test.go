package client

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	mrand "math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"kin/protocol"
)

var wireSchedules = flag.Int("wire", 60, "schedules of a malicious relay, over its link")

// folk is a caseworker with two contacts, G and H, and these two, on one liar.
type folk struct {
	t      *testing.T
	liar   *liar
	dir    string
	rng    *mrand.Rand
	people []*wirePerson
	said   map[string]*saying // by text
	calm   bool               // no time passes in which a message dies
	err    error
}

type wirePerson struct {
	name   string
	p      *Profile
	key    []byte
	others map[string]string // label to name
	shown  map[uuid.UUID]bool
	texts  map[string]bool // shown
}

type saying struct {
	id        uuid.UUID
	from, to  string
	until     time.Time
	cancelled bool
	before    bool // since then K and G began anew
}

func (f *folk) wrong(format string, a ...any) {
	if f.err == nil {
		f.err = fmt.Errorf(format, a...)
	}
}

func (f *folk) note(format string, a ...any) {
	f.liar.mu.Lock()
	defer f.liar.mu.Unlock()
	f.liar.trace = append(f.liar.trace, "* "+fmt.Sprintf(format, a...))
}

func (f *folk) path(name string) string { return filepath.Join(f.dir, name) }

// makeFolk makes the three profiles, before the relay begins to lie.
func makeFolk(t *testing.T, dir string) *folk {
	f := &folk{t: t, dir: dir}
	synctest.Test(t, func(t *testing.T) {
		l, err := newLiar()
		if err != nil {
			t.Fatal(err)
		}
		f.liar = l
		l.start()
		defer l.stop()
		k, err := create(t.Context(), f.path("K"), []byte("x"), cheap, Setup{Name: "K", Relay: l.address, Keep: 60 * 24 * time.Hour}, l.dial)
		if err != nil {
			t.Fatal(err)
		}
		f.people = append(f.people, &wirePerson{name: "K", p: k, key: k.Key(), others: map[string]string{"G": "G", "H": "H"}})
		for _, name := range []string{"G", "H"} {
			g, err := makeProfile(f.path(name), []byte("x"), cheap, 60*24*time.Hour, &self{Name: name}, l.dial)
			if err != nil {
				t.Fatal(err)
			}
			f.people = append(f.people, &wirePerson{name: name, p: g, key: g.Key(), others: map[string]string{"K": "K"}})
			if err := f.join(t.Context(), k, g, name, ""); err != nil {
				t.Fatal(err)
			}
			if _, err := k.Receive(t.Context(), ReceiveOptions{}, func([]Message) error { return nil }); err != nil {
				t.Fatal(err)
			}
		}
		for _, p := range f.people {
			p.p.Close()
		}
	})
	return f
}

func (f *folk) join(ctx context.Context, k, g *Profile, label, as string) error {
	token, _, err := k.Invite(ctx, label, 0)
	if err != nil {
		return err
	}
	inv, err := protocol.ParseInvite(token)
	if err != nil {
		return err
	}
	_, err = g.Join(ctx, inv, "", as)
	return err
}

// begin opens a copy of f and its relay. It and all that follows is in a bubble.
func (f *folk) begin(t *testing.T, dir string, seed uint64) (*folk, error) {
	s := &folk{t: t, liar: f.liar.clone(seed), dir: dir, rng: mrand.New(mrand.NewPCG(seed, 4)), said: map[string]*saying{}}
	s.liar.start()
	for _, p := range f.people {
		if err := os.CopyFS(s.path(p.name), os.DirFS(f.path(p.name))); err != nil {
			return s, err
		}
		c := &wirePerson{name: p.name, key: p.key, others: maps.Clone(p.others), shown: map[uuid.UUID]bool{}, texts: map[string]bool{}}
		s.people = append(s.people, c)
		if err := s.open(c); err != nil {
			return s, err
		}
	}
	return s, nil
}

// end closes it, and returns what was wrong.
func (s *folk) end() error {
	for _, p := range s.people {
		p.p.Close()
	}
	s.liar.stop()
	synctest.Wait()
	s.liar.mu.Lock()
	defer s.liar.mu.Unlock()
	return errors.Join(s.err, s.liar.err)
}

// schedule is what a seed says that people do and a relay lies.
func (f *folk) schedule(t *testing.T, dir string, seed uint64) (*folk, error) {
	s, err := f.begin(t, dir, seed)
	if err != nil {
		return s, err
	}
	s.calm = s.rng.IntN(3) > 0
	s.liar.rate = []int{5, 15, 30, 60}[s.rng.IntN(4)]
	for range 3 + s.rng.IntN(8) {
		if s.err == nil {
			s.step()
		}
	}
	if s.err == nil && s.rng.IntN(3) == 0 {
		s.heal()
	}
	return s, s.end()
}

func (s *folk) open(p *wirePerson) (err error) {
	if p.p != nil {
		p.p.Close()
	}
	if p.p, err = OpenKey(s.path(p.name), p.key); err == nil {
		p.p.Dial = s.liar.dial
	}
	return err
}

// step is one command of somebody, or time.
func (s *folk) step() {
	p := s.people[s.rng.IntN(2)]
	if s.rng.IntN(6) == 0 {
		p = s.people[2]
	}
	switch k := s.rng.IntN(20); {
	case k < 7:
		s.say(p)
	case k < 15:
		s.receive(p)
	case k < 16:
		s.takeBack(p)
	case k < 17:
		s.note("%s: the process ends", p.name)
		if err := s.open(p); err != nil {
			s.wrong("%s: %w", p.name, err)
		}
	case k < 18:
		s.rejoin()
	default:
		d := time.Duration(1+s.rng.IntN(180)) * time.Minute
		if s.rng.IntN(3) == 0 {
			d = time.Duration(1+s.rng.IntN(36)) * time.Hour
		}
		if !s.calm && s.rng.IntN(3) == 0 {
			d = time.Duration(4+s.rng.IntN(14)) * 24 * time.Hour
		}
		s.note("%v pass", d)
		time.Sleep(d)
	}
	s.look()
}

func (s *folk) say(p *wirePerson) {
	labels := slices.Sorted(maps.Keys(p.others))
	label := labels[s.rng.IntN(len(labels))]
	text := fmt.Sprintf("%s to %s, %d", p.name, p.others[label], len(s.said))
	if s.rng.IntN(12) == 0 {
		text += strings.Repeat("…", 700)
	}
	o := SendOptions{QueueOnly: s.rng.IntN(3) == 0, Urgent: s.rng.IntN(4) == 0, Until: DefaultUntil}
	if s.rng.IntN(10) == 0 {
		o.Until = 3 * time.Hour
	}
	s.note("%s says %d bytes to %s", p.name, len(text), label)
	now := time.Now()
	sent, err := p.p.Send(s.t.Context(), label, text, o)
	if err != nil && !s.allowed(err) && !errors.Is(err, ErrMustAccept) {
		s.wrong("%s sends: %w", p.name, err)
	}
	if sent.ID != (uuid.UUID{}) {
		s.said[text] = &saying{id: sent.ID, from: p.name, to: p.others[label], until: now.Add(o.Until)}
	}
}

// allowed are the errors that a lying relay may bring about: to be offline, to be
// refused, or to be caught.
func (s *folk) allowed(err error) bool {
	var refusal *protocol.Refusal
	for _, e := range []error{ErrOffline, ErrInviteState, ErrTampered, protocol.ErrFingerprint, protocol.ErrVersion} {
		if errors.Is(err, e) {
			return true
		}
	}
	return errors.As(err, &refusal)
}

func (s *folk) receive(p *wirePerson) {
	s.note("%s receives", p.name)
	ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Minute)
	defer cancel()
	r, err := p.p.Receive(ctx, ReceiveOptions{}, func(ms []Message) error { return s.show(p, ms) })
	if err != nil && !s.allowed(err) {
		s.wrong("%s receives: %w", p.name, err)
	}
	s.accept(p)
	for _, e := range r.Events {
		if e.Kind == EventStopped || e.Kind == EventNewerCopy || e.Kind == EventForked || e.Kind == EventOtherGuest {
			s.wrong("%s is told %q of %s, and everybody is honest", p.name, e.Kind, e.Contact)
		}
	}
}

// accept has a person go on with whatever new session there is.
func (s *folk) accept(p *wirePerson) {
	for label := range p.others {
		if _, err := p.p.Accept(label); err != nil {
			s.wrong("%s accepts: %w", p.name, err)
		}
	}
}

// show is what a person reads: what was said to them by that contact, once.
func (s *folk) show(p *wirePerson, ms []Message) error {
	for _, m := range ms {
		if p.shown[m.ID] {
			s.wrong("%s is shown %v a second time", p.name, m.ID)
		}
		p.shown[m.ID] = true
		if m.Note != "" {
			if m.Note != NoteTakenBack && m.Note != NoteLost {
				s.wrong("%s is shown the note %q", p.name, m.Note)
			}
			continue
		}
		said := s.said[m.Text]
		if said == nil || said.id != m.ID || said.to != p.name || said.from != p.others[m.Contact] {
			s.wrong("%s is shown %.60q from %s, which was not said", p.name, m.Text, m.Contact)
		}
		if p.texts[m.Text] {
			s.wrong("%s is shown %.60q a second time", p.name, m.Text)
		}
		p.texts[m.Text] = true
	}
	return nil
}

func (s *folk) takeBack(p *wirePerson) {
	for _, said := range s.said {
		if said.from != p.name || said.cancelled {
			continue
		}
		st, err := p.p.Cancel(s.t.Context(), said.id)
		if err != nil && !s.allowed(err) {
			s.wrong("%s cancels: %w", p.name, err)
		}
		said.cancelled = st.State == StateCancelled
		s.note("%s takes a text back: %s", p.name, st.State)
		return
	}
}

// rejoin begins a new session of K and G, which a relay may refuse.
func (s *folk) rejoin() {
	k, g := s.people[0].p, s.people[1].p
	s.note("K and G begin anew")
	if err := s.join(s.t.Context(), k, g, "G", "K"); err != nil && !s.allowed(err) {
		s.wrong("a new join: %w", err)
	}
	s.receive(s.people[0])
	for _, said := range s.said {
		said.before = true
	}
}

// look compares every history and every state with what was said.
func (s *folk) look() {
	had := map[string]map[string]bool{}
	for _, p := range s.people {
		had[p.name] = map[string]bool{}
		for label, from := range p.others {
			ms, err := p.p.History(label)
			if err != nil {
				s.wrong("%s's history: %w", p.name, err)
			}
			for _, m := range ms {
				if m.Direction == Out || m.Note != "" {
					continue
				}
				said := s.said[m.Text]
				if said == nil || said.id != m.ID || said.to != p.name || said.from != from || had[p.name][m.Text] {
					s.wrong("%s has %.60q from %s: not said so, or twice", p.name, m.Text, label)
				}
				had[p.name][m.Text] = true
			}
		}
		contacts, err := p.p.Contacts()
		if err != nil {
			s.wrong("%s's contacts: %w", p.name, err)
		}
		for _, c := range contacts {
			if c.Stopped {
				s.wrong("%s's session with %s stopped, and everybody is honest", p.name, c.Label)
			}
			if p.others[c.Label] == "" {
				s.wrong("%s has a contact %q", p.name, c.Label)
			}
		}
	}
	now := time.Now()
	byID := map[uuid.UUID]string{}
	for text, said := range s.said {
		byID[said.id] = text
	}
	for _, p := range s.people {
		all, err := p.p.Status()
		if err != nil {
			s.wrong("%s's states: %w", p.name, err)
		}
		for _, st := range all {
			text := byID[st.ID]
			said := s.said[text]
			if said == nil {
				s.wrong("%s has sent %v, and has not", p.name, st.ID)
				continue
			}
			switch st.State {
			case StateDelivered:
				if !had[said.to][text] {
					s.wrong("%s's %.60q is delivered, and %s does not have it", p.name, text, said.to)
				}
			case StateRead:
				s.wrong("%s's %.60q is read, and nobody tells that", p.name, text)
			case StateCancelled:
				if !said.cancelled {
					s.wrong("%s's %.60q is cancelled", p.name, text)
				}
			case StateExpiredUnread:
				if now.Before(said.until) {
					s.wrong("%s's %.60q is expired before its time", p.name, text)
				}
			}
			if now.Before(said.until) && st.State != StateDelivered && st.State != StateCancelled {
				s.kept(p, said)
			}
		}
		s.bounded(p)
	}
}

// kept: a text without a receipt is in the outbox until its deadline.
func (s *folk) kept(p *wirePerson, said *saying) {
	err := p.p.view(func(w *work) error {
		_, r, err := w.outgoing(said.id)
		if err != nil {
			return err
		}
		for _, pt := range r.Sent {
			o, err := getRecord[op](w, tableOutbox, pt.Op[:])
			if err != nil {
				return err
			}
			if o == nil && !pt.Delivered {
				s.wrong("%s's text %v has left the outbox", p.name, said.id)
			}
		}
		return nil
	})
	if err != nil {
		s.wrong("%s's outbox: %w", p.name, err)
	}
}

// bounded: what can't be opened does not fill a profile.
func (s *folk) bounded(p *wirePerson) {
	err := p.p.view(func(w *work) error {
		quarantined, held := 0, 0
		if err := w.tx.Each(tableQuarantine, func(_, _ []byte) error { quarantined++; return nil }); err != nil {
			return err
		}
		if err := w.tx.Each(tableHeld, func(_, _ []byte) error { held++; return nil }); err != nil {
			return err
		}
		if quarantined > maxQuarantine*len(p.others) || held > 2*maxHeld {
			s.wrong("%s keeps %d in quarantine and %d held", p.name, quarantined, held)
		}
		return nil
	})
	if err != nil {
		s.wrong("%s's records: %w", p.name, err)
	}
}

// heal has the relay become honest. Then all that is still to be delivered comes,
// once, and is known to have come.
func (s *folk) heal() {
	s.note("the relay becomes honest")
	s.liar.mu.Lock()
	s.liar.rate = 0
	s.liar.mu.Unlock()
	began := time.Now()
	for range 2 {
		for range 2 {
			for _, p := range s.people {
				s.receive(p)
			}
			time.Sleep(time.Hour)
		}
		time.Sleep(73 * time.Hour) // what the relay said that it has, and has not, is put again
	}
	for range 3 {
		for _, p := range s.people {
			s.receive(p)
		}
		time.Sleep(time.Hour)
	}
	s.look()
	states := map[uuid.UUID]State{}
	for _, p := range s.people {
		all, err := p.p.Status()
		if err != nil {
			s.wrong("%w", err)
		}
		for _, st := range all {
			states[st.ID] = st.State
		}
	}
	whole := map[[2]string]bool{}
	for text, said := range s.said {
		pair := [2]string{said.from, said.to}
		if _, ok := whole[pair]; !ok {
			whole[pair] = true
		}
		dead := said.cancelled || said.until.Before(began.Add(8*24*time.Hour))
		if dead || said.before { // what came in a new session leaves a gap in the old
			whole[pair] = false
		}
		if dead {
			continue
		}
		if states[said.id] != StateDelivered {
			s.wrong("%.60q is %s, days after the relay became honest", text, states[said.id])
		}
	}
	for _, p := range s.people {
		for label, from := range p.others {
			if !whole[[2]string{from, p.name}] {
				continue
			}
			ms, err := p.p.History(label)
			if err != nil {
				s.wrong("%w", err)
			}
			for _, m := range ms {
				if m.Gap > 0 || m.Note != "" {
					s.wrong("%s sees a gap of %d before %.40q %s from %s, and all was delivered", p.name, m.Gap, m.Text, m.Note, label)
				}
			}
		}
	}
}

// TestMaliciousRelayOnTheWire has real profiles talk with a relay that lies, on the
// link and in every answer.
func TestMaliciousRelayOnTheWire(t *testing.T) {
	if testing.Short() { // as under the race detector
		*wireSchedules = min(*wireSchedules, 5)
	}
	f := makeFolk(t, t.TempDir())
	counts := map[string]int{}
	n := 0
	for i := *seed; i < *seed+uint64(*wireSchedules) && !t.Failed(); i++ {
		dir := filepath.Join(t.TempDir(), fmt.Sprint(i))
		synctest.Test(t, func(t *testing.T) {
			s, err := f.schedule(t, dir, i)
			for kind, k := range s.liar.counts {
				counts[kind] += k
			}
			if err != nil {
				t.Errorf("%v\nschedule %d:\n  %s\nagain: go test ./client -run OnTheWire -args -seed %d -wire 1", err, i, strings.Join(s.liar.trace, "\n  "), i)
			}
		})
		os.RemoveAll(dir)
		n++
	}
	t.Logf("%d schedules", n)
	for _, kind := range slices.Sorted(maps.Keys(counts)) {
		t.Logf("%9d %s", counts[kind], kind)
	}
}
