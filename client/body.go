package client

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/google/uuid"
)

// kind is the first byte of what the ratchet carries (docs/protocol.md, Messages).
type kind byte

const (
	kindText    kind = 1
	kindControl kind = 2 // receipts and notices alone: nothing to show
	kindFirst   kind = 3 // in a first flight
	// 0x10 to 0x1f are reserved for cases, 0x20 to 0x2f for check-ins, 0x30 to 0x3f for files.
)

const (
	bodyHeader = 1 + 16 + 8 + 32 + 8 + 8 + 1 // 74
	flagUrgent = 1
)

// body is the plaintext of one envelope.
type body struct {
	kind     kind
	id       uuid.UUID
	seq      uint64
	prev     [32]byte // the commitment of the envelope before
	sent     time.Time
	deadline time.Time
	flags    byte
	items    items
}

var errBody = errors.New("client: malformed message")

func (b *body) marshal() []byte {
	out := []byte{byte(b.kind)}
	out = append(out, b.id[:]...)
	out = binary.BigEndian.AppendUint64(out, b.seq)
	out = append(out, b.prev[:]...)
	out = binary.BigEndian.AppendUint64(out, uint64(b.sent.UnixMilli()))
	out = binary.BigEndian.AppendUint64(out, uint64(b.deadline.UnixMilli()))
	out = append(out, b.flags)
	return append(out, b.items.marshal()...)
}

// parseBody reads a plaintext. Items of an unknown tag are skipped.
func parseBody(b []byte) (*body, error) {
	c := &cursor{b, true}
	out := &body{kind: kind(c.u8()), id: uuid.UUID(c.take(16)), seq: c.u64(), prev: [32]byte(c.take(32)),
		sent: c.time(), deadline: c.time(), flags: c.u8()}
	if !c.ok || out.deadline.Before(out.sent) || out.id.Version() != 4 || out.id.Variant() != uuid.RFC4122 {
		return nil, errBody
	}
	it, err := parseItems(c.b)
	if err != nil {
		return nil, err
	}
	out.items = *it
	return out, nil
}
