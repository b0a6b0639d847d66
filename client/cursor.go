package client

import (
	"encoding/binary"
	"time"

	"kin/protocol"
)

// cursor takes fields off the front; after the first that is missing ok is false.
type cursor struct {
	b  []byte
	ok bool
}

func (c *cursor) take(n int) []byte {
	if !c.ok || len(c.b) < n {
		c.ok = false
		return make([]byte, n)
	}
	out := c.b[:n:n]
	c.b = c.b[n:]
	return out
}

func (c *cursor) u8() byte    { return c.take(1)[0] }
func (c *cursor) u16() uint16 { return binary.BigEndian.Uint16(c.take(2)) }
func (c *cursor) u64() uint64 { return binary.BigEndian.Uint64(c.take(8)) }

// time reads Unix milliseconds up to the year 9999.
func (c *cursor) time() time.Time {
	ms := c.u64()
	if ms > 253402300799999 {
		c.ok = false
		return time.Time{}
	}
	return time.UnixMilli(int64(ms)).UTC()
}

func (c *cursor) address() (a protocol.Address) {
	n := int(c.u8())
	if n < 1 || n > protocol.MaxHosts {
		c.ok = false
		return protocol.Address{}
	}
	for range n {
		scheme := c.u8()
		h := protocol.Host{TLS: scheme == 0, Name: string(c.take(int(c.u8())))}
		if got, err := protocol.ParseHost(h.URL()); scheme > 1 || err != nil || got != h {
			c.ok = false
			return protocol.Address{}
		}
		a.Hosts = append(a.Hosts, h)
	}
	a.Fingerprint = protocol.Fingerprint(c.take(protocol.FingerprintSize))
	return a
}
