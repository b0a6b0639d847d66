package vault

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"io"
	"os"
)

// bbolt trusts the pages of its file: an altered byte can make it panic, read
// past the mapping, hide records, or hand out pages that are in use. So a
// profile's file is read by what follows first, which trusts nothing: it follows
// every page from the newer of the two metas, and takes none twice.

const (
	pageSize       = 4096
	pageHeaderSize = 16 // id u64 ‖ flags u16 ‖ count u16 ‖ overflow u32; all little-endian

	branchPage   = 0x01
	leafPage     = 0x02
	metaPage     = 0x04
	freelistPage = 0x10

	elementSize = 16 // branch: pos u32 ‖ ksize u32 ‖ page u64; leaf: flags u32 ‖ pos u32 ‖ ksize u32 ‖ vsize u32

	bucketHeaderSize = 16 // root page u64 ‖ sequence u64; a root of 0: the page follows
	bucketFlag       = 0x01

	boltMagic   = 0xED0CDAED
	boltVersion = 2

	// magic u32 ‖ version u32 ‖ page size u32 ‖ flags u32 ‖ root page u64 ‖
	// sequence u64 ‖ freelist page u64 ‖ pages u64 ‖ transaction u64 ‖ FNV-1a u64
	metaSize = 64
)

var le = binary.LittleEndian

type meta struct {
	root, freelist, pages, tx uint64
}

// readMeta checks both metas and the file's length and returns the newer meta.
// A meta is written in one sector, so a crash leaves both whole; that one of them
// is not shows damage, which could hide the last commit.
func readMeta(f *os.File) (meta, error) {
	st, err := f.Stat()
	if err != nil {
		return meta{}, err
	}
	var newest meta
	for id := range 2 {
		b := make([]byte, pageHeaderSize+metaSize)
		if err := readFull(f, b, int64(id)*pageSize); err != nil {
			return meta{}, err
		}
		if le.Uint64(b) != uint64(id) || le.Uint16(b[8:]) != metaPage {
			return meta{}, damaged("page %d is no meta", id)
		}
		b = b[pageHeaderSize:]
		sum := fnv.New64a()
		sum.Write(b[:metaSize-8])
		if le.Uint64(b[metaSize-8:]) != sum.Sum64() || le.Uint32(b) != boltMagic ||
			le.Uint32(b[4:]) != boltVersion || le.Uint32(b[8:]) != pageSize {
			return meta{}, damaged("meta %d fails its checksum", id)
		}
		m := meta{root: le.Uint64(b[16:]), freelist: le.Uint64(b[32:]), pages: le.Uint64(b[40:]), tx: le.Uint64(b[48:])}
		if m.pages > uint64(st.Size())/pageSize {
			return meta{}, damaged("%d bytes of %d pages", st.Size(), m.pages)
		}
		if id == 0 || m.tx > newest.tx {
			newest = m
		}
	}
	return newest, nil
}

func readFull(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if errors.Is(err, io.EOF) {
		return damaged("file ends at %d", off+int64(n))
	}
	return err
}

// scan checks the database at path and calls visit for every key and value of
// the bucket; they are valid until it returns.
func scan(path string, visit func(key, value []byte) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	m, err := readMeta(f)
	if err != nil {
		return err
	}
	p := &pages{r: f, taken: make([]bool, m.pages), visit: visit}
	if err := p.freelist(m.freelist); err != nil {
		return err
	}
	var bucket []byte
	err = p.tree(m.root, nil, nil, func(flags uint32, key, value []byte) error {
		if bucket != nil || flags != bucketFlag || !bytes.Equal(key, bucketName) || len(value) < bucketHeaderSize {
			return damaged("another bucket")
		}
		bucket = bytes.Clone(value)
		return nil
	})
	if err != nil {
		return err
	}
	if bucket == nil {
		return damaged("no bucket")
	}
	if root := le.Uint64(bucket); root != 0 {
		return p.tree(root, nil, nil, p.record)
	}
	return p.leaf(bucket[bucketHeaderSize:], nil, nil, p.record)
}

// pages walks the pages of a file.
type pages struct {
	r     io.ReaderAt
	taken []bool // by page
	visit func(key, value []byte) error
}

func (p *pages) record(flags uint32, key, value []byte) error {
	if flags != 0 {
		return damaged("a bucket in the bucket")
	}
	return p.visit(key, value)
}

// take marks a page as met.
func (p *pages) take(id uint64) error {
	if id < 2 || id >= uint64(len(p.taken)) || p.taken[id] {
		return damaged("page %d of %d is out of place", id, len(p.taken))
	}
	p.taken[id] = true
	return nil
}

// read returns a page with what overflows it.
func (p *pages) read(id uint64) ([]byte, error) {
	if err := p.take(id); err != nil {
		return nil, err
	}
	var h [pageHeaderSize]byte
	if err := readFull(p.r, h[:], int64(id)*pageSize); err != nil {
		return nil, err
	}
	if le.Uint64(h[:]) != id {
		return nil, damaged("page %d calls itself %d", id, le.Uint64(h[:]))
	}
	overflow := uint64(le.Uint32(h[12:]))
	for i := range overflow {
		if err := p.take(id + 1 + i); err != nil {
			return nil, err
		}
	}
	b := make([]byte, (1+overflow)*pageSize)
	return b, readFull(p.r, b, int64(id)*pageSize)
}

func (p *pages) freelist(id uint64) error {
	b, err := p.read(id)
	if err != nil {
		return err
	}
	if le.Uint16(b[8:]) != freelistPage {
		return damaged("page %d is no freelist", id)
	}
	count, ids := uint64(le.Uint16(b[10:])), b[pageHeaderSize:]
	if count == 0xFFFF {
		count, ids = le.Uint64(ids), ids[8:]
	}
	if count > uint64(len(ids))/8 {
		return damaged("freelist of %d pages", count)
	}
	for i := range count {
		if err := p.take(le.Uint64(ids[i*8:])); err != nil {
			return err
		}
	}
	return nil
}

// tree visits what lies under a page, whose first key is low and whose keys are all
// below high, if these are not nil. A branch's key is its page's first: bbolt looks for
// it there when that page has changed, and would keep the old page beside the new one.
func (p *pages) tree(id uint64, low, high []byte, visit func(flags uint32, key, value []byte) error) error {
	b, err := p.read(id)
	if err != nil {
		return err
	}
	switch le.Uint16(b[8:]) {
	case leafPage:
		return p.leaf(b, low, high, visit)
	case branchPage:
	default:
		return damaged("page %d has flags %#x", id, le.Uint16(b[8:]))
	}
	count := int(le.Uint16(b[10:]))
	if count == 0 {
		return damaged("page %d is an empty branch", id)
	}
	key := func(i int) ([]byte, error) {
		e := pageHeaderSize + i*elementSize
		if e+elementSize > len(b) {
			return nil, damaged("page %d has %d elements", id, count)
		}
		return slice(b, e, le.Uint32(b[e:]), le.Uint32(b[e+4:]))
	}
	this, err := key(0)
	if err != nil {
		return err
	}
	if low != nil && !bytes.Equal(this, low) {
		return damaged("page %d has another first key", id)
	}
	for i := range count {
		next := high
		if i+1 < count {
			if next, err = key(i + 1); err != nil {
				return err
			}
		}
		if !within(this, low, high) {
			return damaged("page %d is out of order", id)
		}
		e := pageHeaderSize + i*elementSize
		if err := p.tree(le.Uint64(b[e+8:]), this, next, visit); err != nil {
			return err
		}
		this, low = next, this
	}
	return nil
}

func (p *pages) leaf(b, low, high []byte, visit func(flags uint32, key, value []byte) error) error {
	if len(b) < pageHeaderSize || le.Uint16(b[8:]) != leafPage {
		return damaged("an inline page is no leaf")
	}
	last := []byte(nil)
	for i := range int(le.Uint16(b[10:])) {
		e := pageHeaderSize + i*elementSize
		if e+elementSize > len(b) {
			return damaged("leaf with an element %d", i)
		}
		pos, ksize, vsize := le.Uint32(b[e+4:]), le.Uint32(b[e+8:]), le.Uint32(b[e+12:])
		key, err := slice(b, e, pos, ksize)
		if err != nil {
			return err
		}
		value, err := slice(b, e, pos+ksize, vsize) // no overflow: slice checked the sum
		if err != nil {
			return err
		}
		if i == 0 && low != nil && !bytes.Equal(key, low) {
			return damaged("leaf with another first key")
		}
		if len(key) == 0 || !within(key, low, high) || last != nil && bytes.Compare(last, key) >= 0 {
			return damaged("leaf is out of order")
		}
		last = key
		if err := visit(le.Uint32(b[e:]), key, value); err != nil {
			return err
		}
	}
	return nil
}

// slice is n bytes of b, pos after the element at e.
func slice(b []byte, e int, pos, n uint32) ([]byte, error) {
	start := uint64(e) + uint64(pos)
	end := start + uint64(n)
	if end > uint64(len(b)) {
		return nil, damaged("element beyond its page")
	}
	return b[start:end:end], nil
}

func within(key, low, high []byte) bool {
	return (low == nil || bytes.Compare(key, low) >= 0) && (high == nil || bytes.Compare(key, high) < 0)
}
