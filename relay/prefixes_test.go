package relay

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// from is a connection that comes from an address.
type from struct {
	net.Conn
	addr net.Addr
}

func (f from) RemoteAddr() net.Addr { return f.addr }

// TestAPrefixComesAtItsPace: of what comes from a prefix, 20 are let in at once and 10 a
// second; others, and what comes from this machine, are not held up by it.
func TestAPrefixComesAtItsPace(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r, err := Open(Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		come := func(n int, address string) (in int) {
			l := make(pipes, n)
			for range n {
				_, theirs := net.Pipe()
				l <- from{theirs, &net.TCPAddr{IP: net.ParseIP(address), Port: 1}}
			}
			close(l)
			for door := r.InTurn(l); ; in++ {
				if _, err := door.Accept(); err != nil {
					return in
				}
			}
		}
		for _, x := range []struct {
			after   time.Duration
			address string
			want    int
		}{
			{0, "192.0.2.1", 20},
			{0, "192.0.2.255", 0},
			{0, "192.0.3.1", 20},
			{time.Second, "192.0.2.77", 10},
			{0, "127.0.0.1", 100},
			{0, "::ffff:192.0.3.9", 10},
			{0, "2001:db8:0:1::1", 20},
			{0, "2001:db8:0:ffff::1", 0},
			{0, "2001:db8:1::1", 20},
			{0, "::1", 100},
		} {
			time.Sleep(x.after)
			if n := come(100, x.address); n != x.want {
				t.Errorf("%s, %v later: %d of 100 were let in, want %d", x.address, x.after, n, x.want)
			}
		}
		counted := func() int {
			r.mu.Lock()
			defer r.mu.Unlock()
			return len(r.prefixes.by)
		}
		if n := counted(); n != 4 {
			t.Errorf("%d prefixes are counted, want 4", n)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if n := counted(); n != 0 {
			t.Errorf("%d prefixes of which nothing is counted are kept", n)
		}
		if err := r.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

// TestAPrefixOpensSoMany: of one prefix, 64 websockets may wait for their link at a time.
func TestAPrefixOpensSoMany(t *testing.T) {
	r := &Relay{cfg: Config{Unlinked: 1000, Connections: 1000}}
	r.prefixes.reset()
	open := func(address string) (n int) {
		for range 100 {
			if _, ok := r.admit(address); ok {
				n++
			}
		}
		return n
	}
	if a, b, c := open("192.0.2.1:1"), open("192.0.3.1:1"), open("127.0.0.1:1"); a != 64 || b != 64 || c != 100 {
		t.Errorf("%d and %d of a prefix, %d of this machine; want 64, 64, 100", a, b, c)
	}
	r.dismiss(r.prefixes.of("192.0.2.9:9"))
	if n := open("192.0.2.1:1"); n != 1 {
		t.Errorf("%d when one has ended, want 1", n)
	}
}
