package safe

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestFilter(t *testing.T) {
	for _, c := range []struct{ name, in, block, line string }{
		{"plain", "hello, 안녕, Привет, 你好", "hello, 안녕, Привет, 你好", "hello, 안녕, Привет, 你好"},
		{"newline", "a\nb", "a\nb", "a b"},
		{"colour", "\x1b[31mred\x1b[0m", "�[31mred�[0m", "�[31mred�[0m"},
		{"title", "\x1b]0;evil\x07", "�]0;evil�", "�]0;evil�"},
		{"C1 CSI", "\u009b31m", "�31m", "�31m"},
		{"raw C1 byte", "\x9b31m", "�31m", "�31m"},
		{"bell, backspace, delete, NUL", "\a\b\x7f\x00", "����", "����"},
		{"carriage return overwrites", "pay 1\rpay 9", "pay 1�pay 9", "pay 1�pay 9"},
		{"CRLF", "a\r\nb", "a\nb", "a b"},
		{"tab", "a\tb", "a  b", "a  b"},
		{"bidi override", "\u202eevil\u202c\u2066x\u2069\u061c", "evilx", "evilx"},
		{"zero width", "ab\u200b\u200c\u200d\u2060\ufeffcd\u00ad", "abcd", "abcd"},
		{"line separators", "a\u2028b\u2029c\u0085d\ve\ff", "a\nb\nc\nd\ne\nf", "a b c d e f"},
		{"fillers", "a\u3164\u115f\uffa0b", "ab", "ab"},
		{"braille blank", "a\u2800b", "a b", "a b"},
		{"variation selectors and tags", "a\ufe0f\U000e0101\U000e0041b", "ab", "ab"},
		{"spaces", "a\u00a0b\u2003c\u3000d", "a b c  d", "a b c  d"},
		{"marks in a row", "e" + strings.Repeat("\u0301", 50), "e\u0301\u0301\u0301\u0301", "e\u0301\u0301\u0301\u0301"},
		{"marks in a row, and what is left out between them", "e" + strings.Repeat("\u0301\u0301\u0301\u200b", 50), "e\u0301\u0301\u0301\u0301", "e\u0301\u0301\u0301\u0301"},
		{"private use and unassigned", "\ue000\U000f0000\u0378", "���", "���"},
		{"surrogate bytes", "\xed\xa0\x80", "���", "���"},
		{"emoji", "👩‍👩‍👧", "👩👩👧", "👩👩👧"},
	} {
		if got := Block(c.in); got != c.block {
			t.Errorf("%s: Block(%q) = %q, want %q", c.name, c.in, got, c.block)
		}
		if got := Line(c.in); got != c.line {
			t.Errorf("%s: Line(%q) = %q, want %q", c.name, c.in, got, c.line)
		}
	}
}

func TestFilterIsBounded(t *testing.T) {
	if got := Line(strings.Repeat("가", MaxLine+50)); utf8.RuneCountInString(got) != MaxLine+1 || !strings.HasSuffix(got, "…") {
		t.Errorf("Line lets %d characters through", utf8.RuneCountInString(got))
	}
	if got := Line(strings.Repeat("가", MaxLine)); got != strings.Repeat("가", MaxLine) {
		t.Error("Line cuts what fits")
	}
	if got := Block(strings.Repeat("x", MaxBlock+50)); utf8.RuneCountInString(got) != MaxBlock+1 {
		t.Errorf("Block lets %d characters through", utf8.RuneCountInString(got))
	}
}

// A thousand marks on one letter paint over the lines around it, in JSON as well.
func TestCombiningBombInJSON(t *testing.T) {
	bomb := "e" + strings.Repeat("\u0301", 1000) + "x"
	encoded, err := json.Marshal(bomb)
	if err != nil {
		t.Fatal(err)
	}
	out := JSON(encoded)
	var got string
	if err := json.Unmarshal(out, &got); err != nil || got != bomb {
		t.Fatal("it means something else", err)
	}
	if n := strings.Count(string(out), "\u0301"); n > 4 {
		t.Errorf("%d marks in a row", n)
	}
}

func FuzzFilter(f *testing.F) {
	for _, s := range []string{"", "a\tb\r\n", "\x1b[2J\u202e", "\u0301\u0301\u0301\u0301\u0301", "\u0301\u0301\u0301\u0301\u0301\u0301\u0601\u0301", "\xff\xfe", "한\u200b글"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, shown := range [][2]string{{"Block", Block(s)}, {"Line", Line(s)}} { // in one order, that the fuzzer finds the same again
			name, got := shown[0], shown[1]
			if !utf8.ValidString(got) {
				t.Fatalf("%s(%q) is not UTF-8", name, s)
			}
			if len(got) > 4*len(s)+len("…") { // a bad byte becomes three
				t.Fatalf("%s made %d bytes of %d", name, len(got), len(s))
			}
			for _, r := range got {
				if r == '\n' && name == "Block" {
					continue
				}
				if !unicode.IsPrint(r) || unicode.Is(unicode.Bidi_Control, r) || unicode.Is(unicode.Join_Control, r) || unicode.Is(unicode.Variation_Selector, r) {
					t.Fatalf("%s(%q) lets %U through", name, s, r)
				}
			}
		}
		if again := Block(Block(s)); again != Block(s) && utf8.RuneCountInString(s) < MaxBlock/4 {
			t.Fatalf("Block is not stable on %q", s)
		}
	})
}

func FuzzJSON(f *testing.F) {
	for _, s := range []string{"", "\u202e\u200b\u009b", "\U000e0041", "한글\n\t\x1b", "\xff", "\u2028\ufeff", "\\u202e"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		encoded, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var want, got string
		if err := json.Unmarshal(encoded, &want); err != nil {
			t.Fatal(err)
		}
		out := JSON(encoded)
		if err := json.Unmarshal(out, &got); err != nil || got != want {
			t.Fatalf("%q became %s: %v", s, out, err)
		}
		for _, r := range string(out) {
			if unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Cs, unicode.Co, unicode.Bidi_Control) {
				t.Fatalf("JSON(%q) shows %U", s, r)
			}
		}
	})
}
