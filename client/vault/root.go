package vault

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
)

// The database has one bucket: the head and the root under keys of one byte,
// records under their names.
var (
	bucketName = []byte("kin")
	headKey    = []byte{0}
	rootKey    = []byte{1}
)

// head is all that is read before the passphrase, in clear. Its layout is that
// of every later version.
type head struct {
	slot int // of the wrapped master key
}

const (
	formatVersion = 1
	headSize      = 1 + 2 + 8 // version u8 ‖ slot u16 ‖ SHA-256 of these, first 8 bytes
)

func (h head) marshal() []byte {
	b := binary.BigEndian.AppendUint16([]byte{formatVersion}, uint16(h.slot))
	sum := sha256.Sum256(b)
	return append(b, sum[:headSize-3]...)
}

func parseHead(b []byte) (head, error) {
	if len(b) != headSize {
		return head{}, damaged("head of %d bytes", len(b))
	}
	sum := sha256.Sum256(b[:3])
	if [headSize - 3]byte(b[3:]) != [headSize - 3]byte(sum[:]) {
		return head{}, damaged("head fails its checksum")
	}
	if b[0] > formatVersion {
		return head{}, ErrNewer
	}
	h := head{int(binary.BigEndian.Uint16(b[1:]))}
	if b[0] != formatVersion || h.slot >= slotCount {
		return head{}, damaged("head is malformed")
	}
	return h, nil
}

// use is what a slot is taken for, and which kind of key seals a record.
type use byte

const (
	useNone       use = 0
	usePassphrase use = 1 // the wrapped master key
	useData       use = 2 // the profile's data key
	useDay        use = 3 // the key of a retention day
	useRotating   use = 4 // the key of one state of one record
)

// entry is the root's knowledge of one slot.
type entry struct {
	use   use
	stale bool   // a record under this key was replaced or deleted
	day   uint32 // of useDay: days since 1970, UTC
}

const staleBit = 0x80

// root is written by every commit and names every slot that is in use.
type root struct {
	generation uint64 // commits so far
	keepDays   uint32
	rotated    uint64 // when the data key was last rotated, seconds since 1970
	count      uint64 // of records
	sum        [sha256.Size]byte
	slots      [slotCount]entry
}

const (
	entrySize = 1 + 4 // use, with staleBit u8 ‖ day u32
	rootSize  = 1 + 8 + 4 + 8 + 8 + sha256.Size + slotCount*entrySize
)

func (r *root) marshal() []byte {
	b := make([]byte, 0, rootSize)
	b = append(b, formatVersion)
	b = binary.BigEndian.AppendUint64(b, r.generation)
	b = binary.BigEndian.AppendUint32(b, r.keepDays)
	b = binary.BigEndian.AppendUint64(b, r.rotated)
	b = binary.BigEndian.AppendUint64(b, r.count)
	b = append(b, r.sum[:]...)
	for _, e := range r.slots {
		u := byte(e.use)
		if e.stale {
			u |= staleBit
		}
		b = binary.BigEndian.AppendUint32(append(b, u), e.day)
	}
	return b
}

// parseRoot accepts what marshal writes and nothing else.
func parseRoot(b []byte) (*root, error) {
	if len(b) > 0 && b[0] > formatVersion {
		return nil, ErrNewer
	}
	if len(b) != rootSize || b[0] != formatVersion {
		return nil, damaged("root of %d bytes", len(b))
	}
	r := &root{
		generation: binary.BigEndian.Uint64(b[1:]),
		keepDays:   binary.BigEndian.Uint32(b[9:]),
		rotated:    binary.BigEndian.Uint64(b[13:]),
		count:      binary.BigEndian.Uint64(b[21:]),
		sum:        [sha256.Size]byte(b[29:]),
	}
	var passphrases, datas int
	days := map[uint32]bool{}
	for i := range r.slots {
		f := b[rootSize-(slotCount-i)*entrySize:]
		e := entry{use(f[0] &^ staleBit), f[0]&staleBit != 0, binary.BigEndian.Uint32(f[1:])}
		ok := e.use <= useRotating && (e.day == 0 || e.use == useDay) &&
			(!e.stale || e.use == useDay || e.use == useData)
		switch e.use {
		case usePassphrase:
			passphrases++
		case useData:
			datas++
		case useDay:
			ok = ok && !days[e.day]
			days[e.day] = true
		}
		if !ok {
			return nil, damaged("root with a malformed slot %d", i)
		}
		r.slots[i] = e
	}
	if passphrases != 1 || datas != 1 {
		return nil, damaged("root with %d passphrase slots and %d data slots", passphrases, datas)
	}
	return r, nil
}

func (r *ring) sealRoot(root *root) []byte {
	return seal(r.root, []byte("kin/1 vault root record"), root.marshal())
}

func (r *ring) openRoot(sealed []byte) (*root, error) {
	b, err := open(r.root, []byte("kin/1 vault root record"), sealed)
	if err != nil {
		return nil, err
	}
	return parseRoot(b)
}

// slot finds the slot of a use; of useDay, that of the day. It returns -1 if
// there is none.
func (r *root) slot(u use, day uint32) int {
	for i, e := range r.slots {
		if e.use == u && e.day == day {
			return i
		}
	}
	return -1
}

// slotOf finds the slot that a record refers to, -1 if it is no more.
func (r *root) slotOf(f ref) int {
	switch f.use {
	case useData:
		return r.slot(useData, 0)
	case useDay:
		return r.slot(useDay, f.number)
	case useRotating:
		if f.number < slotCount && r.slots[f.number].use == useRotating {
			return int(f.number)
		}
	}
	return -1
}

// free counts the slots that are not in use.
func (r *root) free() int {
	n := 0
	for _, e := range r.slots {
		if e.use == useNone {
			n++
		}
	}
	return n
}

// spare counts the free slots that are left once every day that is kept has one: a
// profile full of contacts must not stop at midnight. A day that is over may still
// be there, beside today.
func (r *root) spare() int {
	days := 0
	for _, e := range r.slots {
		if e.use == useDay {
			days++
		}
	}
	return r.free() - max(0, int(r.keepDays)+2-days)
}

// add puts a record into the sum, or takes it out again.
func (r *root) add(part [sha256.Size]byte) {
	subtle.XORBytes(r.sum[:], r.sum[:], part[:])
}
