// Package span reads and writes durations as people type them: 15m, 48h, 14d, 1y.
package span

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
)

// Lengths that package time lacks.
const (
	Day  = 24 * time.Hour
	Year = 365 * Day
)

// units of a duration, longest first. There is no month: nobody agrees how long
// one is.
var units = []struct {
	name string
	size time.Duration
}{
	{"y", Year}, {"w", 7 * Day}, {"d", Day}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second},
}

// ErrDuration says what a duration looks like.
var ErrDuration = errors.New("a number with its unit, such as 30s, 15m, 48h, 14d or 1y")

// Parse reads one or more whole numbers with units, each unit at most
// once and longest first: 48h, 1d12h, 1y. There is no sign, no fraction, no space.
func Parse(s string) (time.Duration, error) {
	rest, total, next := s, time.Duration(0), 0
	for rest != "" {
		digits := 0
		var n time.Duration
		for ; digits < len(rest) && rest[digits] >= '0' && rest[digits] <= '9'; digits++ {
			if n > math.MaxInt32 {
				return 0, ErrDuration
			}
			n = 10*n + time.Duration(rest[digits]-'0')
		}
		if digits == 0 || digits == len(rest) {
			return 0, ErrDuration
		}
		for next < len(units) && units[next].name != strings.ToLower(rest[digits:digits+1]) {
			next++
		}
		if next == len(units) || n > (math.MaxInt64-total)/units[next].size {
			return 0, ErrDuration
		}
		total += n * units[next].size
		next++
		rest = rest[digits+1:]
	}
	if s == "" {
		return 0, ErrDuration
	}
	return total, nil
}

// Format is the inverse of Parse for whole seconds.
func Format(d time.Duration) string {
	var b strings.Builder
	for _, u := range units {
		if n := d / u.size; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, u.name)
			d -= n * u.size
		}
	}
	if b.Len() == 0 {
		return "0s"
	}
	return b.String()
}

// Flag is the value of a command-line flag.
type Flag struct{ D time.Duration }

func (f *Flag) String() string { return Format(f.D) }
func (f *Flag) Type() string   { return "D" }

func (f *Flag) Set(s string) (err error) {
	f.D, err = Parse(s)
	return err
}
