package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
	"golang.org/x/text/width"
)

// The byte oracle: what a terminal may be sent, written from interface.md and from
// Unicode's files, not from internal/safe. It lists what is allowed; everything
// else is a finding.

// The pseudo-terminal of these tests, in characters: a person's window.
const (
	ttyColumns = 80
	ttyLines   = 50
)

// obeyed are the only sequences that kin itself sends to a terminal: the alternate
// screen, clearing it, the bell, and the ground of a QR code.
var obeyed = []string{"\x1b[?1049h\x1b[H\x1b[2J", "\x1b[2J\x1b[?1049l", "\x1b[H\x1b[2J", "\x1b[97;40m", "\x1b[0m", "\a"}

// unseen is Default_Ignorable_Code_Point (DerivedCoreProperties.txt), Bidi_Control
// (PropList.txt) and the braille blank: what takes no room, turns the direction, or
// looks like nothing.
var unseen = [][2]rune{{0xad, 0xad}, {0x34f, 0x34f}, {0x61c, 0x61c}, {0x115f, 0x1160}, {0x17b4, 0x17b5}, {0x180b, 0x180f},
	{0x200b, 0x200f}, {0x2028, 0x202e}, {0x2060, 0x206f}, {0x2800, 0x2800}, {0x3164, 0x3164}, {0xfe00, 0xfe0f}, {0xfeff, 0xfeff},
	{0xffa0, 0xffa0}, {0xfff0, 0xfffb}, {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a}, {0xe0000, 0xe0fff}}

func isUnseen(r rune) bool {
	return slices.ContainsFunc(unseen, func(s [2]rune) bool { return s[0] <= r && r <= s[1] })
}

// harmless judges what reached a person. terminal: what a pseudo-terminal showed,
// where a newline is CR LF. The finding names the first wrong byte.
func harmless(out []byte, terminal bool) error {
	s, err := printable(out, terminal)
	if err != nil {
		return err
	}
	return noMasquerade(s, terminal)
}

// printable judges single characters, and returns what is left without what kin
// itself may send.
func printable(out []byte, terminal bool) (string, error) {
	s := string(out)
	bells := 0
	if terminal {
		s = strings.ReplaceAll(s, "\r\n", "\n")
		for i, seq := range obeyed {
			if i == len(obeyed)-1 {
				bells = strings.Count(s, seq)
			}
			s = strings.ReplaceAll(s, seq, "")
		}
	}
	if bells > 1 {
		return "", fmt.Errorf("%d bells in one run", bells)
	}
	marks := 0
	for i, r := range s {
		if unicode.Is(unicode.M, r) {
			marks++
		} else {
			marks = 0
		}
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD"):
			return "", fmt.Errorf("byte %d, %#x, is not UTF-8, in %q", i, s[i], around(s, i))
		case r == '\n' || r == ' ':
		case isUnseen(r):
			return "", fmt.Errorf("%U, which can't be seen, in %q", r, around(s, i))
		case !unicode.In(r, unicode.L, unicode.M, unicode.N, unicode.P, unicode.S):
			return "", fmt.Errorf("%U, which is not printable, in %q", r, around(s, i))
		case marks > 4:
			return "", fmt.Errorf("more than 4 combining marks on one letter, in %q", around(s, i))
		}
	}
	return s, nil
}

func around(s string, i int) string { return s[max(0, i-30):min(len(s), i+30)] }

// spoof stands behind each beginning in the payloads that look like kin's own lines.
const spoof = "SPOOF"

// ownBeginnings are what lines of kin's own begin with.
var ownBeginnings = []string{"kin: error:", "kin: hint:", "From ", "To ", "> ", `{"v":1,"type":"`, "Passphrase:"}

// noMasquerade refuses a row, as a terminal of 80 columns or a file shows it, that
// begins as one of kin's own lines and was written by somebody else.
func noMasquerade(s string, terminal bool) error {
	for _, line := range strings.Split(s, "\n") {
		rows := []string{line}
		if terminal {
			rows = rowsOf(line, ttyColumns)
		}
		for _, row := range rows {
			for _, own := range ownBeginnings {
				if rest, is := strings.CutPrefix(row, own); is && strings.HasPrefix(strings.TrimSpace(rest), spoof) {
					return fmt.Errorf("a text passes for a line of kin's own: %q", row)
				}
			}
		}
	}
	return nil
}

// rowsOf is a line as a terminal breaks it.
func rowsOf(line string, columns int) (rows []string) {
	start, at := 0, 0
	for i, r := range line {
		w := 1
		switch {
		case unicode.Is(unicode.M, r):
			w = 0
		case width.LookupRune(r).Kind() == width.EastAsianWide, width.LookupRune(r).Kind() == width.EastAsianFullwidth:
			w = 2
		}
		if at += w; at > columns {
			rows = append(rows, line[start:i])
			start, at = i, w
		}
	}
	return append(rows, line[start:])
}

// A field of an object of --json: what its value must be. An optional one may be
// absent.
type field struct {
	check    func(any) bool
	optional bool
}

func is[T any](v any) bool { _, ok := v.(T); return ok }

func oneOf(words ...string) field {
	return field{check: func(v any) bool { s, ok := v.(string); return ok && slices.Contains(words, s) }}
}

var (
	words   = field{check: is[string]}
	truth   = field{check: is[bool]}
	count   = field{check: func(v any) bool { n, ok := v.(float64); return ok && n >= 0 && n == float64(uint64(n)) }}
	instant = field{check: func(v any) bool {
		s, ok := v.(string)
		_, err := time.Parse(time.RFC3339, s)
		return v == nil || ok && err == nil
	}}
	identity = field{check: func(v any) bool {
		s, ok := v.(string)
		_, err := uuid.Parse(s)
		return ok && err == nil
	}}
	one    = field{check: func(v any) bool { return v == float64(1) }}
	none   = field{check: func(v any) bool { l, ok := v.([]any); return ok && len(l) == 0 }}
	onWay  = oneOf("queued", "on_relay", "on_relay_memory", "delivered", "read", "expired_unread", "cancelled")
	states = oneOf("queued", "on_relay", "on_relay_memory", "delivered", "read", "expired_unread", "cancelled", "received")
)

// schema is interface.md's --json, and what the commands add to it.
var schema = map[string]map[string]field{
	"message": {"v": one, "id": identity, "contact": words, "identity_checked": truth, "direction": oneOf("in", "out"), "sent": instant,
		"received": instant, "text": words, "files": none, "urgent": truth, "seq": count, "gap": count, "state": states,
		"note": {check: oneOf("newer", "quarantined", "lost", "forked", "taken_back").check, optional: true}},
	"sent": {"v": one, "id": identity, "contact": words, "state": onWay, "until": instant},
	"status": {"v": one, "id": identity, "contact": words, "state": onWay, "made": instant, "changed": instant, "until": instant,
		"urgent": truth, "parts": count, "on_relay": count, "reason": words, "stopped": truth},
	"contact": {"v": one, "label": words, "calls_themself": words, "identity_checked": truth, "joined": truth, "last_received": instant,
		"unread": count, "must_accept": truth, "stopped": truth, "invited": truth},
	"invite":       {"v": one, "contact": words, "invite": words, "expires": instant},
	"invite_state": {"v": one, "contact": words, "state": oneOf("open", "used", "expired", "revoked"), "made": instant, "expires": instant, "fetches": count, "tries": count},
	"check":        {"v": one, "contact": words, "digits": words, "identity_checked": truth},
	"sync":         {"v": one, "received": count, "queued": count, "can_disconnect": truth},
	"renamed":      {"v": one, "contact": words},
	"removed":      {"v": one, "contact": words},
	"accepted":     {"v": one, "contact": words},
	"checked":      {"v": one, "contact": words},
	"revoked":      {"v": one, "contact": words},
	"error":        {"v": one, "code": count, "message": words},
}

// jsonLines judges the stdout of a run with --json and returns its objects: each
// line is one object of the schema, and no character in it acts on a terminal.
func jsonLines(out []byte) (objects []map[string]any, err error) {
	if _, err := printable(out, false); err != nil {
		return nil, err
	}
	for _, line := range bytes.Split(bytes.TrimSuffix(out, []byte("\n")), []byte("\n")) {
		if len(line) == 0 {
			continue
		}
		var o map[string]any
		if err := json.Unmarshal(line, &o); err != nil {
			return nil, fmt.Errorf("%w: %q", err, line)
		}
		kind, _ := o["type"].(string)
		fields, ok := schema[kind]
		if !ok {
			return nil, fmt.Errorf("no such type: %q", line)
		}
		for name, f := range fields {
			if v, there := o[name]; there && !f.check(v) || !there && !f.optional {
				return nil, fmt.Errorf("%q of %q", name, line)
			}
		}
		for name := range o {
			if _, ok := fields[name]; !ok && name != "type" {
				return nil, fmt.Errorf("%q is not in the schema: %q", name, line)
			}
		}
		objects = append(objects, o)
	}
	return objects, nil
}

// The oracle itself: what it must refuse, and what it must let pass.
func TestOracleRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		out      string
		terminal bool
	}{
		"escape": {"a\x1b[31m", true}, "part of an allowed sequence": {"\x1b[2", true}, "alternate screen in a file": {"\x1b[?1049h\x1b[H\x1b[2J", false},
		"C1": {"\u009b1m", true}, "raw C1": {"\x9b1m", false}, "carriage return": {"pay 1\rpay 9\r\n", true}, "CR in a file": {"a\r\n", false},
		"tab": {"a\tb", false}, "bidi": {"\u202e", false}, "isolate": {"\u2066", true}, "zero width": {"a\u200db", false}, "filler": {"\u3164", false},
		"braille blank": {"\u2800", false}, "no-break space": {"a\u00a0b", false}, "line separator": {"\u2028", false}, "private use": {"\ue000", false},
		"marks": {"a" + strings.Repeat("\u0301", 5), false}, "two bells": {"\aa\a", true}, "delete": {"\x7f", true}, "lone surrogate": {"\xed\xa0\x80", false},
		"masquerade":                 {"kin: error: " + spoof, false},
		"masquerade in the next row": {strings.Repeat("x", ttyColumns) + "From " + spoof, true},
		"with wide letters":          {strings.Repeat("가", ttyColumns/2) + "kin: hint: " + spoof, true},
	} {
		if harmless([]byte(c.out), c.terminal) == nil {
			t.Errorf("%s passes", name)
		}
	}
	for name, c := range map[string]struct {
		out      string
		terminal bool
	}{
		"a screen":        {obeyed[0] + "From K7\r\n    안녕 é 👩 \uFFFD\r\n" + obeyed[1] + "\a", true},
		"an indented lie": {"    kin: error: " + spoof + "\n", false},
	} {
		if err := harmless([]byte(c.out), c.terminal); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, line := range []string{
		`{"v":1,"type":"removed"}`, `{"v":1,"type":"removed","contact":"a","more":1}`, `{"v":2,"type":"removed","contact":"a"}`, `{"v":1,"type":"x"}`,
		`{"v":1,"type":"removed","contact":"a"} {}`, `{"v":1,"type":"sync","received":-3,"queued":0,"can_disconnect":true}`, "not JSON",
		"{\"v\":1,\"type\":\"removed\",\"contact\":\"a\u202e\"}",
	} {
		if _, err := jsonLines([]byte(line)); err == nil {
			t.Errorf("%s passes", line)
		}
	}
}
