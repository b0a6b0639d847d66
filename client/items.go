package client

import (
	"encoding/binary"

	"kin/protocol"
)

// Items behind the header: tag1 length2 bytes, tags ascending.
const (
	itemText      = 0x01
	itemFragment  = 0x02 // index2 count2
	itemReceipts  = 0x03 // n×(seq8 mark8)
	itemReads     = 0x04 // n×(seq8 mark8)
	itemTakenBack = 0x05 // n×seq8
	itemQuiet     = 0x06 // n×seq8
	itemName      = 0x07
	itemQueue     = 0x08
	itemNotice    = 0x09 // code1
	itemTickets   = 0x0a // n×ticket24, in a bundle's meta
	itemRelays    = 0x0b // in a bundle's meta
)

const (
	itemHeader   = 1 + 2
	maxFragments = 64
	maxSeqs      = 64 // of one list
	maxName      = 64 // bytes

	noticeForked = 1
)

// items are what a body carries; nil or zero: not there.
type items struct {
	text      []byte
	index     uint16
	count     uint16 // 0: one piece
	receipts  []receipt
	reads     []receipt
	takenBack []uint64
	quiet     []uint64
	name      string
	queues    []descriptor
	notice    byte
	tickets   []protocol.ID
	relays    []protocol.Address
}

// receipt names an envelope that has come: by its number, and by its mark, for an old
// copy of a profile may have sealed another under the same number.
type receipt struct {
	Seq  uint64
	Mark mark
}

// mark is the first eight bytes of an envelope's SHA-256.
type mark uint64

// descriptor tells a contact where to put envelopes for this side.
type descriptor struct {
	Relay    protocol.Address
	Sender   protocol.ID
	Claim    [32]byte
	Envelope [32]byte // the queue's envelope key
}

func appendItem(out []byte, tag byte, b []byte) []byte {
	out = append(out, tag)
	out = binary.BigEndian.AppendUint16(out, uint16(len(b)))
	return append(out, b...)
}

func appendSeqs(out []byte, tag byte, seqs []uint64) []byte {
	if len(seqs) == 0 {
		return out
	}
	var b []byte
	for _, s := range seqs {
		b = binary.BigEndian.AppendUint64(b, s)
	}
	return appendItem(out, tag, b)
}

func appendReceipts(out []byte, tag byte, receipts []receipt) []byte {
	if len(receipts) == 0 {
		return out
	}
	var b []byte
	for _, r := range receipts {
		b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, r.Seq), uint64(r.Mark))
	}
	return appendItem(out, tag, b)
}

func appendAddress(out []byte, a protocol.Address) []byte {
	out = append(out, byte(len(a.Hosts)))
	for _, h := range a.Hosts {
		scheme := byte(0)
		if !h.TLS {
			scheme = 1
		}
		out = append(out, scheme, byte(len(h.Name)))
		out = append(out, h.Name...)
	}
	return append(out, a.Fingerprint[:]...)
}

func (it *items) marshal() []byte {
	var out []byte
	if it.text != nil {
		out = appendItem(out, itemText, it.text)
	}
	if it.count != 0 {
		out = appendItem(out, itemFragment, binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, it.index), it.count))
	}
	out = appendReceipts(out, itemReceipts, it.receipts)
	out = appendReceipts(out, itemReads, it.reads)
	out = appendSeqs(out, itemTakenBack, it.takenBack)
	out = appendSeqs(out, itemQuiet, it.quiet)
	if it.name != "" {
		out = appendItem(out, itemName, []byte(it.name))
	}
	if len(it.queues) > 0 {
		b := []byte{byte(len(it.queues))}
		for _, q := range it.queues {
			b = appendAddress(b, q.Relay)
			b = append(b, q.Sender[:]...)
			b = append(b, q.Claim[:]...)
			b = append(b, q.Envelope[:]...)
		}
		out = appendItem(out, itemQueue, b)
	}
	if it.notice != 0 {
		out = appendItem(out, itemNotice, []byte{it.notice})
	}
	if len(it.tickets) > 0 {
		var b []byte
		for _, t := range it.tickets {
			b = append(b, t[:]...)
		}
		out = appendItem(out, itemTickets, b)
	}
	if len(it.relays) > 0 {
		b := []byte{byte(len(it.relays))}
		for _, r := range it.relays {
			b = appendAddress(b, r)
		}
		out = appendItem(out, itemRelays, b)
	}
	return out
}

func parseItems(b []byte) (*items, error) {
	c := &cursor{b, true}
	var it items
	last := -1
	for c.ok && len(c.b) > 0 {
		tag := c.u8()
		v := c.take(int(c.u16()))
		if !c.ok || int(tag) <= last {
			return nil, errBody
		}
		last = int(tag)
		if !it.parse(tag, v) {
			return nil, errBody
		}
	}
	if !c.ok {
		return nil, errBody
	}
	return &it, nil
}

func (it *items) parse(tag byte, v []byte) bool {
	c := &cursor{v, true}
	switch tag {
	case itemText:
		it.text = append([]byte{}, v...)
		return true
	case itemFragment:
		it.index, it.count = c.u16(), c.u16()
		return c.ok && len(c.b) == 0 && it.count >= 2 && it.count <= maxFragments && it.index < it.count
	case itemReceipts:
		return parseReceipts(&it.receipts, v)
	case itemReads:
		return parseReceipts(&it.reads, v)
	case itemTakenBack:
		return parseSeqs(&it.takenBack, v)
	case itemQuiet:
		return parseSeqs(&it.quiet, v)
	case itemName:
		it.name = string(v)
		return len(v) > 0 && len(v) <= maxName
	case itemQueue:
		n := int(c.u8())
		for i := 0; i < n && c.ok; i++ {
			q := descriptor{c.address(), protocol.ID(c.take(protocol.IDSize)), [32]byte(c.take(32)), [32]byte(c.take(32))}
			if _, err := protocol.ParsePublicKey(q.Envelope[:]); err != nil {
				return false
			}
			it.queues = append(it.queues, q)
		}
		return c.ok && len(c.b) == 0 && n >= 1
	case itemNotice:
		it.notice = c.u8()
		return c.ok && len(c.b) == 0 && it.notice != 0
	case itemTickets:
		for c.ok && len(c.b) > 0 {
			it.tickets = append(it.tickets, protocol.ID(c.take(protocol.IDSize)))
		}
		return c.ok && len(it.tickets) > 0
	case itemRelays:
		n := int(c.u8())
		for i := 0; i < n && c.ok; i++ {
			it.relays = append(it.relays, c.address())
		}
		return c.ok && len(c.b) == 0 && n >= 1
	}
	return true
}

// parseRows reads rows of so many bytes, each with a number above the last's.
func parseRows[T any](dst *[]T, v []byte, size int, read func(*cursor) (seq uint64, row T)) bool {
	if len(v) == 0 || len(v)%size != 0 || len(v)/size > maxSeqs {
		return false
	}
	c := &cursor{v, true}
	last := uint64(0)
	for len(c.b) > 0 {
		seq, row := read(c)
		if seq <= last {
			return false
		}
		*dst = append(*dst, row)
		last = seq
	}
	return true
}

func parseSeqs(dst *[]uint64, v []byte) bool {
	return parseRows(dst, v, 8, func(c *cursor) (uint64, uint64) { seq := c.u64(); return seq, seq })
}

func parseReceipts(dst *[]receipt, v []byte) bool {
	return parseRows(dst, v, 16, func(c *cursor) (uint64, receipt) { r := receipt{c.u64(), mark(c.u64())}; return r.Seq, r })
}

// metaVersion is the first byte of a bundle's meta; items follow.
const metaVersion = 1

func marshalMeta(it *items) []byte { return append([]byte{metaVersion}, it.marshal()...) }

func parseMeta(b []byte) (*items, error) {
	if len(b) < 1 || b[0] != metaVersion {
		return nil, errBody
	}
	return parseItems(b[1:])
}
