package span

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParse(t *testing.T) {
	for s, want := range map[string]time.Duration{"30s": 30 * time.Second, "48h": 48 * time.Hour, "14d": 336 * time.Hour, "1y": 8760 * time.Hour, "1d12H": 36 * time.Hour, "0s": 0} {
		if got, err := Parse(s); err != nil || got != want {
			t.Errorf("Parse(%q) = %v, %v; want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"", "1", "h", "1h1d", "1h1h", "-1h", "1.5h", "1 h", "99999999999999h", "1x"} {
		if got, err := Parse(s); err == nil {
			t.Errorf("Parse(%q) = %v; want an error", s, got)
		}
	}
}

func TestFormatIsParsesInverse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Range(0, 1<<32).Draw(t, "seconds")) * time.Second
		if got, err := Parse(Format(d)); err != nil || got != d {
			t.Fatalf("Parse(Format(%v)) = %v, %v", d, got, err)
		}
	})
}
