//go:build unix

package kin_test

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"kin/client"
	"kin/protocol"
)

// scissors is a proxy that ends everything at the n-th piece that passes, before it
// is handed on.
type scissors struct {
	listener net.Listener

	mu    sync.Mutex
	to    string
	left  int // pieces until the cut; below 0 nothing is cut
	atCut func()
	open  []net.Conn
}

func newScissors(t *testing.T) *scissors {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &scissors{listener: l, left: -1}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			to := s.to
			s.mu.Unlock()
			r, err := net.Dial("tcp", to)
			if err != nil {
				c.Close()
				continue
			}
			s.mu.Lock()
			s.open = append(s.open, c, r)
			s.mu.Unlock()
			all.Go(func() { s.pass(r, c) })
			all.Go(func() { s.pass(c, r) })
		}
	})
	t.Cleanup(func() { l.Close(); s.closeAll(); all.Wait() })
	return s
}

func (s *scissors) forwardTo(address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.to = address
}

func (s *scissors) closeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.open {
		c.Close()
	}
	s.open = nil
}

func (s *scissors) pass(to io.WriteCloser, from io.ReadCloser) {
	defer to.Close()
	defer from.Close()
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		if n > 0 && !s.piece() {
			return
		}
		if _, werr := to.Write(b[:n]); err != nil || werr != nil {
			return
		}
	}
}

// piece tells whether a piece may pass.
func (s *scissors) piece() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.left < 0:
		return true
	case s.left > 1:
		s.left--
		return true
	}
	if s.atCut != nil {
		s.atCut()
		s.atCut = nil
	}
	for _, c := range s.open {
		c.Close()
	}
	s.left = 1 // and everything after
	return false
}

// cutAt arms the scissors; disarm tells whether they cut.
func (s *scissors) cutAt(n int, atCut func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left, s.atCut = n, atCut
}

func (s *scissors) disarm() (cut bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	cut = s.left >= 0 && s.atCut == nil
	s.left, s.atCut = -1, nil
	return cut
}

// party is a profile whose process, or power, can fail.
type party struct {
	t    *testing.T
	dir  string
	disk disks
	key  []byte
	*client.Profile
}

// snapshot copies the profile between two of its commits; during runs before the
// next.
func (p *party) snapshot(during func()) (to string) {
	lock, err := os.Open(filepath.Join(p.dir, "lock"))
	if err != nil {
		p.t.Error(err)
		return to
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		p.t.Error(err)
	}
	to = p.disk.found(p.dir)
	during()
	return to
}

// disks are where folders lie, and what is found of one after a failure.
type disks interface {
	// place puts a copy of a folder onto a disk.
	place(folder string) string
	// found is the folder as a failure at this moment leaves it, as another one.
	found(folder string) string
	// done ends the use of all that were placed and found.
	done()
}

// processes are what ends: whatever was written is there.
type processes struct{ t *testing.T }

func (p processes) place(folder string) string { return copyFolder(p.t, folder) }
func (p processes) found(folder string) string { return copyFolder(p.t, folder) }
func (p processes) done()                      {}

// restart goes on with what lies in dir.
func (p *party) restart(dir string) {
	p.t.Helper()
	p.Close()
	opened, err := client.OpenKey(dir, p.key)
	if err != nil {
		p.t.Fatal("after the power failed:", err)
	}
	p.t.Cleanup(opened.Close)
	p.dir, p.Profile = dir, opened
}

// texts are what a person was shown.
type texts struct {
	mu  sync.Mutex
	all []string
}

func (s *texts) add(text string) { s.mu.Lock(); s.all = append(s.all, text); s.mu.Unlock() }
func (s *texts) len() int        { s.mu.Lock(); defer s.mu.Unlock(); return len(s.all) }
func (s *texts) cut(n int)       { s.mu.Lock(); s.all = s.all[:n]; s.mu.Unlock() }

// A first contact, from the join to the receipt, survives the loss of the
// connection and of the process at every piece that passes on the wire: nothing is
// lost, nothing comes twice, and whoever lost an answer asks again with the same
// bytes. What the process that ended would have done after the cut counts for nothing.
func TestFirstContactSurvivesEveryCut(t *testing.T) {
	everyCut(t, processes{t}, false)
}

// everyCut plays the first contact once for each piece on the wire, with disks on
// which the acting client's folder fails there, and the relay's too if it is told so.
func everyCut(t *testing.T, disk disks, relayToo bool) {
	s := newScissors(t)
	base := &host{t: t, dir: t.TempDir(), listen: "127.0.0.1:0"}
	base.start()
	behind := base.listen
	s.forwardTo(behind)
	base.listen = s.listener.Addr().String() // what clients are told
	kdir := filepath.Join(t.TempDir(), "k")
	k := base.caseworkerIn(kdir, "Mina")
	base.listen = behind
	token, _, err := k.Invite(t.Context(), "K7", 0)
	if err != nil {
		t.Fatal(err)
	}
	inv, err := protocol.ParseInvite(token)
	if err != nil {
		t.Fatal(err)
	}
	gdir := filepath.Join(t.TempDir(), "g")
	g, err := client.CreateGuest(t.Context(), gdir, passphrase, "Jun", 30*24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	base.stop()

	stride := 1          // pieces from one cut to the next
	if testing.Short() { // as under the race detector
		stride = 12
	}
	steps := []string{"join", "send", "receive", "reply", "receive the reply", "send again", "receive again"}
	for at, step := range steps {
		t.Run(step, func(t *testing.T) {
			first := 1 + at%stride // with a long stride, each step at another piece
			for n := first; ; n += stride {
				h := &host{t: t, dir: disk.place(base.dir), listen: "127.0.0.1:0"}
				h.start()
				s.forwardTo(h.listen)
				host := &party{t: t, dir: disk.place(kdir), disk: disk, key: k.Key()}
				guest := &party{t: t, dir: disk.place(gdir), disk: disk, key: g.Key()}
				for _, p := range []*party{host, guest} {
					if p.Profile, err = client.OpenKey(p.dir, p.key); err != nil {
						t.Fatal(err)
					}
				}
				var toHost, toGuest texts
				var before int // what the host or guest had been shown when the power failed
				wasCut := false
				do := func(i int, p *party, shown *texts, f func() error) {
					t.Helper()
					if i != at {
						if err := f(); err != nil {
							t.Fatalf("%s, after a cut at piece %d of %s: %v", steps[i], n, step, err)
						}
						return
					}
					var snap, relaySnap string
					s.cutAt(n, func() {
						if relayToo {
							relaySnap = disk.found(h.dir)
						}
						snap = p.snapshot(func() { before = shown.len() })
					})
					err := f()
					if wasCut = s.disarm(); !wasCut {
						if err != nil {
							t.Fatalf("%s: %v", step, err)
						}
						return
					}
					shown.cut(before)
					if relayToo {
						h.stop()
						h.dir, h.listen = relaySnap, "127.0.0.1:0"
						h.start()
						s.forwardTo(h.listen)
					}
					p.restart(snap)
					if err := f(); err != nil {
						t.Fatalf("%s again, after a cut at piece %d: %v", step, n, err)
					}
				}
				joined := func() error {
					if cs, err := guest.Contacts(); err == nil && len(cs) == 1 && cs[0].Joined {
						return nil
					}
					_, err := guest.Join(t.Context(), inv, "", "")
					return err
				}
				sent := map[string]client.Sent{}
				sendOnce := func(p *party, to, text string) func() error {
					return func() error {
						all, err := p.Status()
						if err != nil {
							return err
						}
						for _, st := range all { // it was accepted before the power failed
							if st.ID == sent[text].ID {
								_, err := p.Sync(t.Context(), 0)
								return err
							}
						}
						sent[text], err = p.Send(t.Context(), to, text, client.SendOptions{})
						return err
					}
				}
				collect := func(p *party, into *texts) func() error {
					return func() error {
						_, err := p.Receive(t.Context(), client.ReceiveOptions{}, func(ms []client.Message) error {
							for _, m := range ms {
								into.add(m.Text)
							}
							return nil
						})
						return err
					}
				}
				do(0, guest, new(texts), joined)
				do(1, guest, new(texts), sendOnce(guest, "Mina", "one"))
				do(2, host, &toHost, collect(host, &toHost))
				do(3, host, new(texts), sendOnce(host, "K7", "two"))
				do(4, guest, &toGuest, collect(guest, &toGuest))
				do(5, guest, new(texts), sendOnce(guest, "Mina", "three")) // and a receipt with it
				do(6, host, &toHost, collect(host, &toHost))
				if !slices.Equal(toHost.all, []string{"one", "three"}) || !slices.Equal(toGuest.all, []string{"two"}) {
					t.Fatalf("cut at piece %d: the host was shown %q, the guest %q", n, toHost.all, toGuest.all)
				}
				for text, p := range map[string]*party{"one": guest, "two": host} {
					if got := state(t, p.Profile, sent[text]); got != client.StateDelivered {
						t.Errorf("cut at piece %d: %q is %s at its sender", n, text, got)
					}
				}
				host.Close()
				guest.Close()
				h.stop()
				disk.done()
				if !wasCut {
					if n == first {
						t.Fatalf("nothing was cut at piece %d", n)
					}
					t.Logf("fewer than %d pieces", n)
					return
				}
			}
		})
	}
}
