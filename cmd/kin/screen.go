package main

import (
	"context"
	"os"
	"strings"
	"sync"
)

// screen is the alternate screen of a terminal: what stands on it is gone when it
// is left, from the scrollback as well.
type screen struct {
	tty *terminal
	out *os.File

	mu   sync.Mutex
	on   bool
	left bool // for good: nothing is written any more
}

const (
	enterScreen = "\x1b[?1049h\x1b[H\x1b[2J"
	leaveScreen = "\x1b[2J\x1b[?1049l"
	bell        = "\a"
)

// screen is nil where stdout is no terminal, nobody could answer, or the output
// is for a program. With TERM=dumb it is a screen without escape sequences.
func (a *app) screen() *screen {
	t := a.terminal()
	if t == nil || a.flags.json || !isTerminal(a.out) {
		return nil
	}
	return &screen{tty: t, out: a.out.(*os.File)}
}

func (a *app) enter(s *screen) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.on && !s.left && a.getenv("TERM") != "dumb" && enableEscapes(s.out) {
		s.on = true
		s.out.WriteString(enterScreen)
	}
}

func (s *screen) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left = true
	if s.on {
		s.out.WriteString(leaveScreen)
		s.on = false
	}
}

// page shows lines from the first that fits so that nothing rolls away, and turns
// pages as the person asks: forwards from page from, or backwards. -1 is the last.
func (a *app) page(ctx context.Context, s *screen, lines []string, from int) error {
	pages := a.pages(s, lines)
	if from < 0 {
		from = len(pages) - 1
	}
	return a.turn(ctx, s, pages, from)
}

// pages cuts lines into screenfuls.
func (a *app) pages(s *screen, lines []string) []string {
	wrapped := s.wrapped(lines)
	var pages []string
	for len(wrapped) > 0 {
		n := min(s.pageLines(), len(wrapped))
		pages = append(pages, strings.Join(wrapped[:n], "\n")+"\n")
		wrapped = wrapped[n:]
	}
	return pages
}

// pageLines is how many lines a page has: two are left for the prompt, if there are so many.
func (s *screen) pageLines() int {
	_, height := s.tty.size()
	return max(1, height-2)
}

// lastPage is the page that lines end on.
func (s *screen) lastPage(lines []string) int { return max(0, len(s.wrapped(lines))-1) / s.pageLines() }

// wrapped are lines as they fit the screen: left to the terminal, the rest of a long
// line would begin at its edge, where heads do.
func (s *screen) wrapped(lines []string) (out []string) {
	width, _ := s.tty.size()
	for _, line := range lines {
		out = append(out, wrap(line, width-1)...)
	}
	return out
}

// turn shows a page and asks for the next until the person closes the screen.
func (a *app) turn(ctx context.Context, s *screen, pages []string, at int) error {
	for at < len(pages) {
		if err := s.show(pages[at]); err != nil {
			return err
		}
		at = a.askPage(ctx, s, pages, at)
	}
	return nil
}

// askPage asks, under a page, for the one to show next; len(pages) closes the screen.
func (a *app) askPage(ctx context.Context, s *screen, pages []string, at int) int {
	prompt := a.t("screen.last")
	if len(pages) > 1 {
		prompt = a.t("screen.page", at+1, len(pages))
	}
	answer, err := s.tty.line(ctx, prompt)
	if err != nil {
		return len(pages) // closing it is a normal end
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "q":
		return len(pages)
	case "b":
		return max(0, at-1)
	}
	return at + 1
}

// add puts lines below those that are there, which roll away only when the screen is full.
func (s *screen) add(lines []string) error {
	return s.write("", strings.Join(s.wrapped(lines), "\n")+"\n")
}

// show puts one page on the cleared screen.
func (s *screen) show(page string) error { return s.write("\x1b[H\x1b[2J", page) }

// write puts text on the screen, behind an escape sequence if it knows any.
func (s *screen) write(escape, text string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left {
		return errUnread
	}
	if s.on {
		text = escape + text
	}
	_, err := s.out.WriteString(text)
	return err
}
