//go:build unix

package relay

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

const canReadRaw = true

var errWouldBlock = unix.EAGAIN

// readRaw reads from a socket that does not block.
func readRaw(fd uintptr, b []byte) (int, error) {
	for {
		n, err := unix.Read(int(fd), b)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return 0, errWouldBlock
		case err != nil:
			return 0, os.NewSyscallError("read", err)
		case n == 0:
			return 0, io.EOF
		}
		return n, nil
	}
}
