package relay

import (
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// lot is where connections wait for bytes without a goroutine, which would take 2.5 KB
// of memory each. It is an epoll instance that Go's own poller watches, so that nobody
// waits in a system call; it is opened for the first that waits.
type lot struct {
	mu      sync.Mutex
	file    *os.File
	fd      int        // of file
	at      []*session // by descriptor
	watched chan struct{}
}

// open opens the lot. mu is held.
func (l *lot) open() error {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	if err := unix.SetNonblock(fd, true); err != nil { // or Go's poller would not watch it
		unix.Close(fd)
		return err
	}
	f := os.NewFile(uintptr(fd), "epoll")
	raw, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return err
	}
	l.file, l.fd, l.watched = f, fd, make(chan struct{})
	go l.watch(raw)
	return nil
}

// close ends the lot, in which nobody waits any more.
func (l *lot) close() error {
	if l.file == nil {
		return nil
	}
	err := l.file.Close()
	<-l.watched
	return err
}

// park has a session wait here; once bytes are there, or the end, it goes on with wait
// in a goroutine. It tells whether the session can wait here.
func (l *lot) park(s *session) bool {
	if s.wire == nil {
		return false
	}
	var err error
	gone := s.wire.raw.Control(func(f uintptr) {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.file == nil {
			if err = l.open(); err != nil {
				return
			}
		}
		fd := int(f)
		if more := fd + 1 - len(l.at); more > 0 {
			l.at = append(l.at, make([]*session, more)...)
		}
		l.at[fd] = s
		e := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLONESHOT, Fd: int32(fd)}
		if err = unix.EpollCtl(l.fd, unix.EPOLL_CTL_MOD, fd, &e); err == unix.ENOENT {
			err = unix.EpollCtl(l.fd, unix.EPOLL_CTL_ADD, fd, &e)
		}
		if err != nil {
			l.at[fd] = nil
		}
	})
	return gone == nil && err == nil
}

// watch wakes sessions until close.
func (l *lot) watch(raw syscall.RawConn) {
	defer close(l.watched)
	events := make([]unix.EpollEvent, 128)
	for {
		var n int
		if raw.Read(func(fd uintptr) bool {
			n, _ = unix.EpollWait(int(fd), events, 0)
			return n > 0
		}) != nil {
			return
		}
		for _, e := range events[:n] {
			l.mu.Lock()
			s := l.at[e.Fd]
			l.at[e.Fd] = nil
			l.mu.Unlock()
			go s.wait()
		}
	}
}

// hangUp wakes whoever reads or writes, and who waits in the lot: closing would take
// the connection out of it.
func (w *wire) hangUp() {
	w.raw.Control(func(fd uintptr) { unix.Shutdown(int(fd), unix.SHUT_RDWR) })
}
