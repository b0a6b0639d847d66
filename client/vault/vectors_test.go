package vault

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestVectors stretches passphrases of lengths around those where the salt becomes
// longer, as the second implementation did (interop/make-vectors.js).
func TestVectors(t *testing.T) {
	paths, _ := filepath.Glob("testdata/vectors/interop/passphrase-*.txt")
	if len(paths) < 11 {
		t.Fatalf("%d files", len(paths))
	}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		field := map[string][]byte{}
		_, fields, _ := strings.Cut(string(b), "\n\n")
		for line := range strings.Lines(fields) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
			if field[name], err = hex.DecodeString(value); err != nil {
				t.Fatalf("%s: %s: %v", path, name, err)
			}
		}
		head := field["head"]
		p := Params{binary.BigEndian.Uint32(head[1:]), binary.BigEndian.Uint32(head[5:]), head[9]}
		if got := stretch(field["passphrase"], head, p); !bytes.Equal(got, field["key"]) {
			t.Errorf("%s: %x; want %x", filepath.Base(path), got, field["key"])
		}
	}
	t.Logf("%d passphrases stretched as by the second implementation", len(paths))
}
