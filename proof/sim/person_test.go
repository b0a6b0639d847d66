//go:build linux

package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/google/uuid"

	"kin/client"
	"kin/protocol"
)

// person is somebody with a profile.
type person struct {
	t    *town
	name string
	host bool // has a grant
	rng  *rand.Rand
	line *line
	key  []byte // of the profile

	life   atomic.Pointer[process] // nil once the profile is wiped
	homes  int
	backup string // a copy of the profile that was made before
	looked time.Time

	// Guarded by town.mu.
	labels   map[*person]string
	bonds    map[*person]*bond
	tokens   []token // invites that came
	invites  int     // that were begun
	restores int
}

// token is an invite on its way to a person.
type token struct {
	bond *bond
	text string
}

// process is the one that runs; nil once the profile is wiped.
func (p *person) process() *process { return p.life.Load() }

// process is one life of the client on a profile.
type process struct {
	*client.Profile
	dir  string
	dead atomic.Bool
	end  context.CancelFunc
	ctx  context.Context
}

var errDead = errors.New("the process is dead")

// open starts a process on a profile.
func (p *person) open(dir string) *process {
	profile, err := client.OpenKey(dir, p.key)
	if err != nil {
		p.t.fail("%s's profile does not open: %v", p.name, err)
		return nil
	}
	q := &process{Profile: profile, dir: dir}
	q.ctx, q.end = context.WithCancel(context.Background())
	profile.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
		if q.dead.Load() {
			return nil, errDead
		}
		return p.line.dial(ctx)
	}
	return q
}

// home is a new folder for the profile.
func (p *person) home() string {
	p.homes++
	return filepath.Join(p.t.dir, fmt.Sprintf("%s-%d", p.name, p.homes))
}

// copyTo copies the profile between two of its commits.
func (p *person) copyTo(dir string) {
	lock, err := os.Open(filepath.Join(p.process().dir, "lock"))
	if err == nil {
		defer lock.Close()
		err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX)
	}
	if err == nil {
		err = copyFolder(p.process().dir, dir)
	}
	if err != nil {
		p.t.fail("copying %s's profile: %v", p.name, err)
	}
}

// labelled is whom a label means to p. town.mu is held.
func (p *person) labelled(label string) *person {
	for q, l := range p.labels {
		if l == label {
			return q
		}
	}
	return nil
}

// has tells whether the profile of p has a text.
func (p *person) has(s *said) bool {
	p.t.mu.Lock()
	label, ok := p.labels[s.from]
	p.t.mu.Unlock()
	if !ok || p.process() == nil {
		return false
	}
	all, err := p.process().History(label)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(all, func(m client.Message) bool { return m.Direction == client.In && m.Text == s.body })
}

// try runs something that the process does, and maybe kills the process meanwhile:
// the next one goes on with what was on the disk at that moment. It tells whether it
// was killed.
func (p *person) try(kill bool, f func(*process) error) (killed bool, err error) {
	q := p.process()
	if !kill || p.rng.IntN(6) > 0 {
		return false, f(q)
	}
	to := p.home()
	var once sync.Once
	die := func() {
		once.Do(func() {
			p.copyTo(to)
			q.dead.Store(true)
			p.line.cut()
			q.end()
		})
	}
	if p.rng.IntN(3) == 0 {
		defer time.AfterFunc(time.Duration(p.rng.Int64N(int64(5*time.Second))), die).Stop()
	} else {
		p.line.set(func() { p.line.fuse, p.line.burnt = 1+p.rng.IntN(50), die })
	}
	err = f(q)
	p.line.set(func() { p.line.fuse, p.line.burnt = 0, nil })
	once.Do(func() {}) // now it lives, or has died
	if !q.dead.Load() {
		return false, err
	}
	p.t.count("client is killed")
	p.t.note(p.name, "is killed")
	q.Close()
	os.RemoveAll(q.dir)
	p.life.Store(p.open(to))
	return true, errDead
}

// shows is what Receive calls.
func (p *person) shows(q *process) func([]client.Message) error {
	return func(ms []client.Message) error {
		if q.dead.Load() {
			return errDead
		}
		p.t.show(p, ms)
		return nil
	}
}

// expected errors are those that a person can meet without anything being wrong.
func (p *person) expect(what string, err error) {
	var refusal *protocol.Refusal
	var refused *client.InviteRefusedError
	switch {
	case err == nil, errors.Is(err, client.ErrOffline), errors.Is(err, errDead), errors.Is(err, client.ErrMustAccept), errors.Is(err, client.ErrNotJoined):
		return
	case errors.As(err, &refused), errors.As(err, &refusal) && refusal.Code.Temporary():
		return
	case errors.Is(err, client.ErrStopped) && p.rolled():
		return
	}
	p.t.fail("%s: %s: %v", p.name, what, err)
}

func (p *person) rolled() bool {
	p.t.mu.Lock()
	defer p.t.mu.Unlock()
	for _, b := range p.bonds {
		if b.rolled {
			return true
		}
	}
	return false
}

// act does one thing.
func (p *person) act() {
	if p.process() == nil {
		return
	}
	p.t.mu.Lock()
	waiting := len(p.tokens) > 0
	p.t.mu.Unlock()
	switch n := p.rng.IntN(100); {
	case waiting && n < 60:
		p.join()
	case p.host && n < 12:
		p.invite()
	case n < 55:
		p.write()
	case n < 75:
		p.receive(client.ReceiveOptions{})
	case n < 80:
		p.receive(client.ReceiveOptions{Wait: time.Duration(1+p.rng.IntN(30)) * time.Second})
	case n < 86:
		p.follow()
	case n < 90:
		p.sync()
	case n < 94:
		p.cancel()
	case n < 96:
		p.check()
	case n < 97:
		p.rename()
	default:
		p.rare()
	}
	if p.process() != nil {
		p.status(p.process().Profile)
	}
}

// rare is what ends connections.
func (p *person) rare() {
	switch n := p.rng.IntN(12); {
	case n < 4:
		p.remove()
	case n < 5 && !p.host:
		p.wipe()
	case n < 8 && p.t.copies:
		p.restore()
	}
}

func (p *person) invite() {
	t := p.t
	t.mu.Lock()
	var free []*person
	for _, q := range t.people {
		if q != p && !q.host && q.process() != nil && p.bonds[q] == nil && !slices.ContainsFunc(q.tokens, func(k token) bool { return k.bond.host == p }) {
			free = append(free, q)
		}
	}
	t.mu.Unlock()
	if len(free) == 0 {
		return
	}
	q := free[p.rng.IntN(len(free))]
	expires := time.Duration(2+p.rng.IntN(40)) * time.Hour
	t.mu.Lock()
	p.invites++
	t.mu.Unlock()
	var text string
	_, err := p.try(true, func(c *process) (err error) {
		text, _, err = c.Invite(c.ctx, q.name, expires)
		return err
	})
	t.note(p.name, "invites %s: %v", q.name, kind(err))
	t.count("invite")
	p.expect("invite", err)
	if err != nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	q.tokens = append(q.tokens, token{&bond{host: p, guest: q, gaps: map[*person]int{}, unread: map[*person]bool{}}, text})
}

func (p *person) join() {
	t := p.t
	t.mu.Lock()
	k := p.tokens[0]
	host := k.bond.host
	label, known := p.labels[host]
	t.mu.Unlock()
	if !known {
		label = host.name
	}
	var err error
	if !p.joined(label, known) {
		invite, perr := protocol.ParseInvite(k.text)
		if perr != nil {
			t.fail("an invite does not parse: %v", perr)
			return
		}
		_, err = p.try(true, func(c *process) error {
			_, err := c.Join(c.ctx, invite, "", label)
			return err
		})
	}
	t.note(p.name, "joins %s: %v", host.name, kind(err))
	t.count("join")
	p.expect("join", err)
	done := err == nil || p.joined(label, known)
	var refused *client.InviteRefusedError
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case done:
		p.tokens = p.tokens[1:]
		p.labels[host], host.labels[p] = label, p.name
		p.bonds[host], host.bonds[p] = k.bond, k.bond
	case errors.As(err, &refused):
		t.counts["join refused: "+refused.State]++
		p.tokens = p.tokens[1:]
	}
}

// joined tells whether a join has come to its end: of a contact that p has had
// before, it makes one that must be accepted.
func (p *person) joined(label string, known bool) bool {
	all, err := p.process().Contacts()
	if err != nil {
		p.t.fail("%s's contacts: %v", p.name, err)
	}
	return slices.ContainsFunc(all, func(c client.Contact) bool {
		return c.Label == label && c.Joined && (!known || c.MustAccept)
	})
}

// friend is somebody that p is connected with.
func (p *person) friend() (q *person, label string, b *bond) {
	p.t.mu.Lock()
	defer p.t.mu.Unlock()
	var all []*person
	for _, q := range p.t.people {
		if p.bonds[q] != nil && p.labels[q] != "" && !slices.ContainsFunc(p.tokens, func(k token) bool { return k.bond.host == q }) {
			all = append(all, q)
		}
	}
	if len(all) == 0 {
		return nil, "", nil
	}
	q = all[p.rng.IntN(len(all))]
	return q, p.labels[q], p.bonds[q]
}

// write sends to somebody, or receives if there is nobody yet.
func (p *person) write() {
	q, label, b := p.friend()
	if q == nil {
		p.receive(client.ReceiveOptions{})
		return
	}
	r := p.rng
	o := client.SendOptions{Urgent: r.IntN(6) == 0, QueueOnly: r.IntN(8) == 0,
		TTL:   []time.Duration{time.Hour, 6 * time.Hour, 24 * time.Hour, 72 * time.Hour, 72 * time.Hour}[r.IntN(5)],
		Until: []time.Duration{2 * time.Hour, 24 * time.Hour, client.DefaultUntil, client.DefaultUntil}[r.IntN(4)]}
	if r.IntN(2) == 0 {
		o.Wait = time.Duration(r.Int64N(int64(time.Minute)))
	}
	p.send(b, q, label, o, true)
}

// send sends a text, and may be killed in it. nil: the profile did not take it.
func (p *person) send(b *bond, q *person, label string, o client.SendOptions, kill bool) *said {
	t := p.t
	s := p.says(b, q, o)
	var sent client.Sent
	killed, err := p.try(kill, func(c *process) (err error) {
		sent, err = c.Send(c.ctx, label, s.body, o)
		return err
	})
	t.note(p.name, "sends %q urgent %v ttl %v until %v: %s %v", first(s.body), o.Urgent, o.TTL, o.Until, sent.State, kind(err))
	t.count("send")
	p.expect("send", err)
	if killed {
		sent.ID = p.find(label, s.body)
	}
	if sent.ID == (uuid.UUID{}) {
		if errors.Is(err, client.ErrMustAccept) {
			p.expect("accept", p.process().Accept(label))
		}
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s.accepted, s.id = true, sent.ID
	if !killed {
		s.deadline = sent.Until
	}
	return s
}

// says makes a text, now and then one that takes several envelopes.
func (p *person) says(b *bond, to *person, o client.SendOptions) *said {
	p.t.mu.Lock()
	defer p.t.mu.Unlock()
	s := &said{n: len(p.t.all), bond: b, from: p, to: to, urgent: o.Urgent, ttl: o.TTL, envelopes: 1, began: time.Now()}
	s.deadline = s.began.Add(o.Until)
	s.body = fmt.Sprintf("%d %s to %s.", s.n, p.name, to.name)
	if p.rng.IntN(10) == 0 {
		s.envelopes = 2 + p.rng.IntN(2)
		s.body += strings.Repeat(" And so on.", s.envelopes*1400/11-10)
	}
	p.t.all = append(p.t.all, s)
	p.t.said[s.body] = s
	return s
}

// find looks in the profile for a text that a killed process was about to send.
func (p *person) find(label, body string) (id uuid.UUID) {
	all, err := p.process().History(label)
	if err != nil {
		p.t.fail("%s's history: %v", p.name, err)
	}
	for _, m := range all {
		if m.Direction == client.Out && m.Text == body {
			id = m.ID
		}
	}
	return id
}

func (p *person) receive(o client.ReceiveOptions) {
	began := time.Now()
	var report client.Report
	_, err := p.try(true, func(c *process) (err error) {
		report, err = c.Receive(c.ctx, o, p.shows(c))
		return err
	})
	p.t.note(p.name, "receives %d, queued %d: %v", report.Received, report.Queued, kind(err))
	p.t.count("receive")
	p.expect("receive", err)
	if err == nil && o.Wait == 0 {
		p.t.got(p, began)
	}
}

func (p *person) sync() {
	_, err := p.try(true, func(c *process) error {
		report, err := c.Sync(c.ctx, time.Duration(p.rng.IntN(90))*time.Second)
		p.t.note(p.name, "syncs, queued %d: %v", report.Queued, kind(err))
		return err
	})
	p.t.count("sync")
	p.expect("sync", err)
	if err == nil {
		if _, err := p.process().ShowNew("", p.shows(p.process())); err != nil && !errors.Is(err, client.ErrNoContact) {
			p.t.fail("%s: show: %v", p.name, err)
		}
	}
}

// follow keeps a conversation open for a while, in which p also sends.
func (p *person) follow() {
	long := time.Duration(5+p.rng.IntN(40)) * time.Second // awake, it looks at the profile every two seconds
	p.try(true, func(c *process) error {
		ctx, cancel := context.WithTimeout(c.ctx, long)
		defer cancel()
		ended := make(chan error)
		go func() {
			_, err := c.Receive(ctx, client.ReceiveOptions{Follow: true}, p.shows(c))
			ended <- err
		}()
		err := <-ended
		p.t.note(p.name, "followed: %v", kind(err))
		p.t.count("follow")
		p.expect("follow", err)
		return err
	})
}

func (p *person) cancel() {
	t := p.t
	t.mu.Lock()
	var mine []*said
	for _, s := range t.all {
		if s.from == p && s.accepted && !s.delivered && !s.cancelled {
			mine = append(mine, s)
		}
	}
	if len(mine) == 0 {
		t.mu.Unlock()
		return
	}
	s := mine[p.rng.IntN(len(mine))]
	s.cancelled = true
	t.mu.Unlock()
	_, err := p.try(true, func(c *process) error {
		st, err := c.Cancel(c.ctx, s.id)
		t.note(p.name, "takes back %q: %s %v", first(s.body), st.State, kind(err))
		return err
	})
	t.count("cancel")
	t.mu.Lock()
	intact := s.bond.intact()
	t.mu.Unlock()
	if intact || !errors.Is(err, client.ErrNoMessage) { // an old copy of the profile may not have it
		p.expect("cancel", err)
	}
}

func (p *person) check() {
	q, label, b := p.friend()
	if q == nil || q.process() == nil {
		return
	}
	p.t.mu.Lock()
	theirs, intact := q.labels[p], b.intact()
	p.t.mu.Unlock()
	if !intact {
		return
	}
	mine, _, err := p.process().Digits(label)
	if err != nil {
		return // not joined yet
	}
	other, _, err := q.process().Digits(theirs)
	if err != nil {
		return
	}
	p.t.mu.Lock()
	if mine != other && b.intact() {
		p.t.violation("%s and %s compare %s and %s", p.name, q.name, mine, other)
	}
	p.t.mu.Unlock()
	p.expect("check", p.process().SetChecked(label))
	p.t.count("check")
	p.t.note(p.name, "checks %s", q.name)
}

func (p *person) rename() {
	q, label, _ := p.friend()
	if q == nil {
		return
	}
	to := fmt.Sprintf("%s %c", q.name, 'a'+rune(p.rng.IntN(26)))
	if to == label {
		return
	}
	p.t.mu.Lock()
	defer p.t.mu.Unlock()
	if err := p.process().Rename(label, to); err != nil {
		p.t.violation("%s renames: %v", p.name, err)
		return
	}
	p.labels[q] = to
	p.t.counts["rename"]++
}

func (p *person) remove() {
	q, label, b := p.friend()
	if q == nil {
		return
	}
	p.t.mu.Lock()
	b.broken = true
	p.t.mu.Unlock()
	p.remember()
	err := p.process().Remove(p.process().ctx, label)
	p.t.note(p.name, "removes %s: %v", q.name, kind(err))
	p.t.count("remove")
	p.expect("remove", err)
	p.t.mu.Lock()
	defer p.t.mu.Unlock()
	delete(p.labels, q)
	delete(p.bonds, q)
}

func (p *person) wipe() {
	p.remember()
	p.t.mu.Lock()
	for _, b := range p.bonds {
		b.broken = true
	}
	p.tokens = nil
	p.t.mu.Unlock()
	p.t.count("wipe")
	p.t.note(p.name, "wipes")
	if err := client.Wipe(p.process().dir); err != nil {
		p.t.fail("%s wipes: %v", p.name, err)
	}
	p.process().Close()
	p.life.Store(nil)
}

// remember notes what p has had, before it is gone.
func (p *person) remember() {
	p.t.mu.Lock()
	all := slices.Clone(p.t.all)
	p.t.mu.Unlock()
	for _, s := range all {
		if s.to == p && p.has(s) {
			p.t.mu.Lock()
			s.committed = true
			p.t.mu.Unlock()
		}
	}
}

// restore goes on with an older copy of the profile, or makes one.
func (p *person) restore() {
	if p.backup == "" {
		p.backup = p.home()
		p.copyTo(p.backup)
		p.t.note(p.name, "copies the profile")
		return
	}
	p.remember()
	p.t.mu.Lock()
	p.restores++
	for _, b := range p.bonds {
		b.rolled = true
	}
	p.t.mu.Unlock()
	p.t.count("restore")
	p.t.note(p.name, "goes on with an old copy")
	p.process().Close()
	os.RemoveAll(p.process().dir)
	p.life.Store(p.open(p.backup))
	p.backup = ""
}

// kind is an error without what differs from run to run.
func kind(err error) string {
	if err == nil {
		return "ok"
	}
	return err.Error()
}
