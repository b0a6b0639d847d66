package protocol

import (
	"errors"
	"strings"
	"unicode"
)

const grantPrefix = "kingrant1"

// ErrGrant is returned for text that is not a whole grant.
var ErrGrant = errors.New("not a grant: it begins with kingrant1 and has 54 characters")

// GrantText is a grant as an operator passes it on: "kingrant1" ‖
// base32(grant24 ‖ checksum4), 54 characters.
func GrantText(g ID) string {
	return grantPrefix + encode32(append(g[:], Hash("kin/1 grant text", g[:])[:4]...))
}

// ParseGrant reads a grant; it forgives case, spaces, dashes and look-alikes.
func ParseGrant(s string) (ID, error) {
	var text []byte
	for _, r := range s {
		if unicode.IsSpace(r) || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Dash, r) {
			continue
		}
		text = append(text, mend(r))
	}
	rest, ok := strings.CutPrefix(string(text), "k1ngrant1")
	if !ok {
		return ID{}, ErrGrant
	}
	b, ok := decode32(rest)
	if !ok || len(b) != IDSize+4 || string(Hash("kin/1 grant text", b[:IDSize])[:4]) != string(b[IDSize:]) {
		return ID{}, ErrGrant
	}
	return ID(b[:IDSize]), nil
}
