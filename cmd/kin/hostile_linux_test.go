package main

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"kin/protocol"
)

// Malicious people: everything that a contact can write into a message, a name, an
// invite, into every command, and every byte that kin then says to the oracle.
//
//	go test -v -run 'Hostile|Oracle|GuestDoesNot' ./cmd/kin -args -payloads all

const partSize = 1400

// long says a text, in pieces if it needs them.
func (e *enemy) long(text string) {
	e.t.Helper()
	if len(text) <= partSize {
		e.text(text)
		return
	}
	count := (len(text) + partSize - 1) / partSize
	whole := e.letter(kindText)
	for i := range count {
		l := e.letter(kindText, item{itemText, []byte(text[i*partSize : min(len(text), (i+1)*partSize)])},
			item{itemFragment, binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, uint16(i)), uint16(count))})
		l.id, l.sent, l.deadline = whole.id, whole.sent, whole.deadline
		e.say(l)
	}
}

// bare is a text without what is not UTF-8, and without what stands in its place.
func bare(s string) string { return strings.ReplaceAll(strings.ToValidUTF8(s, ""), "\uFFFD", "") }

// everyCommand are the commands that can show something of a contact. all are texts
// that are new.
func everyCommand(label string, all []string, asks []question) []act {
	reading := []question{{pager, []string{""}}}
	return []act{
		{args: []string{"contacts"}},
		{args: []string{"status"}},
		{args: []string{"invite", "list"}},
		{args: []string{"check", label}},
		{args: []string{"history", label}, asks: []question{{firstPage, []string{"q"}}, {laterPage, []string{"b"}}}},
		{args: []string{"receive"}, asks: reading, fresh: true},
		{args: []string{"receive", label}, asks: reading, fresh: true},
		{args: []string{"receive", "--wait", "30s"}, asks: reading, fresh: true},
		{args: []string{"receive", "--follow"}, asks: reading, until: all, fresh: true},
		{args: []string{"sync"}, fresh: true},
		{args: []string{}, asks: asks, fresh: true, silent: true},
		{args: []string{"send", label, "an answer"}, fresh: true},
		{args: []string{"send", "nobody", "an answer"}, code: 1},
		{args: []string{"cancel", "0b9f4f0e-6a4f-4b58-a4c1-3f8c0d6e2a11"}, code: 1},
		{args: []string{"rename", label, "Another"}, fresh: true},
		{args: []string{"check", label, "--ok"}, fresh: true},
		{args: []string{"check", label, "--accept"}, fresh: true},
		{args: []string{"invite", "--for", label}, fresh: true},
		{args: []string{"remove", label}, fresh: true},
	}
}

// conversing chooses the n-th of several contacts, looks, and leaves.
func conversing(n string) []question {
	return []question{{choosing, []string{n, ""}}, {conversation, []string{"", "", "/q"}}}
}

func TestHostileTexts(t *testing.T) {
	s := newTheatre(t)
	f := s.friend("Friend")
	e := dialRelay(t, s.address)
	e.join(s.must("invite", "--for", "Enemy"), item{itemName, []byte("Enemy")})
	s.must("sync")
	corpus := chosen(s.all)
	all := []string{"honest, behind all of it"}
	for i, p := range corpus {
		e.long(fmt.Sprintf("p%03d\n%s", i, p.text))
		all = append(all, fmt.Sprintf("p%03d", i))
	}
	s.honest(f, "honest, behind all of it")
	s.must("sync")
	s.save()
	for _, a := range everyCommand("Enemy", all, conversing("1")) {
		command := strings.Join(a.args, " ")
		switch command {
		case "history Enemy", "receive", "receive Enemy", "receive --wait 30s", "receive --follow", "":
			a.shows = func(out string, objects []map[string]any) {
				shown := map[string]bool{}
				for _, o := range objects {
					shown[bare(fmt.Sprint(o["text"]))] = true
				}
				for i, p := range corpus {
					marker := fmt.Sprintf("p%03d\n", i)
					if len(objects) == 0 && !strings.Contains(out, marker[:4]) || len(objects) > 0 && !shown[bare(marker+p.text)] {
						t.Errorf("kin %s does not show %q as it came", command, p.what)
					}
				}
				if strings.HasPrefix(command, "receive") && command != "receive Enemy" && !strings.Contains(out, "honest, behind all of it") {
					t.Errorf("kin %s does not show what the honest contact sent", command)
				}
			}
		}
		s.judgeAll(a)
	}
	// What a person says to a command comes back in errors.
	for _, p := range corpus {
		if arg := p.text[:min(len(p.text), 1000)]; !strings.ContainsRune(arg, 0) && utf8.ValidString(arg) && !strings.HasPrefix(arg, "-") {
			for _, args := range [][]string{{"history", arg}, {"send", arg, "x"}, {"rename", "Enemy", "\u200b" + arg}, {"cancel", arg}, {arg}} {
				a := act{args: args, code: 1}
				if args[0] != "history" && args[0] != "send" && args[0] != "rename" {
					a.code = 2
				}
				s.judge(a, way{terminal: len(arg)%2 == 0})
			}
		}
	}
	s.count(1, len(corpus))
}

// Names: in a first flight, in a later message, and in an invite, where the name
// becomes the guest's label for its host.
func TestHostileNames(t *testing.T) {
	s := newTheatre(t)
	f := s.friend("Friend")
	corpus := chosen(s.all)
	fields, values := 0, 0

	// The victim is the host.
	e := dialRelay(t, s.address)
	b, reply := e.open(s.must("invite", "--for", "E"))
	for _, wrong := range []string{"", strings.Repeat("x", 65), strings.Repeat("x", 200)} { // set aside; the invite stays good
		e.flight(b, e.letter(kindFirst, item{itemName, []byte(wrong)}, reply))
		e.session, e.prev = nil, [32]byte{}
	}
	e.flight(b, e.letter(kindFirst, item{itemName, []byte("E")}, reply))
	fields++
	for i, p := range corpus {
		e := dialRelay(t, s.address)
		e.join(s.must("invite", "--for", fmt.Sprintf("E%d", i)), item{itemName, []byte(p.name(i))})
		e.say(e.letter(kindControl, item{itemName, []byte(p.name(i))}))
		values++
	}
	s.judge(act{args: []string{"sync"}}, way{terminal: true}) // tells who joined
	s.honest(f, "honest, behind the names")
	s.judge(act{args: []string{"sync"}}, way{json: true})
	s.save()
	for _, a := range everyCommand("E0", []string{"honest, behind the names"}, conversing("2")) {
		if slices.Equal(a.args, []string{"contacts"}) {
			a.shows = func(out string, objects []map[string]any) {
				if n := max(len(objects), strings.Count(out, "\n")); n < len(corpus)+2 {
					t.Errorf("%d contacts of %d", n, len(corpus)+2)
				}
			}
		}
		if len(a.args) > 0 && a.args[0] == "history" {
			a.args = []string{"history", "Friend"}
		}
		s.judgeAll(a)
	}

	// The victim is the guest.
	grant, err := protocol.ParseGrant(s.grant)
	if err != nil {
		t.Fatal(err)
	}
	first, _ := dialRelay(t, s.address).invite(grant, []item{{itemName, []byte("Friend")}})
	s.newProfile("guest", "join", first, "--name", "Guest")
	fields++
	var texts []string
	for i, p := range corpus {
		e := dialRelay(t, s.address)
		token, accept := e.invite(grant, []item{{itemName, []byte(p.name(i))}})
		w := s.ways()[i%len(s.ways())]
		var label string
		s.judge(act{args: []string{"join", token}, shows: func(out string, objects []map[string]any) {
			for _, o := range objects {
				label, _ = o["label"].(string)
			}
		}}, w)
		accept()
		e.text(fmt.Sprintf("t%03d of %s", i, p.name(i)))
		texts = append(texts, fmt.Sprintf("t%03d of ", i))
		for _, own := range ownBeginnings {
			if label != "" && strings.HasPrefix(label, own) {
				t.Errorf("a label that begins as kin's own lines: %q", label)
			}
		}
		if strings.Contains(label, " · ") {
			t.Errorf("a label that passes for the parts of a head: %q", label)
		}
		if label != "" {
			s.judge(act{args: []string{"check", label}}, w)
			s.judge(act{args: []string{"send", label, "an answer"}}, w)
		}
		values++
	}
	s.must("sync")
	s.save()
	reading := []question{{pager, []string{""}}}
	for _, a := range []act{{args: []string{"contacts"}}, {args: []string{"status"}}, {args: []string{"receive"}, fresh: true, asks: reading},
		{args: []string{"receive", "--follow"}, fresh: true, asks: reading, until: texts}, {args: []string{"sync"}, fresh: true},
		{args: []string{}, silent: true, fresh: true, asks: conversing("3")}, {args: []string{"history", "contact-"}, code: 1}} {
		s.judgeAll(a)
	}
	// No two labels look the same when shown.
	seen := map[string]string{}
	s.judge(act{args: []string{"contacts"}, shows: func(_ string, objects []map[string]any) {
		for _, o := range objects {
			label := fmt.Sprint(o["label"])
			shown := strings.Map(func(r rune) rune {
				if isUnseen(r) {
					return -1
				}
				return r
			}, label)
			if other, is := seen[shown]; is {
				t.Errorf("%q and %q look the same", label, other)
			}
			seen[shown] = label
		}
	}}, way{json: true})
	s.count(fields, values)
}

// Every other field of a message, wrong.
func TestHostileFields(t *testing.T) {
	s := newTheatre(t)
	f := s.friend("Friend")
	e := dialRelay(t, s.address)
	e.join(s.must("invite", "--for", "Enemy"), item{itemName, []byte("Enemy")})
	s.must("sync")
	s.must("send", "Enemy", "for receipts to name")
	all := twists()
	for _, w := range all {
		for _, l := range w.make(e) {
			e.say(l)
		}
		if e.session.Sent()%100 == 0 {
			s.must("sync")
		}
	}
	e.text("the enemy's last")
	s.honest(f, "honest, behind all of it")
	s.judge(act{args: []string{"sync"}}, way{terminal: true})
	s.save()
	for _, a := range everyCommand("Enemy", []string{"honest, behind all of it", "the enemy's last"}, conversing("1")) {
		if command := strings.Join(a.args, " "); command == "receive" || command == "receive --follow" {
			a.shows = func(out string, objects []map[string]any) {
				newer := 0
				for _, o := range objects {
					if o["note"] == "newer" {
						newer++
					}
				}
				// Every kind but text, control and first, and two fragments of newer kinds: what a
				// receipt says was delivered is shown.
				if len(objects) > 0 && newer != 253+2 {
					t.Errorf("kin %s shows %d messages of a newer kind", command, newer)
				}
				for _, last := range []string{"honest, behind all of it", "the enemy's last"} {
					if !strings.Contains(out, last) {
						t.Errorf("kin %s does not show %q", command, last)
					}
				}
			}
		}
		s.judgeAll(a)
	}
	s.count(len(all), 1) // each twist is a field with a value
}
