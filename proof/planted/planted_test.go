//go:build unix

// Package planted plants bugs into copies of the product's source, runs the harness that
// should see each, and has the checker program judge the history. Every bug must be
// reported, as the kind of violation that it is; and without any bug the same harness
// with the same seed must pass.
//
//	go test ./proof/planted -v            # -args -full: longer runs
//
// The copies are given to the go command as an overlay. The product is never built with
// them.
package planted

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"kin/proof/people"
)

var full = flag.Bool("full", false, "run longer")

const root = "../.." // the module

// patience ends a run that a bug has made hang.
const patience = 5 * time.Minute

// scale is n, or more.
func scale(n, more int) string {
	if *full {
		n = more
	}
	return fmt.Sprint(n)
}

// runs are the harnesses: each is built with an overlay, runs, and leaves histories.
var runs = map[string]struct {
	pkg  string
	args func(overlay, dir string) []string
}{
	"spool": {"./relay/spool", func(_, dir string) []string {
		return []string{"-test.run", "TestPowerLossAtAnyOperation", "-seed", "605", "-crashes", scale(1500, 10000), "-history", filepath.Join(dir, "spool.jsonl")}
	}},
	"spool, long": {"./relay/spool", func(_, dir string) []string { // for what shows once in 400 images
		return []string{"-test.run", "TestPowerLossAtAnyOperation", "-seed", "605", "-crashes", scale(5000, 10000), "-history", filepath.Join(dir, "spool.jsonl")}
	}},
	"slots": {"./internal/slots", func(_, dir string) []string {
		return []string{"-test.run", "TestPowerLossAtAnyOperation", "-histories", scale(100, 3000), "-history", filepath.Join(dir, "slots.jsonl")}
	}},
	"kills": {"./proof/kills", func(overlay, dir string) []string {
		return []string{"-test.run", "TestKilled", "-seed", "7", "-kills", scale(30, 100), "-overlay", overlay, "-histories", dir}
	}},
	"pieces": {"./proof/kills", func(overlay, dir string) []string {
		return []string{"-test.run", "TestReceiverKilledBehindEveryPiece", "-overlay", overlay, "-histories", dir}
	}},
	"races": {"./proof/races", func(_, dir string) []string {
		return []string{"-test.run", "TestTwoClients", "-seed", "7", "-races", scale(20, 80), "-histories", dir}
	}},
}

func TestPlantedBugsAreCaught(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT RUN: it builds and runs nineteen programs")
	}
	checker := t.TempDir()
	if err := people.Build(checker, "", "kin/proof/checker"); err != nil {
		t.Fatal(err)
	}
	checker = filepath.Join(checker, "checker")
	var mu sync.Mutex
	caught, missed := map[string]string{}, map[string]bool{}
	t.Run("runs", func(t *testing.T) {
		for name := range runs {
			t.Run(name+" without a bug", func(t *testing.T) {
				t.Parallel()
				words, found := judge(t, checker, bug{name: "none", run: name})
				if len(found) > 0 {
					t.Errorf("the checker finds violations where no bug is planted:\n%s", words)
				}
			})
		}
		for _, b := range bugs {
			t.Run(b.name, func(t *testing.T) {
				t.Parallel()
				words, found := judge(t, checker, b)
				mu.Lock()
				defer mu.Unlock()
				name, _, _ := strings.Cut(b.name, ":")
				if found[b.kind] == 0 {
					missed[name] = true
					t.Errorf("no violation of kind %q; found %v:\n%s", b.kind, found, last(words))
					return
				}
				caught[name] += fmt.Sprintf(" %s (%d)", b.kind, found[b.kind])
				t.Logf("caught as %s: %v", b.kind, found)
			})
		}
	})
	for name := range missed {
		delete(caught, name)
	}
	for _, b := range bugs {
		name, _, _ := strings.Cut(b.name, ":")
		if kinds := caught[name]; kinds != "" {
			t.Logf("%s:%s", name, kinds)
			caught[name] = ""
		}
	}
	t.Logf("%d of 13 caught", len(caught))
	if len(caught) != 13 {
		t.Fail()
	}
}

// judge runs a harness with a bug and has the checker judge what it left.
func judge(t *testing.T, checker string, b bug) (words string, found map[string]int) {
	dir := t.TempDir()
	run := runs[b.run]
	edits := b.edits
	if b.run == "kills" {
		edits = append(tap[:len(tap):len(tap)], edits...)
	}
	overlay := plant(t, dir, edits)
	program := filepath.Join(dir, "harness.test")
	build := exec.Command("go", "test", "-c", "-vet=off", "-ldflags=-s -w", "-overlay", overlay, "-o", program, run.pkg)
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := exec.CommandContext(ctx, program, append(run.args(overlay, dir), "-test.v")...)
	c.Dir = filepath.Join(root, run.pkg)
	c.Env = append(os.Environ(), "KIN_PROOF_TAP="+filepath.Join(dir, "tap.jsonl"))
	if strings.HasPrefix(b.run, "spool") || b.run == "slots" {
		c.Env = append(c.Env, "GOMAXPROCS=1") // the same seed then plays the same history
	}
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // with all that it starts
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	out, err := c.CombinedOutput()
	if b.edits == nil && err != nil {
		t.Fatalf("without a bug: %v: %s", err, last(string(out)))
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no history, %v: %s", err, last(string(out)))
	}
	words, ok, err := people.Checker(checker, files...)
	if err != nil {
		t.Fatalf("%v: %s", err, words)
	}
	found = map[string]int{}
	for _, m := range violation.FindAllStringSubmatch(words, -1) {
		found[m[1]]++
	}
	if ok != (len(found) == 0) {
		t.Errorf("the checker's exit code and its words differ: %v, %v", ok, found)
	}
	return words, found
}

var violation = regexp.MustCompile(`(?m): VIOLATION ([^:]*):`)

// last is the end of what a program said.
func last(s string) string { return s[max(0, len(s)-3000):] }

// plant writes the mutated copies, and the overlay that names them.
func plant(t *testing.T, dir string, edits []edit) string {
	t.Helper()
	texts := map[string]string{}
	for _, e := range edits {
		text, ok := texts[e.file]
		if !ok {
			b, err := os.ReadFile(filepath.Join(root, e.file))
			if err != nil {
				t.Fatal(err)
			}
			text = string(b)
		}
		if n := strings.Count(text, e.old); n != 1 {
			t.Fatalf("%s has %d times, not once:\n%s", e.file, n, e.old)
		}
		texts[e.file] = strings.Replace(text, e.old, e.new, 1)
	}
	replace := map[string]string{}
	for file, text := range texts {
		from, err := filepath.Abs(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(dir, strings.ReplaceAll(file, "/", "-"))
		if err := os.WriteFile(to, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[from] = to
	}
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	overlay := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(overlay, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return overlay
}
