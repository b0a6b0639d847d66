//go:build unix

package relay

import (
	"errors"
	"os"
	"syscall"
)

// turns lets one at a time through, in the order in which they came, and each only after
// Go's poller was asked what has arrived on all connections. Go asks when nothing can
// run, and else every 10 ms: those who always have something to do would have everybody
// else wait for so long.
type turns struct {
	line chan struct{} // the one who is next; the others wait to enter
	r, w *os.File      // a pipe, on which the poller calls who is next
	raw  syscall.RawConn
}

func (t *turns) open() (err error) {
	t.line = make(chan struct{}, 1)
	if t.r, t.w, err = os.Pipe(); err != nil {
		return err
	}
	t.raw, err = t.r.SyscallConn()
	return err
}

// close ends turns for which nobody waits any more.
func (t *turns) close() error {
	if t.r == nil {
		return nil
	}
	return errors.Join(t.r.Close(), t.w.Close())
}

// wait waits for a turn.
func (t *turns) wait() {
	t.line <- struct{}{}
	defer func() { <-t.line }()
	var b [1]byte
	called := false
	t.raw.Read(func(fd uintptr) bool {
		if !called {
			_, err := t.w.Write(b[:])
			called = true
			return err != nil // there is one that the poller has to find
		}
		_, err := syscall.Read(int(fd), b[:])
		return err != syscall.EAGAIN
	})
}
