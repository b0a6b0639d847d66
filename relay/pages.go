package relay

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
)

// reachesItsEnd refuses a relay.db whose end is missing: bbolt maps the file into memory, and
// a page that is not there ends the process.
func reachesItsEnd(name string) error {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	size, least := int64(os.Getpagesize()), int64(0)
	for id := range int64(2) {
		if s, pages, ok := readMeta(f, id*size); ok {
			size, least = s, max(least, s*pages)
		}
	}
	st, err := f.Stat() // last: if another relay has it open, that makes it longer first
	if err != nil {
		return err
	}
	if st.Size() < least {
		return fmt.Errorf("%w (%d bytes of %d)", ErrDamaged, st.Size(), least)
	}
	return nil
}

// A meta of bbolt, in the processor's byte order, behind its page's header:
//
//	magic4 version4 page size4 flags4 root8 sequence8 freelist8 pages8 transaction8 FNV-1a8
const (
	pageHeader = 16
	metaSize   = 64
	metaMagic  = 0xED0CDAED
)

// readMeta reads how long a page is, and how many there are, from the page at an offset; ok
// if that is a whole meta.
func readMeta(f *os.File, at int64) (pageSize, pages int64, ok bool) {
	var b [metaSize]byte
	if _, err := f.ReadAt(b[:], at+pageHeader); err != nil {
		return 0, 0, false
	}
	sum := fnv.New64a()
	sum.Write(b[:metaSize-8])
	ne := binary.NativeEndian
	if ne.Uint32(b[:]) != metaMagic || ne.Uint64(b[metaSize-8:]) != sum.Sum64() {
		return 0, 0, false
	}
	return int64(ne.Uint32(b[8:])), int64(ne.Uint64(b[40:])), true
}
