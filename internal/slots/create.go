package slots

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"kin/internal/disk"
)

// Create makes a slot file of n empty slots (1 to MaxSlots) and opens it. The
// file and its name are durable on return. It fails if the file exists
// (fs.ErrExist), but finishes one that an earlier Create left unfinished.
func Create(fsys disk.FS, path string, n int) (*File, error) {
	if n < 1 || n > MaxSlots {
		return nil, fmt.Errorf("slot count %d is not in 1 to %d", n, MaxSlots)
	}
	f, err := fsys.Create(path)
	if errors.Is(err, fs.ErrExist) {
		f, err = reopenUnfinished(fsys, path, err)
	}
	if err != nil {
		return nil, err
	}
	if err := format(f, n); err != nil {
		f.Close()
		return nil, fmt.Errorf("create slot file: %w", err)
	}
	if err := fsys.SyncDir(filepath.Dir(path)); err != nil {
		f.Close()
		return nil, fmt.Errorf("create slot file: %w", err)
	}
	return &File{n: n, f: f}, nil
}

// reopenUnfinished opens a file that an earlier Create left unfinished; otherwise
// it returns exists.
func reopenUnfinished(fsys disk.FS, path string, exists error) (disk.File, error) {
	f, err := fsys.Open(path)
	if err != nil {
		return nil, err
	}
	blank, err := isBlank(f)
	if err == nil && !blank {
		err = exists
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// format writes zeros to every block, so that each is allocated where it will be
// overwritten, and the header only once they are durable.
func format(f disk.File, n int) error {
	if err := f.Truncate(int64(n+1) * slotSize); err != nil {
		return err
	}
	if err := zero(f, 0, n+1); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	_, err := f.WriteAt(header(n), 0)
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		// A header that can be read but may not be on the disk would be believed.
		_, undo := f.WriteAt(make([]byte, headerSize), 0)
		err = errors.Join(err, undo)
	}
	return err
}

// zero overwrites count blocks from block on.
func zero(f disk.File, block, count int) error {
	zeros := make([]byte, min(count, run)*slotSize)
	for count > 0 {
		k := min(count, run)
		if _, err := f.WriteAt(zeros[:k*slotSize], int64(block)*slotSize); err != nil {
			return err
		}
		block, count = block+k, count-k
	}
	return nil
}

func header(n int) []byte {
	b := make([]byte, 0, headerSize)
	b = append(b, magic...)
	b = binary.BigEndian.AppendUint32(b, version)
	b = binary.BigEndian.AppendUint32(b, uint32(n))
	sum := sha256.Sum256(b)
	return append(b, sum[:sumSize]...)
}

// Open opens a slot file, and makes durable what is in it: a process that was
// killed may have left a key that can be read but would be lost with the power. A
// file that Create did not finish counts as none: fs.ErrNotExist. Other errors:
// ErrWiped, ErrDamaged, ErrNewer.
func Open(fsys disk.FS, path string) (*File, error) {
	f, err := fsys.Open(path)
	if err != nil {
		return nil, err
	}
	n, err := readHeader(f)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = fsys.SyncDir(filepath.Dir(path))
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("open slot file: %w", err)
	}
	return &File{n: n, f: f}, nil
}

// Known tells by a file's first block whether it is a slot file, however damaged, or was one
// before it was wiped.
func Known(block []byte) bool {
	return bytes.HasPrefix(block, []byte(magic)) || len(block) > markOffset && bytes.HasPrefix(block[markOffset:], []byte(mark))
}

func readHeader(f disk.File) (int, error) {
	size, err := f.Size()
	if err != nil {
		return 0, err
	}
	if size < slotSize {
		return 0, unfinishedOr(f, ErrDamaged)
	}
	b := make([]byte, slotSize)
	if _, err := f.ReadAt(b, 0); err != nil {
		return 0, err
	}
	// The mark counts whatever became of the header.
	switch wiped, err := marked(b); {
	case err != nil:
		return 0, err
	case wiped:
		return 0, ErrWiped
	}
	n, err := parseHeader(b[:headerSize])
	if errors.Is(err, ErrDamaged) {
		return 0, unfinishedOr(f, err)
	}
	if err != nil {
		return 0, err
	}
	if !allZero(b[headerSize:markOffset]) || !allZero(b[markOffset+len(mark):]) ||
		size != int64(n+1)*slotSize {
		return 0, ErrDamaged
	}
	return n, nil
}

func parseHeader(b []byte) (int, error) {
	if len(b) != headerSize || string(b[:8]) != magic {
		return 0, ErrDamaged
	}
	sum := sha256.Sum256(b[:headerSize-sumSize])
	if [sumSize]byte(b[headerSize-sumSize:]) != [sumSize]byte(sum[:]) {
		return 0, ErrDamaged
	}
	if v := binary.BigEndian.Uint32(b[8:]); v > version {
		return 0, ErrNewer
	} else if v < version {
		return 0, ErrDamaged
	}
	n := binary.BigEndian.Uint32(b[12:])
	if n < 1 || n > MaxSlots {
		return 0, ErrDamaged
	}
	return int(n), nil
}

// unfinishedOr tells a Create that crashed from damage.
func unfinishedOr(f disk.File, damaged error) error {
	if blank, err := isBlank(f); err != nil {
		return err
	} else if blank {
		return fs.ErrNotExist
	}
	return damaged
}

// isBlank tells whether the file holds zeros alone, but for parts of the header that
// belongs there: no slot is written before that is whole, and Create may have failed to
// take it back.
func isBlank(f disk.File) (bool, error) {
	size, err := f.Size()
	if err != nil || size > (MaxSlots+1)*slotSize {
		return false, err
	}
	b := make([]byte, run*slotSize)
	for off := int64(0); off < size; off += int64(len(b)) {
		b = b[:min(int64(len(b)), size-off)]
		if _, err := f.ReadAt(b, off); err != nil {
			return false, err
		}
		if off == 0 && size >= 2*slotSize && size%slotSize == 0 {
			for i, c := range header(int(size/slotSize) - 1) {
				if b[i] == c {
					b[i] = 0
				}
			}
		}
		if !allZero(b) {
			return false, nil
		}
	}
	return true, nil
}
