//go:build unix

package turns

import (
	"errors"
	"os"
	"runtime"
	"syscall"
	"time"
)

// Turns calls those who wait, one at a time, in the order in which they came. A turn is
// over when it has come: nobody waits for what is done with it.
type Turns struct {
	line  chan struct{} // the one who is next; the others wait to enter
	r, w  *os.File      // a pipe, on which the poller calls who is next
	raw   syscall.RawConn
	every time.Duration
	away  func() bool
	asked time.Time // the poller, last; of who is next
}

// Open makes its pipe. The poller is asked no more often than every so long: meanwhile a
// turn comes at once. away tells whether threads of this process are at the disk.
func Open(every time.Duration, away func() bool) (*Turns, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	t := &Turns{line: make(chan struct{}, 1), r: r, w: w, every: every, away: away}
	if err = r.SetReadDeadline(time.Time{}); err == nil { // else the poller does not watch it
		t.raw, err = r.SyscallConn()
	}
	if err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

// Close removes the pipe. Whoever waits goes on without a turn.
func (t *Turns) Close() error { return errors.Join(t.r.Close(), t.w.Close()) }

// Wait waits for a turn.
func (t *Turns) Wait() {
	t.line <- struct{}{}
	defer func() { <-t.line }()
	if time.Since(t.asked) < t.every {
		return
	}
	var b [1]byte
	called := false
	t.raw.Read(func(fd uintptr) bool {
		if !called {
			_, err := t.w.Write(b[:])
			called = true
			return err != nil // a byte for the poller to find
		}
		for {
			if _, err := syscall.Read(int(fd), b[:]); err != syscall.EINTR {
				return err != syscall.EAGAIN
			}
		}
	})
	if t.away() {
		yield()
	}
	runtime.Gosched() // what the poller found last runs first
	t.asked = time.Now()
}
