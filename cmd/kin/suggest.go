package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// unknownCommand names the command that was meant, most likely.
func (a *app) unknownCommand(parent *cobra.Command, typed string) error {
	e := a.usage("usage.unknown-command", strings.TrimSpace(strings.TrimPrefix(parent.CommandPath(), "kin")+" "+typed)).(*said)
	var names []string
	for _, c := range parent.Commands() {
		if !c.Hidden {
			names = append(names, c.Name())
			names = append(names, c.Aliases...)
		}
	}
	if name := nearest(typed, names); name != "" {
		e.hint = a.t("usage.nearest", parent.CommandPath()+" "+name)
	} else {
		e.hint = a.t("usage.see-help", parent.CommandPath()+" --help")
	}
	return e
}

// nearest is the name that takes the fewest slips of the finger to become typed;
// none if more than half of it would have to change.
func nearest(typed string, names []string) string {
	best, least := "", len(typed)/2+2
	for _, name := range names {
		if d := distance([]rune(strings.ToLower(typed)), []rune(name)); d < least && d <= (len(name)+1)/2 {
			best, least = name, d
		}
	}
	return best
}

// distance counts insertions, deletions, replacements and swaps of neighbours
// (Damerau-Levenshtein, optimal string alignment).
func distance(a, b []rune) int {
	if len(a) > 32 {
		a = a[:32] // longer than any name: far away in any case
	}
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range b {
		rows[0][j+1] = j + 1
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
