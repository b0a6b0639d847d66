//go:build unix

package main

import (
	"io/fs"

	"golang.org/x/sys/unix"
)

// harden keeps what kin writes from others, and its memory off the disk.
func harden() {
	unix.Umask(0o077)
	unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	undumpable()
}

// othersRead tells whether the file is open to more than its owner.
func othersRead(info fs.FileInfo) bool { return info.Mode().IsRegular() && info.Mode()&0o077 != 0 }
