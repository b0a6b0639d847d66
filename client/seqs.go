package client

import "slices"

// span is a run of envelope numbers, both ends included.
type span struct{ From, To uint64 }

// spans are ascending runs that don't touch: the envelopes of a contact that are
// missing.
type spans []span

// maxSpans bounds what a contact who skips numbers on purpose can make this profile
// keep; the oldest run goes.
const maxSpans = 2048

// add puts in a run that lies behind all others.
func (s *spans) add(from, to uint64) {
	if from <= to {
		*s = append(*s, span{from, to})
	}
	s.bound()
}

func (s *spans) bound() { *s = (*s)[max(0, len(*s)-maxSpans):] }

// count is how many numbers from the first to the last are in.
func (s spans) count(from, to uint64) int {
	n := 0
	for _, r := range s {
		if lo, hi := max(from, r.From), min(to, r.To); lo <= hi {
			n += int(hi - lo + 1)
		}
	}
	return n
}

// remove takes a number out.
func (s *spans) remove(n uint64) bool {
	for i, r := range *s {
		if n < r.From || n > r.To {
			continue
		}
		var parts []span
		if r.From < n {
			parts = append(parts, span{r.From, n - 1})
		}
		if n < r.To {
			parts = append(parts, span{n + 1, r.To})
		}
		*s = slices.Replace(*s, i, i+1, parts...)
		s.bound()
		return true
	}
	return false
}
