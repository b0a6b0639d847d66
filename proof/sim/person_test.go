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
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"kin/client"
	"kin/client/vault"
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
	backup string             // a copy of the profile that was made before
	calls  map[*person]string // what people are called in it
	looked time.Time

	// Guarded by town.mu.
	labels   map[*person]string
	bonds    map[*person]*bond
	tokens   []token // invites that came
	invites  int     // that were begun
	restores int
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
	if !kill || p.rng.IntN(4) > 0 {
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
		p.line.set(func() { p.line.fuse, p.line.burnt = 1+p.rng.IntN(30), die })
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

// expect fails on an error that nothing in the town explains.
func (p *person) expect(what string, err error) {
	var refusal *protocol.Refusal
	var refused *client.InviteRefusedError
	switch {
	case err == nil, errors.Is(err, client.ErrOffline), errors.Is(err, errDead), errors.Is(err, client.ErrMustAccept), errors.Is(err, client.ErrNotJoined):
		return
	case errors.As(err, &refused), errors.As(err, &refusal) && refusal.Code.Temporary():
		return
	case what == "send" && errors.As(err, &refusal) && refusal.Code == protocol.CodeUnknownQueue: // who was to read it has wiped their profile, or begun anew
		return
	case p.restored() && !errors.Is(err, vault.ErrDamaged): // an old copy lacks contacts, and has tickets that were used
		return
	}
	p.t.fail("%s: %s: %v", p.name, what, err)
}

// restored tells whether p went on with an old copy of the profile.
func (p *person) restored() bool {
	p.t.mu.Lock()
	defer p.t.mu.Unlock()
	return p.restores > 0
}

// act does one thing.
func (p *person) act() {
	if p.process() == nil {
		return
	}
	p.t.mu.Lock()
	waiting := len(p.tokens) > 0
	p.t.mu.Unlock()
	if p.t.copies && p.rng.IntN(6) == 0 {
		p.restore()
	}
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
		p.receive(client.ReceiveOptions{Wait: time.Second + time.Duration(p.rng.Int64N(int64(30*time.Second)))})
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

// kind is an error without what differs from run to run.
func kind(err error) string {
	if err == nil {
		return "ok"
	}
	return err.Error()
}
