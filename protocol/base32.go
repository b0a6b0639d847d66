package protocol

import "encoding/base32"

// alphabet leaves out i, l, o and u, so that what is read aloud or copied by hand
// can be mended: i and l are read as 1, o as 0.
const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"

var base32Text = base32.NewEncoding(alphabet).WithPadding(base32.NoPadding)

func encode32(b []byte) string { return base32Text.EncodeToString(b) }

// decode32 reads canonical text: one text for each value.
func decode32(s string) ([]byte, bool) {
	b, err := base32Text.DecodeString(s)
	if err != nil || encode32(b) != s {
		return nil, false
	}
	return b, true
}

// mend lowers one character and undoes look-alikes; 0 if it can't stand in the
// alphabet at all.
func mend(r rune) byte {
	if r >= 'A' && r <= 'Z' {
		r += 'a' - 'A'
	}
	if r >= 0xff01 && r <= 0xff5e { // full-width forms, from an input method
		return mend(r - 0xfee0)
	}
	switch r {
	case 'i', 'l':
		return '1'
	case 'o':
		return '0'
	}
	for i := 0; i < len(alphabet); i++ {
		if rune(alphabet[i]) == r {
			return byte(r)
		}
	}
	return 0
}
