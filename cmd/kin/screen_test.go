package main

import (
	"errors"
	"io"
	"os"
	"testing"
)

// TestAScreenThatWasLeftTakesNoText: what comes behind a Ctrl-C would stand in the
// scrollback, and count as shown.
func TestAScreenThatWasLeftTakesNoText(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	s := &screen{tty: &terminal{file: r}, out: w, on: true}
	s.leave()
	if err := s.add([]string{"a text"}); !errors.Is(err, errUnread) {
		t.Error(err)
	}
	if err := s.show("a text\n"); !errors.Is(err, errUnread) {
		t.Error(err)
	}
	w.Close()
	if out, err := io.ReadAll(r); err != nil || string(out) != leaveScreen {
		t.Errorf("%q, %v", out, err)
	}
}
