// Package safe makes text from other people harmless before it is shown: a name, a
// message, an error text, a file name. Which function do I call? Block for a text
// that may have several lines, Line for everything else, JSON for encoded JSON.
//
// What comes out has printable characters, spaces and (Block alone) newlines: no
// escapes, no C0 or C1 controls, no bidirectional controls, nothing of zero width
// but a few combining marks, no carriage return, no tab (interface.md, How they
// behave).
package safe

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of what comes out, in characters (runes).
const (
	MaxLine  = 200
	MaxBlock = 1 << 17

	maxMarks = 4 // combining marks in a row; more paint over the lines around them
)

// Block is s made harmless, with its line breaks. More than MaxBlock characters
// are cut, and an ellipsis shows it.
func Block(s string) string { return filter(s, MaxBlock, true) }

// Line is s made harmless on one line: a line break becomes a space. More than
// MaxLine characters are cut, and an ellipsis shows it.
func Line(s string) string { return filter(s, MaxLine, false) }

func filter(s string, bound int, lines bool) string {
	var b strings.Builder
	n, marks := 0, 0
	put := func(r rune) {
		b.WriteRune(r)
		n++
	}
	for i, r := range s { // a byte that is not UTF-8 arrives as U+FFFD
		if r != brailleBlank && Invisible(r) {
			continue // marks around it will stand in a row
		}
		if n >= bound {
			put('…')
			break
		}
		if unicode.Is(unicode.M, r) {
			marks++
		} else {
			marks = 0
		}
		switch {
		case r == '\r' && strings.HasPrefix(s[i+1:], "\n"): // the newline follows
		case r == '\n', r == '\u2028', r == '\u2029', r == '\v', r == '\f', r == '\u0085':
			if lines {
				put('\n')
			} else {
				put(' ')
			}
		case r == '\t', r == '\u3000': // an ideographic space is two columns wide
			put(' ')
			put(' ')
		case unicode.Is(unicode.Zs, r), r == brailleBlank:
			put(' ')
		case marks > maxMarks:
		case unicode.IsPrint(r):
			put(r)
		default: // a control or an unassigned character: that it was there is shown
			put(utf8.RuneError)
		}
	}
	return b.String()
}

// brailleBlank is a symbol to Unicode, and a space to those who read it.
const brailleBlank = '\u2800'

// Invisible tells whether r takes no room on a screen, or leaves it empty without
// being a space, so that two texts may differ and look alike: zero-width and
// bidirectional controls, fillers, joiners, variation selectors, tags.
func Invisible(r rune) bool {
	return r == brailleBlank || unicode.In(r, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// JSON rewrites encoded JSON so that control and format characters inside its
// strings, and combining marks behind the first few in a row, are \u escapes: it may
// be shown on a terminal, and still means the same. The encoder escaped C0 and
// replaced what is not UTF-8 already.
func JSON(encoded []byte) []byte {
	const hex = "0123456789abcdef"
	out := make([]byte, 0, len(encoded))
	unit := func(u rune) {
		out = append(out, '\\', 'u', hex[u>>12&15], hex[u>>8&15], hex[u>>4&15], hex[u&15])
	}
	marks := 0
	for _, r := range string(encoded) {
		if unicode.Is(unicode.M, r) {
			marks++
		} else {
			marks = 0
		}
		switch {
		case r == '\n' || unicode.IsPrint(r) && !Invisible(r) && marks <= maxMarks:
			out = utf8.AppendRune(out, r)
		case r > 0xffff:
			unit(0xd800 + (r-0x10000)>>10)
			unit(0xdc00 + (r-0x10000)&0x3ff)
		default:
			unit(r)
		}
	}
	return out
}
