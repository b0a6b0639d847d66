package client

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"kin/internal/safe"
)

const maxLabel = 64 // characters

// cleanLabel is a label as it is kept: NFC, single spaces, nothing invisible, and
// nothing that would let it pass, where it is shown, for words of kin's own. A name in
// an invite becomes a label, so it is an enemy's to choose.
func cleanLabel(label string) (string, error) {
	if !utf8.ValidString(label) {
		return "", fmt.Errorf("%w: %q is not UTF-8", ErrLabel, label)
	}
	label = norm.NFC.String(strings.Join(strings.Fields(label), " "))
	if label == "" || utf8.RuneCountInString(label) > maxLabel {
		return "", fmt.Errorf("%w: it needs 1 to %d characters", ErrLabel, maxLabel)
	}
	for _, r := range label {
		if !unicode.IsPrint(r) || safe.Invisible(r) {
			return "", fmt.Errorf("%w: %q has a character that can't be seen", ErrLabel, label)
		}
	}
	if strings.ContainsAny(label[:1], "-@{") { // an option, a file, an object of --json
		return "", fmt.Errorf("%w: %q must not begin with %q", ErrLabel, label, label[:1])
	}
	if strings.HasPrefix(alike.Replace(norm.NFKC.String(foldLabel(label))), "kln:") {
		return "", fmt.Errorf("%w: %q begins as kin's own lines do", ErrLabel, label)
	}
	for i, r := range label {
		if strings.ContainsRune(dots, r) && (strings.HasSuffix(label[:i], " ") || strings.HasPrefix(label[i+utf8.RuneLen(r):], " ")) {
			return "", fmt.Errorf("%w: %q: %q must not stand alone", ErrLabel, label, r)
		}
	}
	return label, nil
}

// dots stand between the parts of a line of kin's: "From X · identity checked".
const dots = "·•‧∙⋅⸱・･"

// foldLabel is what makes two labels the same contact: NFC, case folded.
func foldLabel(label string) string {
	return cases.Fold().String(norm.NFC.String(strings.Join(strings.Fields(label), " ")))
}

// SameLabel tells whether two labels are the same contact's.
func SameLabel(a, b string) bool { return foldLabel(a) == foldLabel(b) }

// alike are letters of other scripts, and digits, that look like a Latin letter.
var alike = strings.NewReplacer(
	"а", "a", "в", "b", "е", "e", "к", "k", "м", "m", "н", "h", "о", "o", "р", "p", "с", "c", "т", "t", "у", "y", "х", "x",
	"і", "l", "ј", "j", "ѕ", "s", "ԁ", "d", "һ", "h", "ԛ", "q", "ԝ", "w", "ӏ", "l",
	"α", "a", "ο", "o", "ρ", "p", "ν", "v", "ι", "l", "κ", "k", "υ", "u", "χ", "x", "τ", "t", "η", "n",
	"ı", "l", "i", "l", "1", "l", "|", "l", "0", "o", "rn", "m", "vv", "w",
)

// skeleton is equal for labels that a tired person could take for one another.
func skeleton(label string) string {
	s := strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Mn, r) || !unicode.IsLetter(r) && !unicode.IsNumber(r) && r != '|' && r < 0x2000 {
			return -1
		}
		return r
	}, norm.NFKD.String(foldLabel(label)))
	return alike.Replace(norm.NFKC.String(s))
}

// freeLabel checks that no other contact has this label or one like it.
func freeLabel(contacts []*contact, label string, except *contact) error {
	for _, c := range contacts {
		if c != except && (foldLabel(c.Label) == foldLabel(label) || skeleton(c.Label) == skeleton(label)) {
			return fmt.Errorf("%w: %q and %q", ErrLabelTaken, label, c.Label)
		}
	}
	return nil
}

// nextLabel is the first of contact-1, contact-2, … that is free.
func nextLabel(contacts []*contact) string {
	for n := 1; ; n++ {
		label := fmt.Sprintf("contact-%d", n)
		if freeLabel(contacts, label, nil) == nil {
			return label
		}
	}
}
