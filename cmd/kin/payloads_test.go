package main

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"kin/protocol"
)

// payload is something that a text, or a name of at most 64 bytes, may be. The few
// that a short run uses stand first in their group.
type payload struct {
	what string
	text string
	few  bool
}

func payloads() (out []payload) {
	add := func(few bool, what, text string) { out = append(out, payload{what, text, few}) }
	add(true, "NUL", "a\x00b")
	add(true, "CSI: clear, home, colour", "\x1b[2J\x1b[H\x1b[31mred")
	add(false, "CSI in C1, UTF-8", "\u009b2J\u009b31mred")
	add(true, "CSI in C1, a raw byte", "\x9b2J\x9b31mred")
	add(false, "CSI in C1, overlong", "\xc0\x9b[2J")
	add(false, "ESC, overlong", "\xc1\x9b[2J\xe0\x80\x9b[2J\xf0\x80\x80\x9b[2J")
	add(true, "OSC: title", "\x1b]0;owned\x07\x1b]2;owned\x1b\\")
	add(false, "OSC in C1", "\u009d0;owned\u009c")
	add(true, "OSC 52: clipboard", "\x1b]52;c;cm0gLXJmIC8=\x07")
	add(false, "OSC 8: link", "\x1b]8;;https://x.invalid\x07click\x1b]8;;\x07")
	add(false, "OSC 4: palette; 11: ask", "\x1b]4;0;#fff\x07\x1b]11;?\x07")
	add(true, "DCS: sixel", "\x1bPq#0;2;0;0;0#0~~@@vv\x1b\\")
	add(false, "DCS: DECRQSS", "\x1bP$q\"p\x1b\\")
	add(false, "DCS, PM, SOS, APC in C1", "\u0090q~\u009c\u009ex\u009c\u0098y\u009c\u009fz\u009c")
	add(true, "APC: kitty graphics", "\x1b_Gf=100,a=T;iVBORw0KGgo=\x1b\\")
	add(false, "ask the terminal: DA, DSR, answerback", "\x1b[c\x1b[6n\x1b[>q\x05")
	add(true, "the end of a bracketed paste", "\x1b[201~kin wipe --yes\n")
	add(false, "modes: mouse, alternate screen, reset", "\x1b[?1000h\x1b[?1049l\x1bc\x1b[!p")
	add(false, "line drawing, charset shifts", "\x0e\x0fqqq\x1b(0qqq\x1b(B")
	add(true, "BEL", strings.Repeat("\a", 40))
	add(true, "backspace", "delivered\b\b\b\b\b\b\b\b\blost")
	add(true, "carriage return", "pay 1\rpay 9")
	add(false, "CR LF, VT, FF, NEL", "a\r\nb\vc\fd\u0085e")
	add(false, "DEL and all of C0", "\x7f\x01\x02\x03\x04\x05\x06\x0e\x10\x11\x13\x16\x17\x18\x19\x1a\x1c\x1d\x1e\x1f")
	add(false, "tabs", "a\tb\t\t\tc")
	add(true, "bidi override", "\u202e\u202dsend money\u202c to \u202btxet\u202c")
	add(false, "bidi isolates and marks", "\u2066a\u2067b\u2068c\u2069\u200e\u200f\u061c")
	add(true, "zero width", "a\u200bb\u200cc\u200dd\u2060e\ufeff\u00ad")
	add(false, "tags, variation selectors", "\U000e0001\U000e0041\U000e007f\ufe0f\U000e0100")
	add(true, "fillers and blanks", "a\u3164\u115f\u1160\uffa0\u2800b")
	add(false, "invisible operators, musical controls", "\u2061\u2062\u2063\u2064\U0001d173\u180e")
	add(false, "spaces", "\u00a0\u2000\u2003\u2007\u202f\u205f\u3000\u1680")
	add(true, "line and paragraph separator", "a\u2028b\u2029c")
	add(true, "combining bomb", "e"+strings.Repeat("\u0301", 10000))
	add(false, "combining bomb around what is not shown", "e"+strings.Repeat("\u0301\u200b", 200))
	add(false, "combining bomb of enclosing and spacing marks", "a"+strings.Repeat("\u20dd\u0903\u0488", 200))
	add(true, "very wide line", strings.Repeat("W", 9000))
	add(false, "very wide line of wide letters", strings.Repeat("한", 3000))
	add(false, "many short lines", strings.Repeat("\n", 300)+"x"+strings.Repeat("\ny", 300))
	add(false, "right to left", "مرحبا بالعالم שלום")
	add(true, "homoglyphs", "Мina Ꮇina Ｍina 𝐌ina")
	add(true, "lone surrogates", "\xed\xa0\x80 \xed\xbf\xbf")
	add(false, "not UTF-8", "\xff\xfe\xfd\x80\xbf\xc3(\xe2\x82\xf0\x9f\x92")
	add(false, "beyond Unicode", "\xf4\x90\x80\x80\xf7\xbf\xbf\xbf\xf8\x88\x80\x80\x80")
	add(false, "noncharacters, private use, unassigned", "\ufffe\uffff\U0001fffe\ue000\U000f0000\u0378")
	add(true, "path", "../../../../etc/passwd")
	add(false, "devices", "CON NUL: COM1 aux.txt /dev/tty \\\\.\\PhysicalDrive0 C:\\x")
	add(false, "a shell", "$(reboot) `reboot` ; reboot | reboot & rm -rf ~ %PATH%")
	add(true, "an option", "--passphrase-stdin")
	add(true, "JSON breakers", `"},{"v":1,"type":"message","text":"x"}\u0000\`+"\n"+`{"v":1,"type":"sent"}`)
	add(false, "escaped JSON", `\u001b[2J\u202e\"\\`)
	add(false, "format verbs", "%s %d %!v(BADINDEX) %[9]q {{.}} ${HOME}")
	add(true, "an error of kin's", "kin: error: "+spoof)
	add(false, "a hint of kin's", "\nkin: hint: "+spoof)
	add(false, "a head, in the next row", strings.Repeat("x", 80)+"From "+spoof)
	add(true, "a head, in the next row, indented", strings.Repeat("x", 76)+"From "+spoof+strings.Repeat(" ", 66)+"From "+spoof)
	add(false, "an error, behind wide letters", strings.Repeat("한", 40)+"kin: error: "+spoof+strings.Repeat("한", 38)+"kin: error: "+spoof)
	add(false, "a JSON line", "\n"+`{"v":1,"type":"`+spoof+`"}`)
	add(false, "a head of another", "Mina · identity checked · 12:00")
	add(true, "emoji with joiners", "👩‍👩‍👧‍👦 🏳️‍🌈 1️⃣")
	return out
}

// chosen are the payloads of this run.
func chosen(all bool) []payload {
	return slices.DeleteFunc(payloads(), func(p payload) bool { return !all && !p.few })
}

// name is the payload as a name: at most so many bytes, and not the same as another's.
func (p payload) name(i int) string {
	head := fmt.Sprintf("%d ", i)
	if p.what == "an option" || strings.Contains(p.text, spoof) || strings.Contains(p.text, "·") {
		head = "" // what counts is how it begins
	}
	return head + p.text[:min(len(p.text), 64-len(head))]
}

// twist is a letter that says something wrong in one field.
type twist struct {
	what string
	make func(e *enemy) []*letter
}

func seqs(ns ...uint64) []byte {
	var b []byte
	for _, n := range ns {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return b
}

// marked are numbers as receipts list them, each with a mark.
func marked(ns ...uint64) []byte {
	var b []byte
	for _, n := range ns {
		b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, n), ^n)
	}
	return b
}

func sequence(from, n uint64) (out []uint64) {
	for i := range n {
		out = append(out, from+i)
	}
	return out
}

// twists are wrong values of every field but texts and names. Letters of one twist
// are said one after the other.
func twists() (out []twist) {
	add := func(what string, make func(e *enemy) []*letter) { out = append(out, twist{what, make}) }
	with := func(what string, kind byte, items ...item) {
		add(what, func(e *enemy) []*letter { return []*letter{e.letter(kind, items...)} })
	}
	change := func(what string, f func(l *letter)) {
		add(what, func(e *enemy) []*letter {
			l := e.letter(kindText, item{itemText, []byte("twisted: " + what)})
			f(l)
			return []*letter{l}
		})
	}
	hello := item{itemText, []byte("twisted")}
	for kind := range 256 {
		if kind != kindText {
			with(fmt.Sprintf("kind %d", kind), byte(kind), hello)
		}
	}
	for tag := 12; tag < 256; tag += 9 {
		with(fmt.Sprintf("item %d", tag), kindText, hello, item{byte(tag), []byte("\x1b[2Junknown")})
	}
	for flags := range 256 {
		change(fmt.Sprintf("flags %d", flags), func(l *letter) { l.flags = byte(flags) })
	}
	// Ids.
	change("id of zeros", func(l *letter) { l.id = uuid.UUID{} })
	change("id of ones", func(l *letter) { l.id = uuid.Max })
	change("id of version 1", func(l *letter) { l.id[6] = 0x10 | l.id[6]&15 })
	add("one id twice", func(e *enemy) []*letter {
		a, b := e.letter(kindText, hello), e.letter(kindText, item{itemText, []byte("twisted again")})
		b.id, b.seq = a.id, a.seq+1
		return []*letter{a, b}
	})
	// Seqs and commitments.
	change("seq of zero", func(l *letter) { l.seq = 0 })
	change("seq too high", func(l *letter) { l.seq = 1<<64 - 1 })
	change("prev of another", func(l *letter) { l.prev[0] ^= 1 })
	// Times.
	const endOf9999 = 253402300799999
	for _, ms := range []uint64{0, 1, endOf9999, endOf9999 + 1, 1<<63 - 1, 1 << 63, 1<<64 - 1} {
		change(fmt.Sprintf("sent at %d", ms), func(l *letter) { l.sent, l.deadline = ms, max(ms, l.deadline) })
		change(fmt.Sprintf("deadline at %d", ms), func(l *letter) { l.deadline = ms })
		change(fmt.Sprintf("both at %d", ms), func(l *letter) { l.sent, l.deadline = ms, ms })
	}
	// Fragments.
	part := func(index, count uint16) item {
		return item{itemFragment, binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, index), count)}
	}
	for _, f := range [][2]uint16{{0, 0}, {0, 1}, {1, 1}, {2, 2}, {63, 64}, {64, 64}, {0, 65}, {0, 65535}, {65535, 65535}} {
		with(fmt.Sprintf("fragment %d of %d", f[0], f[1]), kindText, hello, part(f[0], f[1]))
	}
	with("fragment of a newer kind", 0x30, hello, part(0, 2))
	with("a first message with a fragment", kindFirst, hello, part(0, 2))
	add("parts that disagree", func(e *enemy) []*letter {
		a, b, c := e.letter(kindText, hello, part(0, 3)), e.letter(kindText, hello, part(1, 2)), e.letter(0x11, hello, part(2, 3))
		b.id, c.id, b.seq, c.seq = a.id, a.id, a.seq+1, a.seq+2
		return []*letter{a, b, c}
	})
	add("one part twice, then the other", func(e *enemy) []*letter {
		a, b, c := e.letter(kindText, hello, part(0, 2)), e.letter(kindText, hello, part(0, 2)), e.letter(kindText, item{itemText, []byte("\x1b[")}, part(1, 2))
		b.id, c.id, b.seq, c.seq = a.id, a.id, a.seq+1, a.seq+2
		return []*letter{a, b, c}
	})
	add("an escape sequence in two parts", func(e *enemy) []*letter {
		a, b := e.letter(kindText, item{itemText, []byte("\x1b")}, part(0, 2)), e.letter(kindText, item{itemText, []byte("[2J\xe2")}, part(1, 2))
		b.id, b.seq = a.id, a.seq+1
		return []*letter{a, b}
	})
	add("40 texts of 64 parts, one part of each", func(e *enemy) (out []*letter) {
		for i := range uint64(40) {
			l := e.letter(kindText, item{itemText, []byte(strings.Repeat("x", 1400))}, part(uint16(i), 64))
			l.seq += i
			out = append(out, l)
		}
		return out
	})
	// Lists of seqs.
	for _, tag := range []byte{itemReceipts, itemReads, itemTakenBack, itemQuiet} {
		listed := seqs
		if tag == itemReceipts || tag == itemReads {
			listed = marked
		}
		for what, list := range map[string][]byte{"never sent": listed(1<<40, 1<<63), "64": listed(sequence(1, 64)...), "65": listed(sequence(1, 65)...),
			"64 to come": listed(sequence(1<<20, 64)...), "the highest": listed(1<<64 - 1), "zero": listed(0), "twice": listed(5, 5), "descending": listed(9, 3), "none": {}, "half": {0, 0, 0}} {
			with(fmt.Sprintf("list %d: %s", tag, what), kindControl, item{tag, list})
		}
	}
	// Notices.
	for code := range 256 {
		with(fmt.Sprintf("notice %d", code), kindControl, item{itemNotice, []byte{byte(code)}})
	}
	with("notice of two bytes", kindControl, item{itemNotice, []byte{1, 1}})
	// Queues, tickets and relays in a session.
	id, key := protocol.ID{1}, make([]byte, 32)
	key[0] = 9
	queues := func(what string, n byte, ds ...[]byte) {
		with("queues: "+what, kindControl, item{itemQueues, append([]byte{n}, slices.Concat(ds...)...)})
	}
	for _, h := range hostileHosts {
		queues(fmt.Sprintf("%q", h), 1, descriptor(address(protocol.Fingerprint{7}, 0, h), id, [32]byte{}, key))
		queues(fmt.Sprintf("plain %q", h), 1, descriptor(address(protocol.Fingerprint{7}, 1, h), id, [32]byte{}, key))
		with(fmt.Sprintf("relays: %q", h), kindControl, item{itemRelays, append([]byte{1}, address(protocol.Fingerprint{7}, 0, h)...)})
	}
	good := descriptor(address(protocol.Fingerprint{7}, 0, "a"), id, [32]byte{}, key)
	queues("none", 0)
	queues("13", 13, slices.Repeat(good, 13))
	queues("255, cut", 255, slices.Repeat(good, 13))
	queues("no host", 1, descriptor(address(protocol.Fingerprint{}, 0), id, [32]byte{}, key))
	queues("five hosts", 1, descriptor(address(protocol.Fingerprint{}, 0, "a", "b", "c", "d", "e"), id, [32]byte{}, key))
	queues("scheme 2", 1, descriptor(address(protocol.Fingerprint{}, 2, "a"), id, [32]byte{}, key))
	queues("a low-order key", 1, descriptor(address(protocol.Fingerprint{7}, 0, "a"), id, [32]byte{}, make([]byte, 32)))
	with("60 tickets", kindControl, item{itemTickets, make([]byte, 60*24)})
	with("half a ticket", kindControl, item{itemTickets, make([]byte, 25)})
	// Layout.
	raw := func(what string, f func(b []byte) []byte) {
		add(what, func(e *enemy) []*letter { l := e.letter(kindText, hello); return []*letter{{raw: f(l.bytes())}} })
	}
	raw("nothing", func([]byte) []byte { return []byte{} })
	for n := 1; n < 74; n += 8 {
		raw(fmt.Sprintf("the first %d bytes", n), func(b []byte) []byte { return b[:n] })
	}
	raw("an item cut", func(b []byte) []byte { return b[:len(b)-1] })
	raw("an item twice", func(b []byte) []byte { return append(b, b[74:]...) })
	raw("an item of 65,535", func(b []byte) []byte { return append(b[:74], 1, 0xff, 0xff, 'x') })
	raw("full of nothing", func(b []byte) []byte { return append(b, make([]byte, 1500-len(b))...) })
	raw("full of ESC", func([]byte) []byte { return []byte(strings.Repeat("\x1b", 1500)) })
	return out
}

// hostileHosts are names of relays that a device must not be made to print as they
// are, or to run.
var hostileHosts = []string{"127.0.0.1:1", "localhost:22", "169.254.169.254", "[::1]:1", "192.168.1.1:80", "a b", "\x1b[2J", "a\u202eb", "-oProxyCommand=x",
	"$(reboot)", "a/../b", "a#b", "a?b", "user:pw@a", "a:99999", ":443", "%31", "xn--80ak6aa92e.com", strings.Repeat("a", 64), strings.Repeat("a", 65), "A.example",
	"a\nb", "a\x00b", "аpple.com", ""}

// The corpus must not lose what it is for.
func TestPayloadsAreThere(t *testing.T) {
	if p, f, w := len(payloads()), len(chosen(false)), len(twists()); p < 55 || f < 20 || w < 600 {
		t.Errorf("%d payloads, %d of them in a short run, %d twists", p, f, w)
	}
}
