package vault

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"kin/internal/slots"
)

// ErrForeign is returned by Create and Wipe for a folder in which a file has the name of one
// of a profile's, and is somebody else's.
var ErrForeign = errors.New("the folder holds files that are not Kin's")

// foreign looks for such a file. One file that shows whose it is speaks for all, for those of
// a profile may be damaged; and what holds nothing is nobody's loss.
func foreign(dir string) error {
	var found error
	for _, name := range []string{slotsName, recordsName, newName, lockName} {
		path := filepath.Join(dir, name)
		switch shows, blank, err := look(path); {
		case shows:
			return nil
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			found = errors.Join(found, err)
		case !blank:
			found = errors.Join(found, fmt.Errorf("%w: %s", ErrForeign, path))
		}
	}
	return found
}

// look tells whether a file shows that it is a profile's, or holds nothing.
func look(path string) (shows, blank bool, err error) {
	if st, err := os.Stat(path); err != nil || !st.Mode().IsRegular() {
		return false, false, err
	}
	f, err := os.Open(path)
	if err != nil {
		return false, false, err
	}
	defer f.Close()
	b := make([]byte, 2*pageSize)
	n, err := io.ReadFull(f, b)
	if b = b[:n]; slots.Known(b) || isDatabase(b) {
		return true, false, nil
	}
	for err == nil && zero(b) {
		n, err = io.ReadFull(f, b)
		b = b[:n]
	}
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return false, zero(b), nil
	}
	return false, false, err
}

// isDatabase tells whether one of bbolt's meta pages is where it should be.
func isDatabase(b []byte) bool {
	for at := pageHeaderSize; at+4 <= len(b); at += pageSize {
		if le.Uint32(b[at:]) == boltMagic {
			return true
		}
	}
	return false
}

func zero(b []byte) bool { return bytes.Count(b, []byte{0}) == len(b) }
