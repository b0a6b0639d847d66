package text

import (
	"strings"
	"testing"

	"golang.org/x/text/language"
)

func TestCountFollowsItsNumber(t *testing.T) {
	p := New(language.English)
	for n, want := range map[int]string{1: "1 hour", 2: "2 hours", 1200: "1,200 hours"} {
		if got := p.T("span.hours", n); got != want {
			t.Errorf("%d: %q; want %q", n, got, want)
		}
	}
	if got := p.T("event.lost", 2, "K7"); got != "2 messages from K7 are lost. Ask for them again." {
		t.Error(got)
	}
}

// Every sentence is filled in by somebody: none shows its gaps.
func TestSentencesWithoutArgumentsHaveNoGaps(t *testing.T) {
	p := New(language.English)
	for key, entry := range kinEnglish {
		s, ok := entry.(string)
		if ok && !strings.Contains(s, "%") && p.T(key) != s {
			t.Errorf("%s: %q", key, p.T(key))
		}
	}
}
