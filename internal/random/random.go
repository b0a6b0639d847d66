// Package random makes the moments that are left to chance: nobody who watches can
// foretell them, and a test that replays crypto/rand replays them too.
package random

import (
	"crypto/rand"
	"encoding/binary"
	"time"
)

// Below is a random duration from 0 to below d, which is above 0.
func Below(d time.Duration) time.Duration {
	var b [8]byte
	rand.Read(b[:])
	return time.Duration(binary.BigEndian.Uint64(b[:]) % uint64(d)) // off from even by 2^-27 for a minute
}
