package main

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"kin": main})
}

// hostile sets a terminal's title, clears it, rings, turns the direction of writing,
// and joins a zero width character to the text.
const hostile = "\x1b]0;owned\x07bad \x1b[2J\u202eright to left\u200b \u009b31m red\n"

// relay is a running kin-relay of a script.
type relay struct {
	cmd    *exec.Cmd
	listen string
}

func (r *relay) kill() {
	if r.cmd != nil {
		r.cmd.Process.Kill()
		r.cmd.Wait()
		r.cmd = nil
	}
}

func TestScripts(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "kin-relay.exe")
	if out, err := exec.Command("go", "build", "-o", bin, "kin/cmd/kin-relay").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	type key struct{}
	scripts, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	if testing.Short() { // as under the race detector: journey and talk start every thread that the others do
		scripts = slices.DeleteFunc(scripts, func(s string) bool {
			return slices.Contains([]string{"anew.txtar", "bad.txtar", "usage.txtar"}, filepath.Base(s))
		})
	}
	testscript.Run(t, testscript.Params{
		Files: scripts,
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", e.WorkDir)
			e.Values[key{}] = &relay{listen: "127.0.0.1:0"}
			e.Defer(e.Values[key{}].(*relay).kill)
			if err := os.WriteFile(filepath.Join(e.WorkDir, "latin1"), []byte("caf\xe9\n"), 0o600); err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(e.WorkDir, "long"), bytes.Repeat([]byte("가"), maxText/3+1), 0o600); err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(e.WorkDir, "hostile"), []byte(hostile), 0o600); err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(e.WorkDir, "pass"), []byte("correct horse battery\n"), 0o600)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			// relay starts kin-relay on the port that it had; $RELAY and $GRANT are what it printed.
			"relay": func(s *testscript.TestScript, _ bool, args []string) {
				r := s.Value(key{}).(*relay)
				r.cmd = exec.Command(bin, append([]string{"serve", "--data", s.MkAbs("relay-data"), "--listen", r.listen}, args...)...)
				out, err := r.cmd.StdoutPipe()
				s.Check(err)
				s.Check(r.cmd.Start())
				lines := bufio.NewScanner(out)
				for lines.Scan() {
					name, value, _ := strings.Cut(lines.Text(), ": ")
					s.Setenv(strings.ToUpper(name), value)
					if name == "relay" {
						r.listen, _, _ = strings.Cut(strings.TrimPrefix(value, "ws://"), "#")
						if s.Getenv("GRANT") != "" {
							break
						}
					}
					if name == "grant" {
						break
					}
				}
			},
			// kill ends it with SIGKILL.
			"kill-relay": func(s *testscript.TestScript, _ bool, _ []string) { s.Value(key{}).(*relay).kill() },
			// code runs a command and compares its exit code.
			"code": func(s *testscript.TestScript, _ bool, args []string) {
				err := s.Exec(args[1], args[2:]...)
				code := "0"
				if err != nil {
					code = strings.TrimPrefix(err.Error(), "exit status ")
				}
				if code != args[0] {
					s.Fatalf("exit code %s, want %s", code, args[0])
				}
			},
			// keep stores the first line of the last stdout in a variable.
			"keep": func(s *testscript.TestScript, _ bool, args []string) {
				line, _, _ := strings.Cut(s.ReadFile("stdout"), "\n")
				s.Setenv(args[0], line)
			},
			// harmless refuses a file with anything that a terminal would obey, or that turns or
			// hides text: the Unicode categories Cc and Cf, but for line ends and tabs.
			"harmless": func(s *testscript.TestScript, _ bool, args []string) {
				out := s.ReadFile(args[0])
				if !utf8.ValidString(out) {
					s.Fatalf("not UTF-8")
				}
				for i, r := range out {
					if unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) && !strings.ContainsRune("\r\n\t", r) {
						s.Fatalf("%U at byte %d", r, i)
					}
				}
			},
			// cut keeps the first characters of a variable in another.
			"cut": func(s *testscript.TestScript, _ bool, args []string) {
				v := s.Getenv(args[0])
				s.Setenv(args[1], v[:len(v)-20])
			},
			// mistype keeps a variable with one character changed in another.
			"mistype": func(s *testscript.TestScript, _ bool, args []string) {
				b := []byte(s.Getenv(args[0]))
				if b[40] == 'x' {
					b[40] = 'y'
				} else {
					b[40] = 'x'
				}
				s.Setenv(args[1], string(b))
			},
			// flip flips a bit in each page of a file: some pages are in use.
			"flip": func(s *testscript.TestScript, _ bool, args []string) {
				name := s.MkAbs(args[0])
				b, err := os.ReadFile(name)
				s.Check(err)
				for at := 100; at < len(b); at += 4096 {
					b[at] ^= 1
				}
				s.Check(os.WriteFile(name, b, 0o600))
			},
			// halve cuts a file.
			"halve": func(s *testscript.TestScript, _ bool, args []string) {
				name := s.MkAbs(args[0])
				info, err := os.Stat(name)
				s.Check(err)
				s.Check(os.Truncate(name, info.Size()/2))
			},
		},
	})
}
