//go:build linux

package sim

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
)

// copyFolder copies a folder of files; runs of zeros become holes.
func copyFolder(from, to string) error {
	names, err := os.ReadDir(from)
	if err == nil {
		err = os.Mkdir(to, 0o700)
	}
	for _, n := range names {
		if err == nil {
			err = copyFile(filepath.Join(from, n.Name()), filepath.Join(to, n.Name()))
		}
	}
	return err
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	b, zeros := make([]byte, 16<<10), make([]byte, 16<<10)
	size := int64(0)
	for {
		n, err := io.ReadFull(in, b)
		if n > 0 && !bytes.Equal(b[:n], zeros[:n]) {
			if _, err := out.WriteAt(b[:n], size); err != nil {
				return errors.Join(err, out.Close())
			}
		}
		size += int64(n)
		if err != nil {
			break
		}
	}
	return errors.Join(out.Truncate(size), out.Close())
}
