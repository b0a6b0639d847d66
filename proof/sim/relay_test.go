//go:build linux

package sim

import (
	"context"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"kin/internal/disk/disktest"
	"kin/relay"
)

// machine is what the relay runs on, life after life.
type machine struct {
	t   *town
	dir string // for relay.db; on the disk in memory the same name

	mu     sync.Mutex // guards what follows
	disk   *hardDisk
	relay  *relay.Relay // nil while it is down
	server *http.Server
	listen *listener
	found  []byte // relay.db as the last life left it
	buried chan struct{}
}

func (m *machine) db() string { return filepath.Join(m.dir, "relay.db") }

// start opens the relay on a disk.
func (m *machine) start(on *disktest.FS) error {
	d := &hardDisk{FS: on}
	d.stopped = func() { m.died(d) }
	m.mu.Lock()
	m.disk, m.found = d, nil
	m.mu.Unlock()
	r, err := relay.Open(relay.Config{Dir: m.dir, FS: d, Unread: m.t.unread, Urgent: m.t.unread / 4})
	if err != nil {
		return err
	}
	l := newListener()
	server := &http.Server{Handler: r, ErrorLog: log.New(io.Discard, "", 0)}
	m.mu.Lock()
	m.relay, m.server, m.listen, m.buried = r, server, l, make(chan struct{})
	m.mu.Unlock()
	m.t.net.mu.Lock()
	m.t.net.relay = l
	m.t.net.mu.Unlock()
	go server.Serve(l)
	return nil
}

// unplug takes the relay off the network, and returns what is left of it.
func (m *machine) unplug() (r *relay.Relay, buried chan struct{}) {
	m.mu.Lock()
	r, server, l := m.relay, m.server, m.listen
	m.relay = nil
	buried = m.buried
	m.mu.Unlock()
	if r == nil {
		return nil, buried
	}
	m.t.net.mu.Lock()
	m.t.net.relay = nil
	m.t.net.mu.Unlock()
	l.Close()
	go server.Close()
	return r, buried
}

// died is the moment at which a life ends: nothing leaves the machine any more, and
// relay.db is found as its last commit left it. What is still running then can't
// reach anything, and is buried.
func (m *machine) died(d *hardDisk) {
	db, err := os.ReadFile(m.db())
	if err != nil {
		m.t.fail("relay.db can't be read: %v", err)
	}
	m.mu.Lock()
	m.found = db
	m.mu.Unlock()
	r, buried := m.unplug()
	m.t.net.cut(func(*wire) bool { return true })
	if r == nil {
		return
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		r.Shutdown(ctx)
		close(buried)
	}()
}

// again starts the next life after a kill, or after a loss of power for which r
// chooses what is found.
func (m *machine) again(r *rand.Rand) {
	m.mu.Lock()
	d, buried, found := m.disk, m.buried, m.found
	m.mu.Unlock()
	<-buried
	if err := os.WriteFile(m.db(), found, 0o600); err != nil {
		m.t.fail("%v", err)
		return
	}
	on := d.FS.AfterKill()
	if r != nil {
		on = d.FS.AfterPowerLoss(r)
	}
	if err := m.start(on); err != nil {
		m.t.fail("the relay does not start again: %v", err)
		return
	}
	m.t.note("relay", "is up again")
}

// shutDown ends the relay politely.
func (m *machine) shutDown() {
	m.mu.Lock()
	d := m.disk
	m.mu.Unlock()
	r, buried := m.unplug()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := r.Shutdown(ctx); err != nil {
		m.t.note("relay", "shutdown: %v", err)
	}
	db, err := os.ReadFile(m.db())
	if err != nil {
		m.t.fail("%v", err)
	}
	m.mu.Lock()
	m.found = db
	m.mu.Unlock()
	d.mu.Lock()
	d.dead = true // should anything still run
	d.mu.Unlock()
	close(buried)
}

// status are the relay's totals, if it is up.
func (m *machine) status() (relay.Status, bool) {
	m.mu.Lock()
	r := m.relay
	m.mu.Unlock()
	if r == nil {
		return relay.Status{}, false
	}
	return r.Status(), true
}

// downtime is how long the relay is away: seconds, hours or days.
func downtime(r *rand.Rand) time.Duration {
	switch r.IntN(12) {
	case 0:
		return 20*time.Hour + time.Duration(r.Int64N(int64(60*time.Hour)))
	case 1, 2, 3:
		return 5*time.Minute + time.Duration(r.Int64N(int64(2*time.Hour)))
	}
	return time.Second + time.Duration(r.Int64N(int64(time.Minute)))
}

// trouble does one thing to the relay, and sees to it that it is up afterwards.
func (m *machine) trouble(r *rand.Rand) {
	m.mu.Lock()
	d := m.disk
	m.mu.Unlock()
	kind := r.IntN(8)
	away := downtime(r)
	op := 1 + r.IntN(40)
	wait := time.Duration(r.Int64N(int64(20 * time.Second)))
	switch kind {
	case 0, 1, 2, 3: // a kill or a power loss, now or at an operation
		power := kind%2 == 0
		if kind < 2 {
			d.stop()
		} else {
			d.StopAt(d.Ops() + op)
			time.Sleep(wait)
			d.stop() // if it was not reached
		}
		m.t.count([]string{"relay loses power", "relay is killed", "relay loses power in an operation", "relay is killed in an operation"}[kind])
		m.t.note("relay", "ends (%d), for %v", kind, away)
		time.Sleep(away)
		if power {
			m.again(r)
		} else {
			m.again(nil)
		}
	case 4:
		m.t.count("relay is restarted")
		m.t.note("relay", "restarts, for %v", away)
		m.shutDown()
		time.Sleep(away)
		m.again(nil)
	case 5, 6:
		m.t.count("disk error")
		m.t.note("disk", "error at %d", op)
		d.FailAt(d.Ops()+op, []error{syscall.EIO, syscall.ENOSPC}[kind-5])
		time.Sleep(wait)
		d.FailAt(0, nil)
	case 7:
		m.t.count("disk is full")
		m.t.note("disk", "full")
		d.fill(true)
		time.Sleep(wait)
		if r.IntN(2) == 0 { // a new life needs room at once
			m.shutDown()
			m.again(nil)
			m.mu.Lock()
			d = m.disk
			m.mu.Unlock()
			d.fill(true)
			time.Sleep(wait)
		}
		d.fill(false)
	}
}
