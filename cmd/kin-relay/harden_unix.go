//go:build unix

package main

import (
	"fmt"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// openToOthers: permissions tell who can open a folder.
const openToOthers = true

// harden keeps what the relay writes from others, its memory off the disk and out of the
// log, and raises the descriptor limit as far as it goes.
func harden() {
	endQuietly()
	unix.Umask(0o077)
	unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &l) == nil {
		l.Cur = l.Max
		unix.Setrlimit(unix.RLIMIT_NOFILE, &l)
	}
}

// endQuietly has the signal of systemd's watchdog, and the one of a terminal's Ctrl-\, end
// the process alone: Go would write what each goroutine is at, and there are ids in that.
func endQuietly() {
	ends := make(chan os.Signal, 1)
	signal.Notify(ends, unix.SIGABRT, unix.SIGQUIT)
	go func() { <-ends; os.Exit(2) }()
}

// descriptors is how many files and connections this process may have open.
func descriptors() int {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil || l.Cur > 1<<20 {
		return 1 << 20
	}
	return int(l.Cur)
}

// sameStream tells whether a file is the DEVICE:INODE of JOURNAL_STREAM.
func sameStream(f *os.File, stream string) bool {
	var st unix.Stat_t
	return unix.Fstat(int(f.Fd()), &st) == nil && fmt.Sprintf("%d:%d", st.Dev, st.Ino) == stream
}
