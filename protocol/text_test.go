package protocol

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func anInvite(t testing.TB) (Invite, string) {
	inv := Invite{Relay: Address{Hosts: []Host{{TLS: true, Name: "relay.example.org"}}, Fingerprint: Fingerprint{1, 2}}, Hash: [32]byte{3, 4}}
	text, err := inv.Text()
	if err != nil {
		t.Fatal(err)
	}
	return inv, text
}

func sameInvite(a, b Invite) bool {
	return a.Hash == b.Hash && a.Relay.Fingerprint == b.Relay.Fingerprint && len(a.Relay.Hosts) == 1 && len(b.Relay.Hosts) == 1 && a.Relay.Hosts[0] == b.Relay.Hosts[0]
}

func TestInviteSurvivesHowPeoplePassItOn(t *testing.T) {
	inv, text := anInvite(t)
	for name, s := range map[string]string{
		"as it is":    text,
		"capitals":    strings.ToUpper(text),
		"words":       "Hello Jun, please paste this: " + text + " and call me.",
		"quotes":      "“" + text + "”",
		"lines":       text[:40] + "\r\n> " + text[40:80] + "\n" + text[80:],
		"spaces":      strings.Join(strings.Split(text, ""), " "),
		"hyphens":     text[:20] + "-" + text[20:],
		"zero width":  text[:20] + "\u200b\u2060" + text[20:],
		"look-alikes": text[:6] + strings.NewReplacer("1", "l", "0", "O").Replace(text[6:]),
		"full width": strings.Map(func(r rune) rune {
			return r + 0xfee0
		}, text),
		"Korean around": "초대장입니다 " + text + " 입니다",
	} {
		got, err := ParseInvite(s)
		if err != nil || !sameInvite(got, inv) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCutInviteSaysHowMuchIsThere(t *testing.T) {
	_, text := anInvite(t)
	for n := 6; n < len(text); n++ {
		var cut ErrInviteCut
		if _, err := ParseInvite(text[:n]); !errors.As(err, &cut) || cut.Have != n || cut.Want != len(text) {
			t.Fatalf("%d of %d characters: %v", n, len(text), err)
		}
	}
}

func TestMistypedInviteIsRefused(t *testing.T) {
	_, text := anInvite(t)
	for i := 6; i < len(text); i++ {
		wrong := []byte(text)
		if wrong[i] = '2'; text[i] == '2' {
			wrong[i] = '3'
		}
		if _, err := ParseInvite(string(wrong)); !errors.Is(err, ErrInviteChecksum) {
			t.Fatalf("character %d: %v", i, err)
		}
	}
	for _, s := range []string{"", "hello", "kingrant1", strings.Repeat("x", 1<<17)} {
		if _, err := ParseInvite(s); err == nil {
			t.Errorf("%.20q is taken for an invite", s)
		}
	}
}

func TestAddress(t *testing.T) {
	fp := Fingerprint{1, 2, 3}.String()
	for s, ok := range map[string]bool{
		"wss://relay.example.org#" + fp:               true,
		"wss://relay.example.org:8443#" + fp:          true,
		"ws://127.0.0.1:8440#" + fp:                   true,
		"ws://[::1]:8440#" + fp:                       true,
		"ws://abcdefgh.onion#" + fp:                   true,
		"ws://relay.example.org#" + fp:                false,
		"http://relay.example.org#" + fp:              false,
		"wss://relay.example.org":                     false,
		"wss://relay.example.org#" + fp[:25]:          false,
		"wss://user@relay.example.org#" + fp:          false,
		"wss://relay.example.org/path#" + fp:          false,
		"wss://#" + fp:                                false,
		"wss://" + strings.Repeat("a", 65) + "#" + fp: false,
		"wss://*.example.org#" + fp:                   false,
		"wss://relay.example.org:#" + fp:              false,
		"wss://[192.0.2.7]#" + fp:                     false,
		"wss://relay.example.org;x#" + fp:             false,
	} {
		a, err := ParseAddress(s)
		if (err == nil) != ok {
			t.Errorf("%q: %v", s, err)
		}
		if err == nil && a.String() != s {
			t.Errorf("%q is written again as %q", s, a)
		}
	}
}

func TestGrantComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var g ID
		copy(g[:], rapid.SliceOfN(rapid.Byte(), IDSize, IDSize).Draw(t, "grant"))
		text := GrantText(g)
		for _, s := range []string{text, strings.ToUpper(text), " " + text[:20] + " " + text[20:] + "\n"} {
			if got, err := ParseGrant(s); err != nil || got != g {
				t.Fatalf("%q: %v", s, err)
			}
		}
		for _, hyphen := range "-\u2010\u2011\uff0d" { // a keyboard's, two of typesetters', full-width
			if got, err := ParseGrant(text[:9] + string(hyphen) + text[9:]); err != nil || got != g {
				t.Fatalf("with U+%04X: %v", hyphen, err)
			}
		}
		if _, err := ParseGrant(text[:len(text)-1]); !errors.Is(err, ErrGrant) {
			t.Fatal("a cut grant is taken")
		}
	})
}

func FuzzInvite(f *testing.F) {
	_, text := anInvite(f)
	f.Add(text)
	f.Add("kin1" + text)
	f.Fuzz(func(t *testing.T, s string) {
		inv, err := ParseInvite(s)
		if err != nil {
			return
		}
		again, err := inv.Text()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ParseInvite(again); err != nil || got.Hash != inv.Hash {
			t.Fatal("what parses does not come back")
		}
	})
}

func FuzzAddress(f *testing.F) {
	f.Add("wss://relay.example.org#" + Fingerprint{1}.String())
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAddress(s)
		if err != nil {
			return
		}
		if b, err := ParseAddress(a.String()); err != nil || b.String() != a.String() {
			t.Fatal("what parses does not come back")
		}
	})
}
