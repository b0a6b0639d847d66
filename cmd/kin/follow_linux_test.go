package main

import (
	"bytes"
	"testing"
)

// TestAFollowerKeepsWhatItShowed: what came before stands above what comes.
func TestAFollowerKeepsWhatItShowed(t *testing.T) {
	s := newTheatre(t)
	f := s.friend("Friend")
	s.must("sync")
	s.honest(f, "the first of two")
	said, left := false, false
	out, code := onPTY(t, s.command(nil, "receive", "--follow"), func(sofar []byte) string {
		switch {
		case bytes.Contains(sofar, []byte("the last of two")) && !left:
			left = true
			return "\x03"
		case bytes.Contains(sofar, []byte("the first of two")) && !said:
			said = true
			s.honest(f, "the last of two")
		}
		return ""
	})
	_, behind, _ := bytes.Cut(out, []byte("the first of two"))
	before, _, found := bytes.Cut(behind, []byte("the last of two"))
	if !found || code != 0 {
		t.Fatalf("%d, %q", code, out)
	}
	if bytes.Contains(before, []byte("\x1b[")) {
		t.Errorf("between the two: %q", before)
	}
}

// TestWhatIsToldOnceOutlivesTheScreen: who follows reads what happened to contacts when the
// screen is left, not on it.
func TestWhatIsToldOnceOutlivesTheScreen(t *testing.T) {
	s := newTheatre(t)
	s.honest(s.friend("Friend"), "a text to see")
	ended := false
	out, code := onPTY(t, s.command(nil, "receive", "--follow"), func(sofar []byte) string {
		if bytes.Contains(sofar, []byte("a text to see")) && !ended {
			ended = true
			return "\x03"
		}
		return ""
	})
	_, behind, left := bytes.Cut(out, []byte(leaveScreen))
	if code != 0 || !left || !bytes.Contains(behind, []byte("Friend has joined")) {
		t.Errorf("%d, %q", code, out)
	}
}
