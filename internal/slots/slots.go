// Package slots is the erasable slot file: a small preallocated file of 4 KiB
// slots, each holding the key of one epoch, one retention day or one ratchet
// state. A key is written once into an empty slot and destroyed by overwriting
// it in place; the file is never renamed, and never grown by replacement, for a
// file that is replaced leaves its bytes on the disk.
//
// Create makes the file, Open opens it; Set and Destroy are durable when they
// return. What is claimed is erasure on the logical device: flash may remember.
//
// A File may be used by several goroutines. Several processes may read one
// file, and any of them may destroy; that only one of them sets at a time is
// the caller's to see to, with a lock of its own.
package slots

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"kin/internal/disk"
)

// MaxPayload is the most a slot can hold, in bytes.
const MaxPayload = 1024

// MaxSlots is the most slots a file can have.
const MaxSlots = 65536

const (
	slotSize = 4096 // a slot's distance on the disk; the header takes one too
	sumSize  = 16   // truncated SHA-256

	version    = 1
	headerSize = 8 + 4 + 4 + sumSize // magic8 ‖ version u32 ‖ count u32 ‖ sum16, one sector
	markOffset = 512                 // a sector of its own, so that a torn mark harms no header

	run = 64 // blocks that are read or written at once

	lengthSize = 2 // a slot: length u16 ‖ payload ‖ sum16 ‖ zeros
)

const (
	magic = "kinslots"
	mark  = "kin slots: wiped"
)

var (
	// ErrWiped is returned for a file that Wipe has marked.
	ErrWiped = errors.New("slot file is wiped")
	// ErrDamaged is returned by Open for a file that is no whole slot file.
	ErrDamaged = errors.New("slot file is damaged")
	// ErrNewer is returned by Open for a file of a later version of this format.
	ErrNewer = errors.New("slot file is of a newer version")
	// ErrOccupied is returned by Set for a slot that holds a payload.
	ErrOccupied = errors.New("slot is occupied")
)

// File is an open slot file.
type File struct {
	n int

	mu sync.Mutex // a look never sees half a write, and no two set one slot
	f  disk.File
}

// Memory returns n slots that exist in RAM alone and die with the process.
func Memory(n int) *File {
	return &File{n: n, f: make(memory, (n+1)*slotSize)}
}

// Len is the number of slots.
func (f *File) Len() int { return f.n }

// Get reads slot i from the disk, for another process may have written it. It
// returns nil, nil for a slot that is empty or destroyed, or whose checksum
// fails.
func (f *File) Get(i int) ([]byte, error) {
	if err := f.check(i); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.get(i)
}

func (f *File) get(i int) ([]byte, error) {
	b := make([]byte, slotSize)
	defer clear(b)
	if _, err := f.f.ReadAt(b, offset(i)); err != nil {
		return nil, fmt.Errorf("read slot %d: %w", i, err)
	}
	return parseSlot(i, b), nil
}

// Blank tells whether slot i holds nothing at all. A slot of which Get returns
// nil may still hold bytes: what fails its checksum.
func (f *File) Blank(i int) (bool, error) {
	if err := f.check(i); err != nil {
		return false, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	b := make([]byte, slotSize)
	defer clear(b)
	if _, err := f.f.ReadAt(b, offset(i)); err != nil {
		return false, fmt.Errorf("read slot %d: %w", i, err)
	}
	return allZero(b), nil
}

// Blanks is Blank of every slot, in a few reads.
func (f *File) Blanks() ([]bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	blank := make([]bool, f.n)
	b := make([]byte, min(f.n, run)*slotSize)
	defer clear(b)
	for i := 0; i < f.n; i += run {
		b := b[:min(f.n-i, run)*slotSize]
		if _, err := f.f.ReadAt(b, offset(i)); err != nil {
			return nil, fmt.Errorf("read slots from %d: %w", i, err)
		}
		for k := 0; len(b) > 0; k, b = k+1, b[slotSize:] {
			blank[i+k] = allZero(b[:slotSize])
		}
	}
	return blank, nil
}

// Set writes payload (1 to MaxPayload bytes) into slot i, which must be empty:
// else ErrOccupied. It is durable on return. After another error the slot may
// hold the payload: Destroy it before it is used again. In a file that Wipe
// marked, ErrWiped, and the slot is destroyed.
func (f *File) Set(i int, payload []byte) error {
	return f.SetAll(map[int][]byte{i: payload})
}

// SetAll is Set for several slots with one sync. If one of them is occupied or a
// payload has no fit length, none is written.
func (f *File) SetAll(payloads map[int][]byte) error {
	if len(payloads) == 0 {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, p := range payloads {
		if err := f.check(i); err != nil {
			return err
		}
		if len(p) < 1 || len(p) > MaxPayload {
			return fmt.Errorf("slot payload of %d bytes is not in 1 to %d", len(p), MaxPayload)
		}
		if old, err := f.get(i); err != nil {
			return err
		} else if old != nil {
			clear(old)
			return fmt.Errorf("set slot %d: %w", i, ErrOccupied)
		}
	}
	b := make([]byte, slotSize)
	defer clear(b)
	for i, p := range payloads {
		clear(b)
		appendSlot(b[:0], i, p)
		if _, err := f.f.WriteAt(b, offset(i)); err != nil {
			return fmt.Errorf("set slot %d: %w", i, err)
		}
	}
	if err := f.f.Sync(); err != nil {
		return fmt.Errorf("set slots: %w", err)
	}
	// Wipe waits for nobody: if its mark came while this was written, its zeros
	// may have come before.
	if err := f.Wiped(); err != nil {
		return errors.Join(err, f.destroy(slices.Collect(maps.Keys(payloads))))
	}
	return nil
}

// Destroy overwrites the slots with zeros, all of them with one sync, and is
// durable on return. It may be repeated. On an error it still destroys what it
// can.
func (f *File) Destroy(i ...int) error {
	if len(i) == 0 {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.destroy(i)
}

func (f *File) destroy(slots []int) error {
	var errs []error
	for _, i := range slots {
		err := f.check(i)
		if err == nil {
			err = zero(f.f, i+1, 1)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("destroy slot %d: %w", i, err))
		}
	}
	if err := f.f.Sync(); err != nil {
		errs = append(errs, fmt.Errorf("destroy slots: %w", err))
	}
	return errors.Join(errs...)
}

// Renew writes everything again as it is, and is durable on return: after a sync
// that failed, the kernel may take for written what is not, and show as destroyed a
// key that is still on the disk. Only the file's one owner may call it.
func (f *File) Renew() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	b := make([]byte, slotSize)
	defer clear(b)
	for block := range int64(f.n + 1) {
		_, err := f.f.ReadAt(b, block*slotSize)
		if err == nil {
			_, err = f.f.WriteAt(b, block*slotSize)
		}
		if err != nil {
			return fmt.Errorf("renew slot file: %w", err)
		}
	}
	if err := f.f.Sync(); err != nil {
		return fmt.Errorf("renew slot file: %w", err)
	}
	return nil
}

// Close closes the file; for Memory, it overwrites the slots.
func (f *File) Close() error { return f.f.Close() }

func (f *File) check(i int) error {
	if i < 0 || i >= f.n {
		return fmt.Errorf("slot %d is not in 0 to %d", i, f.n-1)
	}
	return nil
}

func offset(i int) int64 { return int64(i+1) * slotSize }

// appendSlot appends slot i's first bytes: length u16 ‖ payload ‖ sum16.
func appendSlot(b []byte, i int, payload []byte) []byte {
	start := len(b)
	b = binary.BigEndian.AppendUint16(b, uint16(len(payload)))
	b = append(b, payload...)
	sum := slotSum(i, b[start:])
	return append(b, sum[:]...)
}

// parseSlot returns a copy of the payload of slot i, nil if b is anything but
// what Set writes.
func parseSlot(i int, b []byte) []byte {
	n := int(binary.BigEndian.Uint16(b))
	if n < 1 || n > MaxPayload {
		return nil
	}
	end := lengthSize + n
	sum := slotSum(i, b[:end])
	if subtle.ConstantTimeCompare(sum[:], b[end:end+sumSize]) != 1 || !allZero(b[end+sumSize:]) {
		return nil
	}
	return append([]byte(nil), b[lengthSize:end]...)
}

// slotSum covers the slot's number, so that a block that the disk misplaced is
// no key.
func slotSum(i int, b []byte) [sumSize]byte {
	h := sha256.New()
	var number [4]byte
	binary.BigEndian.PutUint32(number[:], uint32(i))
	h.Write(number[:])
	h.Write(b)
	return [sumSize]byte(h.Sum(nil))
}

func allZero(b []byte) bool { return bytes.Count(b, []byte{0}) == len(b) }
