package main

import (
	"strings"

	"github.com/clipperhouse/displaywidth"
)

// columns lines rows up, two spaces between, by what each takes on the screen: a
// Korean or Chinese character is two wide. The last column is not padded.
func columns(rows [][]string) []string {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], displaywidth.String(cell))
		}
	}
	lines := make([]string, len(rows))
	for r, row := range rows {
		var b strings.Builder
		for i, cell := range row {
			b.WriteString(cell)
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", widths[i]-displaywidth.String(cell)+2))
			}
		}
		lines[r] = strings.TrimRight(b.String(), " ")
	}
	return lines
}

// wrap breaks a line at spaces, or within a word that is too long, so that no part
// is wider than width; an indent is kept.
func wrap(line string, width int) []string {
	body := strings.TrimLeft(line, " ")
	indent := line[:len(line)-len(body)]
	if len(indent) >= width/2 {
		indent = ""
	}
	width -= len(indent)
	var out []string
	for displaywidth.String(body) > width {
		taken, space, w := 0, -1, 0
		g := displaywidth.StringGraphemes(body)
		for g.Next() {
			if w += g.Width(); w > width && taken > 0 {
				break
			}
			if g.Value() == " " {
				space = taken
			}
			taken += len(g.Value())
		}
		if space > 0 {
			taken = space
		}
		out = append(out, indent+strings.TrimRight(body[:taken], " "))
		body = strings.TrimLeft(body[taken:], " ")
	}
	return append(out, indent+body)
}
