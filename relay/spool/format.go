package spool

import (
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"hash"
	"unsafe"

	"golang.org/x/crypto/chacha20poly1305"

	"kin/protocol"
)

// A batch (docs/spool-format.md), from a boundary of 4,096 bytes:
//
//	magic8 segment8 number8 count4 length4 count×(epoch4 class1) hmac32 zeros
//	count × salt32                 from a multiple of 32, so that none crosses a sector
//	count × sealed header (61+16)
//	count × sealed body (4,096 or 65,536, +16)
//	zeros up to length, a multiple of 4,096
const (
	boundary = 4096
	magic    = "kinspl\x00\x01"

	batchFixed  = 8 + 8 + 8 + 4 + 4
	batchRecord = 4 + 1
	macSize     = 32
	saltSize    = 32
	headerSize  = 32 + 8 + 16 + 4 + 1 // queue sequence id expiry flags
	sealedHead  = headerSize + chacha20poly1305.Overhead

	maxRecords = 512
	maxBatch   = 4 << 20
	minSegment = 128 << 10 // room for a batch of one chunk
)

// bodySizes by class.
var bodySizes = [...]int{protocol.EnvelopeSize, protocol.ChunkSize}

func classOf(body []byte) uint8 {
	if len(body) == protocol.ChunkSize {
		return 1
	}
	return 0
}

// layout is a batch's header, and the offsets that follow from it.
type layout struct {
	segment, number uint64
	epochs          []uint32
	classes         []uint8
}

func align(n, to int) int { return (n + to - 1) / to * to }

func (l *layout) headEnd() int       { return batchFixed + len(l.epochs)*batchRecord + macSize }
func (l *layout) salt(i int) int     { return align(l.headEnd(), saltSize) + i*saltSize }
func (l *layout) header(i int) int   { return l.salt(len(l.epochs)) + i*sealedHead }
func (l *layout) bodySize(i int) int { return bodySizes[l.classes[i]] + chacha20poly1305.Overhead }

// bodies returns the offset of each body, and the batch's length.
func (l *layout) bodies() (at []int, length int) {
	off := l.header(len(l.epochs))
	at = make([]int, len(l.epochs))
	for i := range at {
		at[i] = off
		off += l.bodySize(i)
	}
	return at, align(off, boundary)
}

// putHead writes the batch's header.
func (l *layout) putHead(b []byte, key *[32]byte) {
	_, length := l.bodies()
	copy(b, magic)
	binary.BigEndian.PutUint64(b[8:], l.segment)
	binary.BigEndian.PutUint64(b[16:], l.number)
	binary.BigEndian.PutUint32(b[24:], uint32(len(l.epochs)))
	binary.BigEndian.PutUint32(b[28:], uint32(length))
	at := batchFixed
	for i, e := range l.epochs {
		binary.BigEndian.PutUint32(b[at:], e)
		b[at+4] = l.classes[i]
		at += batchRecord
	}
	m := newMAC(key)
	m.Write(b[:at])
	m.Sum(b[:at])
}

// parseHead reads a batch's header from the front of b; nil if there is none. Only
// what is proven, under the spool key of which m is a MAC, is to be believed.
func parseHead(b []byte, m hash.Hash) (l *layout, proven bool) {
	if len(b) < batchFixed || string(b[:8]) != magic {
		return nil, false
	}
	count := int(binary.BigEndian.Uint32(b[24:]))
	if count < 1 || count > maxRecords || len(b) < batchFixed+count*batchRecord+macSize {
		return nil, false
	}
	l = &layout{segment: binary.BigEndian.Uint64(b[8:]), number: binary.BigEndian.Uint64(b[16:]), epochs: make([]uint32, count), classes: make([]uint8, count)}
	for i := range count {
		at := batchFixed + i*batchRecord
		l.epochs[i] = binary.BigEndian.Uint32(b[at:])
		l.classes[i] = b[at+4]
		if int(b[at+4]) >= len(bodySizes) {
			return nil, false
		}
	}
	if _, length := l.bodies(); uint32(length) != binary.BigEndian.Uint32(b[28:]) {
		return nil, false
	}
	end := batchFixed + count*batchRecord
	var sum [macSize]byte
	m.Reset()
	m.Write(b[:end])
	return l, hmac.Equal(m.Sum(sum[:0]), b[end:end+macSize])
}

func newMAC(key *[32]byte) hash.Hash { return hmac.New(sha256.New, key[:]) }

// recordKey is the key of a record's header and body: HMAC-SHA256(its epoch's key,
// salt ‖ segment8 ‖ batch8 ‖ index4). It is worked out here, for crypto/hmac keeps a
// key that nobody can overwrite.
func recordKey(epochKey *[32]byte, salt []byte, segment, number uint64, index int) [32]byte {
	const block = sha256.BlockSize
	var inner [block + saltSize + 20]byte
	var outer [block + sha256.Size]byte
	for i := range block {
		inner[i], outer[i] = 0x36, 0x5c
	}
	subtle.XORBytes(inner[:32], inner[:32], epochKey[:])
	subtle.XORBytes(outer[:32], outer[:32], epochKey[:])
	b := append(inner[:block], salt...)
	b = binary.BigEndian.AppendUint64(b, segment)
	b = binary.BigEndian.AppendUint64(b, number)
	b = binary.BigEndian.AppendUint32(b, uint32(index))
	sum := sha256.Sum256(b)
	copy(outer[block:], sum[:])
	sum = sha256.Sum256(outer[:])
	clear(inner[:])
	clear(outer[:])
	return sum
}

// Nonces of a record's two parts; each key seals one of each.
var (
	headerNonce = []byte("\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	bodyNonce   = []byte("\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01")
)

// recordCipher seals or opens the parts of one record.
type recordCipher struct{ cipher.AEAD }

func newCipher(key *[32]byte) recordCipher {
	a, _ := chacha20poly1305.New(key[:]) // fails only for another length
	return recordCipher{a}
}

// forget overwrites the key in the cipher, which consists of nothing else and has no
// method for it: garbage that stays in memory would open the record for as long as its
// sealed bytes are on the disk.
func (c recordCipher) forget() {
	clear((*[chacha20poly1305.KeySize]byte)((*[2]unsafe.Pointer)(unsafe.Pointer(&c.AEAD))[1])[:])
}

// openPart opens a part in place.
func openPart(key *[32]byte, nonce, sealed []byte) ([]byte, error) {
	c := newCipher(key)
	defer c.forget()
	return c.Open(sealed[:0], nonce, sealed, nil)
}

// record is a record's header.
type record struct {
	queue QueueID
	seq   uint64
	id    MessageID
	epoch uint32
	flags uint8
}

func (r *record) marshal() []byte {
	b := append(make([]byte, 0, headerSize), r.queue[:]...)
	b = binary.BigEndian.AppendUint64(b, r.seq)
	b = append(b, r.id[:]...)
	b = binary.BigEndian.AppendUint32(b, r.epoch)
	return append(b, r.flags)
}

func parseRecord(b []byte) record {
	return record{QueueID(b), binary.BigEndian.Uint64(b[32:]), MessageID(b[40:]), binary.BigEndian.Uint32(b[56:]), b[60]}
}
