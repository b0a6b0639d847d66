package relay

import (
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"kin/internal/disk"
	"kin/protocol"
	"kin/relay/spool"
)

// session is the relay's only one.
func (s *stand) session() (one *session) {
	s.relay.mu.Lock()
	defer s.relay.mu.Unlock()
	for one = range s.relay.sessions {
	}
	return one
}

// TestTheLastHandleStopsNobody: a connection has 65,535 handles in its life; what comes
// under the last is sent, and the relay goes on.
func TestTheLastHandleStopsNobody(t *testing.T) {
	s := newStand(t, nil)
	p := s.dial()
	b, other := s.queue(p, true), s.queue(p, false)
	one := s.session()
	one.mu.Lock()
	one.last = 1<<16 - 2
	one.mu.Unlock()
	if sub := p.sub(b); sub.Handle != 1<<16-1 {
		t.Fatalf("handle %d", sub.Handle)
	}
	next[*protocol.Msg](p)
	s.want(p.code(p.putCmd(b, 1, sealed(1))), protocol.CodeOK)
	s.want(p.sub(other).Code, protocol.CodeSubscribers)
}

// gate is a disk on which the next reading waits, once it is shut.
type gate struct {
	disk.OS
	shut         atomic.Bool
	inside, open chan bool
}

func (g *gate) Open(name string) (disk.File, error)   { return g.wrap(g.OS.Open(name)) }
func (g *gate) Create(name string) (disk.File, error) { return g.wrap(g.OS.Create(name)) }

func (g *gate) wrap(f disk.File, err error) (disk.File, error) { return gated{f, g}, err }

type gated struct {
	disk.File
	*gate
}

func (g gated) ReadAt(b []byte, at int64) (int, error) {
	if g.shut.CompareAndSwap(true, false) {
		g.inside <- true
		<-g.gate.open
	}
	return g.File.ReadAt(b, at)
}

// TestNothingIsMissedWhileAnotherQueueIsRead: something is stored in a queue while the
// next is read, in which nothing is left.
func TestNothingIsMissedWhileAnotherQueueIsRead(t *testing.T) {
	dir := t.TempDir()
	s := newStand(t, func(c *Config) { c.Dir = dir })
	p := s.dial()
	a, b := s.queue(p, false), s.queue(p, true)
	p.ws.Close()
	s.end() // nothing is in memory any more
	disk := &gate{inside: make(chan bool), open: make(chan bool)}
	s = newStand(t, func(c *Config) { c.Dir, c.FS = dir, disk })
	r, w := s.dial(), s.dial()
	r.sub(a)
	if err := s.relay.sweepOnce(time.Now()); err != nil { // which reads too, once
		t.Fatal(err)
	}
	disk.shut.Store(true)
	r.send(r.subCmd(b))
	<-disk.inside
	s.want(w.code(w.cancelCmd(b, 0)), protocol.CodeOK)
	s.want(w.code(w.firstCmd(a, a.skey, 1, sealed(1))), protocol.CodeOK)
	close(disk.open)
	next[*protocol.Msg](r)
}

// TestNoMessageComesBeforeItsHandle: something is stored while a SUB is carried out.
func TestNoMessageComesBeforeItsHandle(t *testing.T) {
	inBubble(t, func(s *stand, p *peer) {
		b := s.queue(p, true)
		q, _ := s.relay.store.find(s.relay.store.receivers, b.receiver)
		if _, code := s.session().subscribe(q.spoolID()); code != protocol.CodeOK {
			t.Fatal(code)
		}
		s.relay.ready([]spool.QueueID{q.spoolID()})
		synctest.Wait()
		p.send(p.subCmd(b))
		as, err := p.frames()
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := as[0].(*protocol.Subbed); !ok {
			t.Errorf("%T came first", as[0])
		}
		next[*protocol.Msg](p)
	})
}

// TestNoMessageComesBehindAnUnsub: whose OK is given while the queue is read.
func TestNoMessageComesBehindAnUnsub(t *testing.T) {
	dir := t.TempDir()
	s := newStand(t, func(c *Config) { c.Dir = dir })
	p := s.dial()
	b := s.queue(p, true)
	p.ws.Close()
	s.end() // nothing is in memory any more
	disk := &gate{inside: make(chan bool), open: make(chan bool)}
	s = newStand(t, func(c *Config) { c.Dir, c.FS = dir, disk })
	p = s.dial()
	if err := s.relay.sweepOnce(time.Now()); err != nil { // which reads too, once
		t.Fatal(err)
	}
	disk.shut.Store(true)
	handle := p.sub(b).Handle
	<-disk.inside
	p.send(&protocol.Unsub{Corr: p.corr(), Handle: handle})
	one := s.session()
	until(t, "it is not answered", func() bool {
		one.mu.Lock()
		defer one.mu.Unlock()
		return len(one.out) > 0
	})
	close(disk.open)
	p.send(&protocol.Unsub{Corr: p.corr(), Handle: handle})
	for {
		as, err := p.frames()
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range as {
			switch a.(type) {
			case *protocol.Msg:
				t.Error("a message came for a queue that is read no more")
			case *protocol.Error: // the second UNSUB's
				return
			}
		}
	}
}

// until waits for what other goroutines do.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !is(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}
