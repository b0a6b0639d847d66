package main

// The keys of a two-set (dubeolsik, KS X 5002) keyboard on a QWERTY one. A letter
// that needs two strokes has two keys. The rows follow Unicode's order of the
// letters (The Unicode Standard, 3.12, Conjoining Jamo Behavior).
var (
	initialKeys = [19]string{"r", "R", "s", "e", "E", "f", "a", "q", "Q", "t", "T", "d", "w", "W", "c", "z", "x", "v", "g"}
	vowelKeys   = [21]string{"k", "o", "i", "O", "j", "p", "u", "P", "h", "hk", "ho", "hl", "y", "n", "nj", "np", "nl", "b", "m", "ml", "l"}
	finalKeys   = [28]string{"", "r", "R", "rt", "s", "sw", "sg", "e", "f", "fr", "fa", "fq", "ft", "fx", "fv", "fg", "a", "q", "qt", "t", "T", "d", "w", "c", "z", "x", "v", "g"}

	// compatibilityKeys begin at U+3131: what an input method leaves of a letter
	// alone.
	compatibilityKeys = [51]string{
		"r", "R", "rt", "s", "sw", "sg", "e", "E", "f", "fr", "fa", "fq", "ft", "fx", "fv", "fg",
		"a", "q", "Q", "qt", "t", "T", "d", "w", "W", "c", "z", "x", "v", "g",
		"k", "o", "i", "O", "j", "p", "u", "P", "h", "hk", "ho", "hl", "y", "n", "nj", "np", "nl", "b", "m", "ml", "l",
	}
)

const (
	firstSyllable      = 0xac00
	firstInitial       = 0x1100
	firstVowel         = 0x1161
	beforeFinal        = 0x11a7
	firstCompatibility = 0x3131
)

// twoSet is the keys that type r, if r is a syllable or a letter of modern Hangul.
func twoSet(r rune) (keys string, ok bool) {
	switch i := int(r); {
	case i >= firstSyllable && i < firstSyllable+19*21*28:
		i -= firstSyllable
		return initialKeys[i/(21*28)] + vowelKeys[i/28%21] + finalKeys[i%28], true
	case i >= firstInitial && i < firstInitial+len(initialKeys):
		return initialKeys[i-firstInitial], true
	case i >= firstVowel && i < firstVowel+len(vowelKeys):
		return vowelKeys[i-firstVowel], true
	case i > beforeFinal && i < beforeFinal+len(finalKeys):
		return finalKeys[i-beforeFinal], true
	case i >= firstCompatibility && i < firstCompatibility+len(compatibilityKeys):
		return compatibilityKeys[i-firstCompatibility], true
	}
	return "", false
}
