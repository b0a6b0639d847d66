package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"kin/client"
	"kin/protocol"
	kinrelay "kin/relay"
)

var payloadsFlag = flag.String("payloads", "few", "of what hostile people send: few, or all")

// theatre is a real relay, the real kin as a person uses it, and room for enemies.
type theatre struct {
	t       *testing.T
	relay   *kinrelay.Relay
	server  *http.Server
	address protocol.Address
	grant   string
	bin     string
	home    string
	profile string
	saved   string
	all     bool

	runs, bytes int
	memory      int // the most that a run of --follow had resident, KiB
	commands    map[string]bool
}

const passphrase = "correct horse battery"

// newTheatre starts a relay that takes many envelopes at once: its limits are not
// what is tested. The profile is a caseworker's, and unlocked.
func newTheatre(t *testing.T) *theatre {
	if testing.Short() {
		t.Skip("NOT RUN with -short: what is judged is a process of its own, which the race detector does not see")
	}
	s := &theatre{t: t, home: t.TempDir(), all: *payloadsFlag == "all", commands: map[string]bool{}}
	var err error
	if s.relay, err = kinrelay.Open(kinrelay.Config{Dir: t.TempDir(), Unread: 1 << 20, Pace: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.server = &http.Server{Handler: s.relay}
	go s.server.Serve(l)
	t.Cleanup(func() {
		s.server.Close()
		s.relay.Shutdown(context.Background())
	})
	s.address = protocol.Address{Hosts: []protocol.Host{{Name: l.Addr().String()}}, Fingerprint: s.relay.Fingerprint()}
	if s.grant, err = s.relay.NewGrant(10000, 24*time.Hour); err != nil {
		t.Fatal(err)
	}
	s.bin = filepath.Join(s.home, "kin")
	if out, err := exec.Command("go", "build", "-o", s.bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.WriteFile(s.path("pass"), []byte(passphrase), 0o600); err != nil {
		t.Fatal(err)
	}
	s.newProfile("victim", "init", "--name", "Victim", "--relay", s.address.String(), "--grant", s.grant)
	return s
}

func (s *theatre) path(name string) string { return filepath.Join(s.home, name) }

// newProfile makes a profile with a command of kin and unlocks it, so that no later
// command has to stretch the passphrase.
func (s *theatre) newProfile(name string, args ...string) {
	s.t.Helper()
	s.profile = s.path(name)
	s.must(append(args, "--passphrase-file", s.path("pass"))...)
	s.must("unlock", "--for", "1h", "--passphrase-file", s.path("pass"))
	profile := s.profile
	s.t.Cleanup(func() {
		s.profile = profile
		s.must("lock")
	})
}

// save keeps the profile as it is now; load brings it back.
func (s *theatre) save() {
	s.saved = s.t.TempDir()
	if err := os.CopyFS(s.saved, os.DirFS(s.profile)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *theatre) load() {
	if err := os.RemoveAll(s.profile); err != nil {
		s.t.Fatal(err)
	}
	if err := os.CopyFS(s.profile, os.DirFS(s.saved)); err != nil {
		s.t.Fatal(err)
	}
	filepath.WalkDir(s.profile, func(name string, d os.DirEntry, err error) error {
		if d.IsDir() {
			return os.Chmod(name, 0o700)
		}
		return os.Chmod(name, 0o600)
	})
}

func (s *theatre) command(environment []string, args ...string) *exec.Cmd {
	c := exec.Command(s.bin, append([]string{"--profile", s.profile}, args...)...)
	c.Env = append([]string{"HOME=" + s.home, "XDG_RUNTIME_DIR=" + s.home, "PATH=" + os.Getenv("PATH"), "TERM=xterm-256color"}, environment...)
	return c
}

// must runs kin for what is not judged, and returns its stdout.
func (s *theatre) must(args ...string) string {
	s.t.Helper()
	out, talk, code := piped(s.t, s.command(nil, args...))
	if code != 0 {
		s.t.Fatalf("kin %q: %d, %s", args, code, talk)
	}
	return strings.TrimSpace(string(out))
}

// way is how a command is run.
type way struct {
	terminal, json bool
	environment    []string
}

var locales = [][]string{{"LANG=en_US.UTF-8"}, {"LANG=ko_KR.UTF-8"}, {"LC_ALL=zh_CN.UTF-8"}, {"LC_ALL=C"}, {"LANG=ar_EG.UTF-8", "NO_COLOR=1"}, {"TERM=dumb"}}

// ways are all ways in a full run, else each of terminal and --json once.
func (s *theatre) ways() (out []way) {
	for i, l := range locales {
		for n, w := range []way{{false, false, l}, {false, true, l}, {true, false, l}, {true, true, l}} {
			if s.all || n == i%4 {
				out = append(out, w)
			}
		}
	}
	return out
}

// act is one command that is judged.
type act struct {
	args   []string
	code   int
	asks   []question // on a terminal
	until  []string   // once all were seen in the output: Ctrl-C, or SIGTERM
	fresh  bool       // on the saved profile
	shows  func(out string, objects []map[string]any)
	silent bool // piped it is another command: not run
}

// name is the command's, for the count.
func (a *act) name() string {
	switch {
	case len(a.args) == 0:
		return "kin"
	case a.code == 2:
		return "usage"
	case len(a.args) > 1 && strings.HasPrefix(a.args[len(a.args)-1], "--"), len(a.args) > 1 && a.args[1] == "list":
		return a.args[0] + " " + a.args[len(a.args)-1]
	}
	return a.args[0]
}

// question is a prompt, and what is typed behind it: each answer once, the last
// for ever.
type question struct {
	prompt  *regexp.Regexp
	answers []string
}

// judge runs a command in one way; every byte of what it says goes to the oracle.
func (s *theatre) judge(a act, w way) {
	s.t.Helper()
	if a.fresh {
		s.load()
	}
	args := a.args
	if w.json {
		args = append([]string{"--json"}, args...)
	}
	c := s.command(w.environment, args...)
	var out, talk []byte
	var code int
	if w.terminal {
		asked := make([]int, len(a.asks))
		stopped := false
		out, code = onPTY(s.t, c, func(sofar []byte) (typed string) {
			for i, q := range a.asks {
				for range len(q.prompt.FindAll(sofar, -1)) - asked[i] {
					typed += q.answers[min(asked[i], len(q.answers)-1)] + "\n"
					asked[i]++
				}
			}
			if a.until != nil && !stopped && containsAll(sofar, a.until) {
				stopped = true
				s.memory = max(s.memory, resident(s.t, c.Process.Pid))
				typed += "\x03"
			}
			return typed
		})
	} else if a.until != nil {
		out, talk, code = s.pipedUntil(c, a.until)
	} else {
		out, talk, code = piped(s.t, c)
	}
	s.runs++
	s.bytes += len(out) + len(talk)
	s.commands[a.name()] = true
	where := func() string { return strings.Join(append(w.environment, args...), " ") }
	if code != a.code {
		s.t.Errorf("kin %.200q (terminal %v): exit code %d, want %d: %.600q %.600q", where(), w.terminal, code, a.code, out, talk)
	}
	if err := harmless(talk, false); err != nil {
		s.t.Errorf("kin %.200q says: %v", where(), err)
	}
	var objects []map[string]any
	var err error
	switch {
	case w.json && w.terminal:
		// Objects and talk come on one terminal: a line that begins as an object is one.
		var lines []string
		for line := range strings.Lines(strings.ReplaceAll(string(out), "\r\n", "\n")) {
			if strings.HasPrefix(line, "{") {
				lines = append(lines, line)
			}
		}
		if err = harmless(out, true); err == nil {
			objects, err = jsonLines([]byte(strings.Join(lines, "")))
		}
	case w.json:
		objects, err = jsonLines(out)
	default:
		err = harmless(out, w.terminal)
	}
	if err != nil {
		s.t.Errorf("kin %.200q (terminal %v) shows: %v", where(), w.terminal, err)
	}
	if a.shows != nil {
		a.shows(string(out), objects)
	}
}

// judgeAll runs a command in every way.
func (s *theatre) judgeAll(a act) {
	s.t.Helper()
	for _, w := range s.ways() {
		if a.silent && (!w.terminal || w.json) {
			continue
		}
		s.judge(a, w)
	}
}

func containsAll(b []byte, texts []string) bool {
	return !slices.ContainsFunc(texts, func(s string) bool { return !bytes.Contains(b, []byte(s)) })
}

// resident is the most memory that a process had, KiB. (What wait tells counts in the
// test's own, from before the exec.)
func resident(t *testing.T, pid int) (kib int) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Error(err)
	}
	_, rest, _ := strings.Cut(string(b), "VmHWM:")
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		t.Error(err)
	}
	return kib
}

// watcher interrupts a process when it has written something.
type watcher struct {
	buf   bytes.Buffer
	c     *exec.Cmd
	until []string
	seen  func() // before the signal
}

func (w *watcher) Write(b []byte) (int, error) {
	n, err := w.buf.Write(b)
	if w.until != nil && containsAll(w.buf.Bytes(), w.until) {
		w.until = nil
		w.seen()
		w.c.Process.Signal(syscall.SIGTERM)
	}
	return n, err
}

func (s *theatre) pipedUntil(c *exec.Cmd, until []string) (stdout, stderr []byte, code int) {
	out, talk := &watcher{c: c, until: until}, &bytes.Buffer{}
	out.seen = func() { s.memory = max(s.memory, resident(s.t, c.Process.Pid)) }
	c.Stdout, c.Stderr = out, talk
	if err := c.Start(); err != nil {
		s.t.Fatal(err)
	}
	patience := time.AfterFunc(30*time.Second, func() { c.Process.Kill() })
	defer patience.Stop()
	code = exitCodeOf(s.t, c.Wait())
	return out.buf.Bytes(), talk.Bytes(), code
}

// friend is an honest contact: the real client.
func (s *theatre) friend(label string) *client.Profile {
	s.t.Helper()
	p, err := client.CreateGuest(s.t.Context(), filepath.Join(s.t.TempDir(), "p"), []byte(passphrase), "Friend", 30*24*time.Hour)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(p.Close)
	inv, err := protocol.ParseInvite(s.must("invite", "--for", label))
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := p.Join(s.t.Context(), inv, "", "Victim"); err != nil {
		s.t.Fatal(err)
	}
	return p
}

func (s *theatre) honest(p *client.Profile, text string) {
	s.t.Helper()
	if _, err := p.Send(s.t.Context(), "Victim", text, client.SendOptions{Wait: time.Minute}); err != nil {
		s.t.Fatal(err)
	}
}

// maxMemory of one run, KiB.
const maxMemory = 64 << 10

// count is the line that a run prints.
func (s *theatre) count(fields, values int) {
	names := []string{}
	for name := range s.commands {
		names = append(names, name)
	}
	slices.Sort(names)
	s.t.Logf("%d fields × %d values, %d runs of %d commands (%s), %d bytes judged, at most %d MiB resident while it follows", fields, values, s.runs, len(names), strings.Join(names, ", "), s.bytes, s.memory>>10)
	if s.memory > maxMemory {
		s.t.Errorf("a run took %d KiB of memory", s.memory)
	}
}

// Prompts of kin.
var (
	pager        = regexp.MustCompile(`\[(Enter closes|page \d+ of \d+: [^\]\n]*)\] `)
	firstPage    = regexp.MustCompile(`\[(Enter closes|page 1 of \d+: [^\]\n]*)\] `)
	laterPage    = regexp.MustCompile(`\[page ([2-9]|\d\d+) of \d+: [^\]\n]*\] `)
	choosing     = regexp.MustCompile(`\(Enter ends\): `)
	conversation = regexp.MustCompile(`\n> `)
)
