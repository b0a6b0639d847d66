package disk

import (
	"os"

	"golang.org/x/sys/unix"
)

// datasync is fdatasync: the data and the size, not the times.
func datasync(f *os.File) error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); err != unix.EINTR {
			return err
		}
	}
}
