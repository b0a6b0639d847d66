package main

import (
	"bytes"
	"regexp"
	"testing"
)

// TestTheOfferedWordsLeaveTheScreen: a passphrase that was offered, and is perhaps the
// profile's, does not stay in the scrollback of a terminal that somebody seizes.
func TestTheOfferedWordsLeaveTheScreen(t *testing.T) {
	s := newTheatre(t)
	s.profile = s.path("new")
	asked := regexp.MustCompile(`takes the five words\): |Once more: `)
	answered := 0
	out, code := onPTY(t, s.command(nil, "init", "--name", "Ana", "--relay", s.address.String(), "--grant", s.grant), func(sofar []byte) (typed string) {
		for range len(asked.FindAll(sofar, -1)) - answered {
			typed += "my own long words\n"
			answered++
		}
		return typed
	})
	offer := []byte("Five words that make a good passphrase: ")
	stays := regexp.MustCompile(`(?s)\x1b\[\?1049h.*?\x1b\[\?1049l`).ReplaceAll(out, nil)
	if code != 0 || !bytes.Contains(out, offer) || bytes.Contains(stays, offer) {
		t.Errorf("%d, %q", code, out)
	}
}
