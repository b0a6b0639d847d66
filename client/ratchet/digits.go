package ratchet

import (
	"crypto/sha512"
	"fmt"
	"strings"
)

const digitRounds = 5200

// Digits are the 60 digits that both sides compare, in twelve groups of five with
// one space between (docs/protocol.md, Checking an identity). They name this
// session, and are the same on both sides.
func (s *Session) Digits() string { return digits(&s.ad) }

func digits(ad *key) string {
	h := ad[:]
	for range digitRounds {
		sum := sha512.Sum512(append(h[:len(h):len(h)], ad[:]...))
		h = sum[:]
	}
	groups := make([]string, 12)
	for i := range groups {
		var v uint64
		for _, b := range h[5*i : 5*i+5] {
			v = v<<8 | uint64(b)
		}
		groups[i] = fmt.Sprintf("%05d", v%100_000)
	}
	return strings.Join(groups, " ")
}
