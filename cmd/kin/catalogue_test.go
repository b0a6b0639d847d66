package main

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"kin/internal/text"
)

// Every key that the sources name stands in the catalogue.
func TestCatalogueHasEveryKey(t *testing.T) {
	call := regexp.MustCompile(`(?:\.t|\.tell|\.hint|\.fail|\.usage|\bsay)\("([a-z][^"]*)"|"((?:err|flag|help)\.[a-z.-]+)"|(?:orAsk\(ctx, \w+, )"([^"]+)"`)
	names, err := filepath.Glob("*.go")
	if err != nil || len(names) < 10 {
		t.Fatal(names, err)
	}
	seen := 0
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range call.FindAllStringSubmatch(string(b), -1) {
			key := m[1] + m[2] + m[3]
			if key[len(key)-1] == '.' || key[len(key)-1] == '-' {
				continue // the rest follows at run time
			}
			seen++
			if !text.Has(key) {
				t.Errorf("%s: no entry %q", name, key)
			}
		}
	}
	if seen < 100 {
		t.Fatalf("only %d keys found: the pattern no longer fits", seen)
	}
}
