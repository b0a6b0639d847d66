package protocol

import (
	"encoding/binary"
)

// Type names a frame's content. Values that are not listed are reserved; a
// receiver answers a command of an unknown type with CodeNotBuilt and ignores an
// unknown answer (docs/protocol.md, Frames).
type Type byte

// Client to relay. "corr" is the command's 24-byte number.
const (
	TypeIssue  Type = 0x01 // corr24 grant24 n1 n×hash32
	TypeNew    Type = 0x02 // corr24 ticket24 key32 proof48
	TypeOffer  Type = 0x03 // corr24 receiver24 claimhash32 ttl4 location24 proof48 [blob4096]
	TypeDel    Type = 0x04 // corr24 receiver24 proof48
	TypeFetch  Type = 0x05 // corr24 location24
	TypePut    Type = 0x06 // corr24 sender24 message16 class1 flags1 proof48 envelope4096
	TypeFirst  Type = 0x07 // corr24 sender24 claim32 key32 message16 class1 flags1 proof48 envelope4096
	TypeCancel Type = 0x08 // corr24 sender24 message16 proof48
	TypeSub    Type = 0x09 // corr24 n1 n×receiver24 n×proof48
	TypeUnsub  Type = 0x0a // corr24 handle2
	TypeAck    Type = 0x0b // handle2 n2 n×sequence8; never answered
	// 0x10 to 0x1f are reserved for attachment chunks.
)

// Relay to client. "corr" is the last 8 bytes of the command's number.
const (
	TypeOK     Type = 0x81 // corr8
	TypeError  Type = 0x82 // corr8 code2 wait4
	TypeIssued Type = 0x83 // corr8 remaining4
	TypeIDs    Type = 0x84 // corr8 receiver24 sender24
	TypeBlob   Type = 0x85 // corr8 expiry8 blob4096
	TypeSubbed Type = 0x86 // corr8 n1 n×(code2 handle2 waiting4 invite1 fetches1 tries1)
	TypeMsg    Type = 0x87 // handle2 sequence8 flags1 envelope4096
	TypeTried  Type = 0x88 // handle2 invite1 fetches1 tries1
	// 0x90 to 0x9f are reserved for attachment chunks.
)

// Frame is one message on a link.
type Frame struct {
	Type Type
	Body []byte
}

// classes are the sizes of a frame's plaintext, by the class byte in front of it.
var classes = [...]int{SmallFrame, MessageFrame, ChunkFrame}

// SealedSize is the number of bytes behind the class byte of a frame of that
// class; ErrMalformed if there is no such class.
func SealedSize(class byte) (int, error) {
	if int(class) >= len(classes) {
		return 0, ErrMalformed
	}
	return classes[class] + 16, nil
}

// classFor is the smallest class that holds a body of n bytes.
func classFor(n int) byte {
	for c, size := range classes {
		if n <= size-frameHeader {
			return byte(c)
		}
	}
	panic("protocol: a frame's body is too long")
}

// appendPlain appends a frame's padded plaintext: type1 len4 body zeros, the
// body being the parts, n bytes in all.
func appendPlain(dst []byte, class byte, t Type, n int, parts [][]byte) []byte {
	end := len(dst) + classes[class]
	dst = append(dst, byte(t))
	dst = binary.BigEndian.AppendUint32(dst, uint32(n))
	for _, p := range parts {
		dst = append(dst, p...)
	}
	return append(dst, zeros[:end-len(dst)]...)
}

var zeros [ChunkFrame]byte

// parsePlain reads a frame's padded plaintext. The body aliases b. A body that
// would fit a smaller class, and padding that is not zero, are malformed.
func parsePlain(class byte, b []byte) (Frame, error) {
	if int(class) >= len(classes) || len(b) != classes[class] {
		return Frame{}, ErrMalformed
	}
	n := binary.BigEndian.Uint32(b[1:])
	if n > uint32(len(b)-frameHeader) || classFor(int(n)) != class {
		return Frame{}, ErrMalformed
	}
	body, pad := b[frameHeader:frameHeader+n], b[frameHeader+n:]
	var or byte
	for _, x := range pad {
		or |= x
	}
	if or != 0 {
		return Frame{}, ErrMalformed
	}
	return Frame{Type(b[0]), body}, nil
}
