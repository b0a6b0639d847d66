package client

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestVectors reads every message that the second implementation made
// (interop/make-vectors.js): the good ones say what is in them, the bad ones are refused.
func TestVectors(t *testing.T) {
	paths, _ := filepath.Glob("testdata/vectors/interop/*.txt")
	count := map[string]int{}
	for _, path := range paths {
		kind, expect, f := readVector(t, path)
		count[expect]++
		t.Run(filepath.Base(path), func(t *testing.T) {
			got, err := bodyFields(kind, f)
			if expect != "ok" {
				if expect != "malformed" || err != errBody {
					t.Fatalf("%v; want %s", err, expect)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			delete(f, "plaintext")
			delete(f, "meta")
			for name, want := range f {
				if !bytes.Equal(got[name], want) {
					t.Errorf("%s: %x; want %x", name, got[name], want)
				}
			}
			for name := range got {
				if _, there := f[name]; !there {
					t.Errorf("%s is not in the file", name)
				}
			}
		})
	}
	t.Logf("%d messages by the second implementation: %d good, %d refused", len(paths), count["ok"], count["malformed"])
	if count["ok"] < 20 || count["malformed"] < 70 {
		t.Fatal("files are missing")
	}
}

func readVector(t *testing.T, path string) (kind, expect string, fields map[string][]byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	fields = map[string][]byte{}
	head, rest, _ := strings.Cut(string(b), "\n\n")
	lines := strings.Split(head, "\n")
	for line := range strings.Lines(rest) {
		name, value, _ := strings.Cut(line, ":")
		if fields[name], err = hex.DecodeString(strings.TrimSpace(value)); err != nil {
			t.Fatalf("%s: %s: %v", path, name, err)
		}
	}
	return strings.TrimPrefix(lines[0], "kind: "), strings.TrimPrefix(lines[1], "expect: "), fields
}

// bodyFields is a message's or a meta's content by name.
func bodyFields(kind string, f map[string][]byte) (map[string][]byte, error) {
	if kind == "meta" {
		it, err := parseMeta(f["meta"])
		if err != nil {
			return nil, err
		}
		return itemFields(it), nil
	}
	b, err := parseBody(f["plaintext"])
	if err != nil {
		return nil, err
	}
	got := itemFields(&b.items)
	got["kind"], got["id"], got["prev"], got["urgent"] = []byte{byte(b.kind)}, b.id[:], b.prev[:], []byte{b.flags & flagUrgent}
	for name, n := range map[string]uint64{"seq": b.seq, "sent": uint64(b.sent.UnixMilli()), "deadline": uint64(b.deadline.UnixMilli())} {
		got[name] = binary.BigEndian.AppendUint64(nil, n)
	}
	return got, nil
}

// itemFields is each item's value as it is written.
func itemFields(it *items) map[string][]byte {
	got := map[string][]byte{}
	for name, one := range map[string]items{
		"text": {text: it.text}, "fragment": {index: it.index, count: it.count}, "receipts": {receipts: it.receipts}, "read": {reads: it.reads},
		"taken_back": {takenBack: it.takenBack}, "quiet": {quiet: it.quiet}, "name": {name: it.name}, "queues": {queues: it.queues},
		"notice": {notice: it.notice}, "tickets": {tickets: it.tickets}, "relays": {relays: it.relays},
	} {
		if b := one.marshal(); len(b) > 0 {
			got[name] = b[itemHeader:]
		}
	}
	return got
}
