package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// terminal is where kin talks with a person: lines in, lines out, no raw mode, so
// that every input method works. It is never a pipe.
type terminal struct {
	file *os.File // read from; also for the echo
	r    *bufio.Reader
	out  *os.File
}

// terminal is nil where nobody could answer. It is stdin and stderr if both are
// terminals; if only one of the streams is, the terminal that the process belongs to.
func (a *app) terminal() *terminal {
	if a.ttySet {
		return a.tty
	}
	a.ttySet = true
	in, err := isTerminal(a.stdin), isTerminal(a.err)
	switch {
	case in && err:
		a.tty = &terminal{a.stdin.(*os.File), a.in, a.err.(*os.File)}
	case in || err || isTerminal(a.out):
		if r, w, err := openTerminal(); err == nil {
			a.tty = &terminal{r, bufio.NewReader(r), w}
		}
	}
	return a.tty
}

// isTerminal tells whether a reader or writer is a terminal.
func isTerminal(x any) bool {
	f, ok := x.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// write shows text; an error is of no use to anybody: the person would be told on
// the same terminal.
func (t *terminal) write(s string) { io.WriteString(t.out, s) }

// awaited runs read, which can't be interrupted, and gives up on it when ctx ends.
// Then the read is left behind; it ends with the process, which is about to.
func awaited[T any](ctx context.Context, read func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	c := make(chan result, 1)
	go func() {
		value, err := read()
		c <- result{value, err}
	}()
	select {
	case r := <-c:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, errAborted
	}
}

// fromStdin is awaited for stdin. What a signal that ended kin cut off there, because it
// ended the writer too, is not what was to be read.
func fromStdin(ctx context.Context, read func() ([]byte, error)) ([]byte, error) {
	b, err := awaited(ctx, read)
	if ctx.Err() != nil {
		return nil, errAborted
	}
	return b, err
}

// errLongLine is a line that the terminal may have cut without a word: in line
// mode it keeps no more than maxTerminalLine bytes.
var errLongLine = errors.New("the terminal cut this line")

// line asks for one line. The end of the input is errAborted.
func (t *terminal) line(ctx context.Context, prompt string) (string, error) {
	t.write(prompt)
	return awaited(ctx, t.readLine)
}

func (t *terminal) readLine() (string, error) {
	s, err := t.r.ReadString('\n')
	if err != nil && s == "" {
		return "", errAborted
	}
	s = strings.TrimRight(s, "\r\n")
	if maxTerminalLine > 0 && len(s) >= maxTerminalLine {
		return "", errLongLine
	}
	return s, nil
}

// secret asks for one line that is not shown.
func (t *terminal) secret(ctx context.Context, prompt string) ([]byte, error) {
	fd := int(t.file.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return nil, err
	}
	t.write(prompt)
	secret, err := awaited(ctx, func() ([]byte, error) { return term.ReadPassword(fd) })
	term.Restore(fd, before)
	t.write("\n")
	if errors.Is(err, io.EOF) {
		err = errAborted
	}
	return secret, err
}

// text asks for a text of several lines; a blank line ends it.
func (t *terminal) text(ctx context.Context) (string, error) {
	var lines []string
	for {
		s, err := t.line(ctx, "")
		if errors.Is(err, errAborted) && ctx.Err() == nil && len(lines) > 0 {
			break // Ctrl-D ends it as well
		}
		if err != nil {
			return "", err
		}
		if s == "" {
			break
		}
		lines = append(lines, s)
	}
	return strings.Join(lines, "\n"), nil
}

// size is the terminal's size in columns and lines, or a small guess if it tells none.
// However small it is, it is so: what is cut for a larger one rolls away unseen.
func (t *terminal) size() (columns, lines int) {
	columns, lines, err := term.GetSize(int(t.file.Fd()))
	if err != nil || columns == 0 || lines == 0 {
		return 80, 24
	}
	return columns, lines
}
