package client

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"kin/client/ratchet"
	"kin/protocol"
)

func aBody() *body {
	b := &body{kind: kindText, id: uuid.New(), seq: 7, prev: [32]byte{1}, sent: time.UnixMilli(1764000000000).UTC(),
		deadline: time.UnixMilli(1764000000001).UTC(), flags: flagUrgent}
	b.items = items{text: []byte("한글"), index: 1, count: 2, receipts: []receipt{{1, 6}, {5, 1 << 63}}, reads: []receipt{{2, 0}}, takenBack: []uint64{3},
		quiet: []uint64{4}, name: "Jun", notice: noticeForked, tickets: []protocol.ID{{1}},
		queues: []descriptor{{protocol.Address{Hosts: []protocol.Host{{TLS: true, Name: "relay.example.org"}}}, protocol.ID{1}, [32]byte{2}, [32]byte{3}}},
		relays: []protocol.Address{{Hosts: []protocol.Host{{Name: "127.0.0.1:1"}}, Fingerprint: protocol.Fingerprint{4}}}}
	return b
}

func TestBodyComesBack(t *testing.T) {
	b := aBody()
	got, err := parseBody(b.marshal())
	if err != nil || !reflect.DeepEqual(got, b) {
		t.Fatalf("%+v, %v", got, err)
	}
}

func TestUnknownItemsAreSkipped(t *testing.T) {
	b := aBody()
	got, err := parseBody(appendItem(b.marshal(), 0x7f, []byte("later")))
	if err != nil || !reflect.DeepEqual(got, b) {
		t.Fatal(err)
	}
}

func TestMalformedBodiesAreRefused(t *testing.T) {
	head := aBody().marshal()[:bodyHeader]
	item := func(tag byte, b ...byte) []byte { return appendItem(bytes.Clone(head), tag, b) }
	for name, b := range map[string][]byte{
		"empty":               nil,
		"short":               head[:bodyHeader-1],
		"half an item":        append(bytes.Clone(head), itemText, 0),
		"item cut":            append(bytes.Clone(head), itemText, 0, 9, 1),
		"twice":               appendItem(item(itemText, 'a'), itemText, []byte("b")),
		"not ascending":       appendItem(item(itemName, 'a'), itemText, []byte("b")),
		"fragment of one":     item(itemFragment, 0, 0, 0, 1),
		"fragment past end":   item(itemFragment, 0, 2, 0, 2),
		"too many fragments":  item(itemFragment, 0, 0, 0, 65),
		"no receipts":         item(itemReceipts),
		"half a receipt":      item(itemReceipts, 0, 0, 0, 0, 0, 0, 0, 1),
		"receipt of nothing":  item(itemReceipts, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8),
		"receipts repeated":   item(itemReceipts, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0),
		"name too long":       item(itemName, []byte(strings.Repeat("x", 65))...),
		"notice zero":         item(itemNotice, 0),
		"queue without bytes": item(itemQueue, 1),
		"half a ticket":       item(itemTickets, 1, 2),
		"queue of low order":  item(itemQueue, append([]byte("\x01\x01\x00\x05a.org"), make([]byte, 16+24+32+32)...)...),
	} {
		if got, err := parseBody(b); !errors.Is(err, errBody) || got != nil {
			t.Errorf("%s is taken: %v", name, err)
		}
	}
	late := bytes.Clone(head)
	late[bodyHeader-9]-- // the deadline's last byte: before sent
	late[bodyHeader-9]--
	if _, err := parseBody(late); err == nil {
		t.Error("a deadline before it was sent is taken")
	}
}

// A text of up to 1,400 bytes takes one envelope whatever else is to be told: on the
// wire all such texts are alike.
func TestTextsUpTo1400BytesTakeOneEnvelope(t *testing.T) {
	s := &session{Notice: noticeForked}
	for i := range uint64(100) {
		s.TakenBack = append(s.TakenBack, listed{Seq: i + 1})
		s.Quiet = append(s.Quiet, i+1000)
		s.Due = append(s.Due, due{receipt: receipt{Seq: i + 1}})
	}
	for n := 1; n <= 1400; n += 13 {
		if parts := split(strings.Repeat("x", n)); len(parts) != 1 {
			t.Fatalf("%d bytes take %d envelopes", n, len(parts))
		}
		b := &body{kind: kindText, id: uuid.New(), seq: 9}
		b.items.text = bytes.Repeat([]byte("x"), n)
		copied := *s
		copied.fill(b)
		if size := len(b.marshal()); size > ratchet.MaxPlaintext {
			t.Fatalf("%d bytes of text make a plaintext of %d", n, size)
		}
	}
}

func TestSpans(t *testing.T) {
	var s spans
	s.add(3, 9)
	s.add(20, 20)
	s.add(30, 29)
	for _, n := range []uint64{3, 6, 9, 20, 20} {
		s.remove(n)
	}
	if want := (spans{{4, 5}, {7, 8}}); !reflect.DeepEqual(s, want) || s.count(1, 100) != 4 || s.count(5, 7) != 2 {
		t.Fatal(s)
	}
}

// A contact who skips numbers and names others does not make the profile grow.
func TestSpansAreBounded(t *testing.T) {
	var s spans
	for n := uint64(1); n < 10*maxSpans; n += 4 {
		s.add(n, n+2)
		s.remove(n + 1)
	}
	if len(s) != maxSpans {
		t.Errorf("%d spans", len(s))
	}
}

func TestReceiptsOwedAreBounded(t *testing.T) {
	var s session
	for n := range uint64(3000) {
		s.owe(&work{now: time.Now()}, &contact{}, receipt{n, 0})
	}
	if len(s.Due) != seenWindow || s.Due[seenWindow-1].Seq != 2999 {
		t.Errorf("%d receipts", len(s.Due))
	}
}

func TestLabels(t *testing.T) {
	for _, bad := range []string{"", "  ", "-x", "@x", "{x", "a\x1b[31m", "a\u202eb", "a\x00", "\xff", strings.Repeat("x", 65),
		"a\u3164", "\u115f", "a\u2800b", "kin: error: x", "KIN:x", "кіn: x", "ｋｉｎ：x", "Mina · identity checked", "a •b"} {
		if got, err := cleanLabel(bad); !errors.Is(err, ErrLabel) {
			t.Errorf("%q is taken as %q", bad, got)
		}
	}
	for in, want := range map[string]string{" K7  aunt ": "K7 aunt", "\u1112\u1161\u11ab": "한", "이모": "이모", "Col·lectiu": "Col·lectiu", "kinga": "kinga"} {
		if got, err := cleanLabel(in); err != nil || got != want {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	have := []*contact{{Label: "Kim"}, {Label: "contact-1"}}
	for _, bad := range []string{"kim", "KIM", "Кim", "K1m", "K i m", "contact-l"} {
		if err := freeLabel(have, bad, nil); !errors.Is(err, ErrLabelTaken) {
			t.Errorf("%q beside %q: %v", bad, "Kim", err)
		}
	}
	if err := freeLabel(have, "Kam", nil); err != nil {
		t.Error(err)
	}
	if l := nextLabel(have); l != "contact-2" {
		t.Error(l)
	}
}

func TestClassIsTheLargestThatFits(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		ttl, left time.Duration
		max       uint16
		want      uint8
	}{
		{72 * time.Hour, 336 * time.Hour, 336, 3},
		{336 * time.Hour, 336 * time.Hour, 336, 5},
		{336 * time.Hour, 336 * time.Hour, 24, 2},
		{72 * time.Hour, 7 * time.Hour, 336, 1},
		{72 * time.Hour, 59 * time.Minute, 336, 0},
		{time.Hour, 336 * time.Hour, 336, 0},
		{72 * time.Hour, 66 * time.Hour, 336, 3},
		{72 * time.Hour, 65 * time.Hour, 336, 2},
		{336 * time.Hour, 336*time.Hour - time.Second, 336, 5},
	} {
		if got := ttlClass(&op{TTL: c.ttl, Deadline: now.Add(c.left)}, protocol.Limits{Epoch: time.Hour, MaxTTL: c.max}, now); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
}

func FuzzBody(f *testing.F) {
	f.Add(aBody().marshal())
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := parseBody(b)
		if err != nil {
			return
		}
		again, err := parseBody(got.marshal())
		if err != nil || !reflect.DeepEqual(again, got) {
			t.Fatal("what parses does not come back")
		}
	})
}
