package ratchet

import (
	"crypto/sha256"
	"encoding/binary"
)

// header is what every message shows of its chain (docs/protocol.md, Ratchet):
// dh32 ‖ ek1184 ‖ ct1088 ‖ pn4 ‖ n4 ‖ version1 ‖ flags3.
type header struct {
	dh, ek, ct []byte
	pn, n      uint32
}

func (h header) marshal() []byte {
	b := make([]byte, 0, headerSize)
	b = append(b, h.dh...)
	b = append(b, h.ek...)
	b = append(b, h.ct...)
	b = binary.BigEndian.AppendUint32(b, h.pn)
	b = binary.BigEndian.AppendUint32(b, h.n)
	return append(b, headerVersion, 0, 0, 0)
}

// parseHeader checks the version, that no flag is set, and that the numbers are
// in range; b is headerSize bytes.
func parseHeader(b []byte) (header, error) {
	const ek, ct, pn, n, version = keySize, keySize + kemPublic, headerSize - 12, headerSize - 8, headerSize - 4
	h := header{
		dh: b[:ek], ek: b[ek:ct], ct: b[ct:pn],
		pn: binary.BigEndian.Uint32(b[pn:]), n: binary.BigEndian.Uint32(b[n:]),
	}
	if binary.BigEndian.Uint32(b[version:]) != headerVersion<<24 {
		return header{}, ErrHeader
	}
	if h.pn > maxJump || h.n > maxJump {
		return header{}, ErrJump
	}
	return h, nil
}

// fixed is a hash of what must stay the same through a chain: all but n.
func (h header) fixed() [32]byte {
	return sha256.Sum256(h.marshal()[:headerSize-8])
}
