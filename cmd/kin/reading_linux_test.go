package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// unread is how many texts of a contact are new.
func (s *theatre) unread(label string) int {
	s.t.Helper()
	for line := range strings.Lines(s.must("--json", "contacts")) {
		var c contactJSON
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			s.t.Fatal(err)
		}
		if c.Label == label {
			return c.Unread
		}
	}
	s.t.Fatalf("no contact %q", label)
	return 0
}

// backlog has a friend say so many texts, which wait in the profile then. 30 are more
// than a screen holds.
func (s *theatre) backlog(n int) {
	s.t.Helper()
	f := s.friend("Friend")
	s.must("sync")
	for i := range n {
		s.honest(f, fmt.Sprintf("text %02d", i))
	}
	s.must("sync")
}

// turning answers each prompt of the pager in turn, the last answer for ever.
func turning(answers ...string) func([]byte) string {
	asked := 0
	return func(sofar []byte) (typed string) {
		for range len(pager.FindAll(sofar, -1)) - asked {
			typed += answers[min(asked, len(answers)-1)]
			asked++
		}
		return typed
	}
}

// TestWhatIsInterruptedStaysNew: Ctrl-C while a relay says nothing, before what waits in
// the profile is on the screen.
func TestWhatIsInterruptedStaysNew(t *testing.T) {
	s := newTheatre(t)
	s.backlog(1)
	s.server.Close()
	l, err := net.Listen("tcp", s.address.Hosts[0].Name)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := s.command(nil, "receive")
	go func() {
		if conn, err := l.Accept(); err == nil {
			defer conn.Close()
			c.Process.Signal(os.Interrupt)
			conn.Read(make([]byte, 1<<10))
			conn.Read(make([]byte, 1<<10))
		}
	}()
	out, _ := onPTY(t, c, turning("\n"))
	if n := s.unread("Friend"); n != 1 {
		t.Errorf("%d new, and it showed %q", n, out)
	}
}

// TestWhatIsNotReadToTheEndStaysNew: who closes the screen on its first page has not seen
// the others.
func TestWhatIsNotReadToTheEndStaysNew(t *testing.T) {
	s := newTheatre(t)
	s.backlog(30)
	for _, left := range []string{"q\n", "\x03"} {
		out, code := onPTY(t, s.command(nil, "receive"), turning(left))
		if n := s.unread("Friend"); code != 0 || n != 30 || !bytes.Contains(out, []byte("stays new")) {
			t.Errorf("closed with %q: %d, %d new, %q", left, code, n, out)
		}
	}
	out, code := onPTY(t, s.command(nil, "receive"), turning("\n"))
	if n := s.unread("Friend"); code != 0 || n != 0 || !bytes.Contains(out, []byte("text 29")) {
		t.Errorf("read to the end: %d, %d new, %q", code, n, out)
	}
}

// follows runs receive --follow until the last of 30 texts came, turns pages, and judges
// that each of the texts was on some screen. meanwhile runs once it follows.
func (s *theatre) follows(first string, meanwhile func()) {
	s.t.Helper()
	turn, begun, ended := turning("\n"), false, false
	out, code := onPTY(s.t, s.command(nil, "receive", "--follow"), func(sofar []byte) string {
		if !begun && bytes.Contains(sofar, []byte(first)) {
			begun = true
			meanwhile()
		}
		if !ended && bytes.Contains(sofar, []byte("text 29")) {
			ended = true
			return "\x03"
		}
		return turn(sofar)
	})
	screens := strings.Split(string(out), "\x1b[2J")
	for _, page := range screens {
		if n := strings.Count(page, "\n"); n >= ttyLines {
			s.t.Errorf("%d lines on one screen", n)
		}
	}
	if n := s.unread("Friend"); code != 0 || n != 0 || len(screens) < 4 {
		s.t.Errorf("%d, %d new, %q", code, n, out)
	}
}

// TestAFollowersBacklogRollsNowhere: what is longer than the screen comes page by page.
func TestAFollowersBacklogRollsNowhere(t *testing.T) {
	s := newTheatre(t)
	s.backlog(30)
	s.follows("text 00", func() {})
}

// TestABurstRollsNowhere: so does what comes faster than anybody reads.
func TestABurstRollsNowhere(t *testing.T) {
	s := newTheatre(t)
	f := s.friend("Friend")
	s.must("sync")
	s.honest(f, "the first of all")
	s.follows("the first of all", func() {
		for i := range 30 {
			s.honest(f, fmt.Sprintf("text %02d", i))
		}
	})
}

// TestOnlyStdoutIsATerminal: what came does not stay in the scrollback, though stdin and
// stderr lead elsewhere.
func TestOnlyStdoutIsATerminal(t *testing.T) {
	s := newTheatre(t)
	s.backlog(1)
	c := s.command(nil, "receive")
	c.Args = append([]string{"sh", "-c", `exec "$0" "$@" </dev/null 2>/dev/null`}, c.Args...)
	c.Path = "/bin/sh"
	out, code := onPTY(t, c, turning("\n"))
	before, behind, entered := bytes.Cut(out, []byte(enterScreen))
	if code != 0 || !entered || len(before) > 0 || !bytes.Contains(behind, []byte("text 00")) || !bytes.Contains(behind, []byte(leaveScreen)) {
		t.Errorf("%d, %q", code, out)
	}
}

// TestAConversationThatIsHeldUpLeavesItsScreen: Ctrl-C in a conversation takes its texts
// away at once, though another command has the profile: a second one ends kin.
func TestAConversationThatIsHeldUpLeavesItsScreen(t *testing.T) {
	s := newTheatre(t)
	s.backlog(1)
	lock, err := os.OpenFile(filepath.Join(s.profile, "lock"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	held, ended, left := false, false, false
	out, _ := onPTY(t, s.command(nil), func(sofar []byte) string {
		switch {
		case !held && conversation.Match(sofar):
			held = true
			if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
				t.Error(err)
			}
			return "a line\n"
		case held && !ended && bytes.Contains(sofar, []byte("a line\r\n")):
			ended = true
			return "\x03"
		case !left && bytes.Contains(sofar, []byte(leaveScreen)):
			left = true
			lock.Close()
		}
		return ""
	})
	if !left {
		lock.Close()
		t.Errorf("the screen was left by no Ctrl-C: %q", out)
	}
}

// TestASmallScreenRollsNowhere: a phone that lies on its side, with its keyboard up, has
// four lines.
func TestASmallScreenRollsNowhere(t *testing.T) {
	master, slave := openPTY(t)
	defer master.Close()
	defer slave.Close()
	if err := unix.IoctlSetWinsize(int(slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 4, Col: 60}); err != nil {
		t.Fatal(err)
	}
	pages := new(app).pages(&screen{tty: &terminal{file: slave}}, []string{"a", "b", "c", "d", "e"})
	if want := []string{"a\nb\n", "c\nd\n", "e\n"}; !slices.Equal(pages, want) {
		t.Errorf("%q", pages)
	}
}

// TestALineThatTheTerminalCutsIsNotSent: of a longer one Linux keeps 4,095 bytes (termios(3),
// Canonical and noncanonical mode).
func TestALineThatTheTerminalCutsIsNotSent(t *testing.T) {
	s := newTheatre(t)
	s.backlog(1)
	typed, ended := false, false
	out, code := onPTY(t, s.command(nil), func(sofar []byte) string {
		switch {
		case !typed && conversation.Match(sofar):
			typed = true
			return strings.Repeat("x", 5000) + "\n"
		case !ended && bytes.Contains(sofar, []byte("Write shorter lines.")):
			ended = true
			return "/q\n"
		}
		return ""
	})
	if status := s.must("status"); code != 0 || !ended || strings.Contains(status, "queued") || strings.Contains(status, "relay") {
		t.Errorf("%d, %q; %s", code, out, status)
	}
}
