package slots

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"kin/internal/disk"
)

// Wipe marks the file as wiped, then overwrites all that it holds; each is
// durable before the next. It needs no header, takes no lock and may be
// repeated: whoever has the file open learns of it from Wiped, and a Set that
// comes too late destroys what it wrote.
func Wipe(fsys disk.FS, path string) error {
	f, err := fsys.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(wipe(f), f.Close())
}

func wipe(f disk.File) error {
	size, err := f.Size()
	if err != nil {
		return fmt.Errorf("wipe slot file: %w", err)
	}
	b := make([]byte, slotSize)
	f.ReadAt(b, 0) // what can't be read has no mark
	again := bytes.HasPrefix(b[markOffset:], []byte(mark))
	_, markErr := f.WriteAt([]byte(mark), markOffset)
	if markErr == nil {
		markErr = f.Sync()
	}
	// Keys die whether or not the mark could be written. Few slots are in use, and
	// on a slow stick writing all of them could take more than the second that a
	// wipe may last. But where the mark was there, a sync may have failed: then the
	// kernel's cache can show zeros that are not on the disk.
	var errs []error
	for block := 1; int64(block)*slotSize < size; block++ {
		n, err := f.ReadAt(b, int64(block)*slotSize)
		if !again && (err == nil || err == io.EOF) && allZero(b[:n]) {
			continue
		}
		errs = append(errs, zero(f, block, 1))
	}
	clear(b)
	errs = append(errs, f.Sync())
	if err := errors.Join(append(errs, markErr)...); err != nil {
		return fmt.Errorf("wipe slot file: %w", err)
	}
	return nil
}

// Wiped returns ErrWiped if the file carries the mark of Wipe, nil if it does
// not. It reads the disk.
func (f *File) Wiped() error {
	b := make([]byte, slotSize)
	if _, err := f.f.ReadAt(b, 0); err != nil {
		return fmt.Errorf("read slot file: %w", err)
	}
	wiped, err := marked(b)
	if err == nil && wiped {
		err = ErrWiped
	}
	return err
}

// marked reads the mark from the header block: there, not there (zeros), or
// neither, which is damage.
func marked(b []byte) (bool, error) {
	m := b[markOffset : markOffset+len(mark)]
	switch {
	case string(m) == mark:
		return true, nil
	case allZero(m):
		return false, nil
	}
	return false, ErrDamaged
}
