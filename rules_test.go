package kin_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// listed is what `go list` says of a package.
type listed struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

func list(t *testing.T, args ...string) (out []listed) {
	t.Helper()
	b, err := exec.Command("go", append([]string{"list", "-json=ImportPath,Imports,Deps"}, args...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	for d := json.NewDecoder(strings.NewReader(string(b))); d.More(); {
		var l listed
		if err := d.Decode(&l); err != nil {
			t.Fatal(err)
		}
		out = append(out, l)
	}
	return out
}

func TestImports(t *testing.T) {
	// Files are the business of these alone, and a pipe of the last; so is "os".
	files := []string{"kin/internal/disk", "kin/internal/disk/disktest", "kin/client/vault", "kin/relay", "kin/internal/turns"}
	all := list(t, "./...")
	if len(all) < 10 {
		t.Fatalf("only %d packages", len(all))
	}
	for _, p := range all {
		refuse := func(why string, bad func(string) bool) {
			for _, i := range p.Deps {
				if bad(i) {
					t.Errorf("%s depends on %s: %s", p.ImportPath, i, why)
				}
			}
		}
		under := func(root string) func(string) bool {
			return func(i string) bool { return i == root || strings.HasPrefix(i, root+"/") }
		}
		switch {
		case p.ImportPath == "kin/protocol":
			refuse("protocol imports nothing of ours", under("kin"))
		case under("kin/relay")(p.ImportPath), p.ImportPath == "kin/cmd/kin-relay":
			refuse("a relay links nothing that can open an envelope", under("kin/client"))
		case under("kin/client")(p.ImportPath), p.ImportPath == "kin/cmd/kin":
			refuse("a client links no relay", under("kin/relay"))
		case p.ImportPath == "kin/proof/checker":
			refuse("the checker knows nothing but histories", func(i string) bool { return under("kin")(i) && i != "kin/proof/history" })
		}
		if under("kin/proof")(p.ImportPath) {
			continue
		}
		refuse("the product needs no proof", under("kin/proof"))
		if under("kin/cmd")(p.ImportPath) {
			continue
		}
		for _, i := range p.Imports {
			if slices.Contains([]string{"flag", "os/signal", "golang.org/x/term", "github.com/spf13/cobra"}, i) {
				t.Errorf("%s imports %s: only commands do", p.ImportPath, i)
			}
			if i == "os" && !slices.Contains(files, p.ImportPath) {
				t.Errorf("%s imports os: only what keeps files does", p.ImportPath)
			}
		}
	}
}

// Every direct dependency has a line in docs/dependencies.md.
func TestDependenciesAreExplained(t *testing.T) {
	page, err := os.ReadFile("docs/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	b, err := exec.Command("go", "list", "-m", "-f", "{{if not (or .Indirect .Main)}}{{.Path}}{{end}}", "all").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range strings.Fields(string(b)) {
		if !strings.Contains(string(page), "`"+m+"`") {
			t.Errorf("docs/dependencies.md says nothing of %s", m)
		}
	}
}
