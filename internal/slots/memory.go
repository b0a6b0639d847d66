package slots

import "io"

// memory is a disk.File in RAM, of fixed size.
type memory []byte

func (m memory) ReadAt(p []byte, off int64) (int, error) {
	n := copy(p, m[min(off, int64(len(m))):])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (m memory) WriteAt(p []byte, off int64) (int, error) {
	n := copy(m[min(off, int64(len(m))):], p)
	if n < len(p) {
		return n, io.ErrShortWrite
	}
	return n, nil
}

func (m memory) Truncate(size int64) error {
	if size != int64(len(m)) {
		return io.ErrShortWrite
	}
	return nil
}

func (m memory) Sync() error          { return nil }
func (m memory) Size() (int64, error) { return int64(len(m)), nil }

func (m memory) Close() error {
	clear(m)
	return nil
}
