package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"testing"

	"golang.org/x/text/language"

	"kin/internal/text"
)

// readingFrom is a run of kin whose stdin is a pipe.
func readingFrom(in io.Reader) *app {
	return &app{in: bufio.NewReader(in), stdin: in, out: io.Discard, err: io.Discard, getenv: func(string) string { return "" }, say: text.New(language.English)}
}

// TestWhatASignalCutsOffIsNotSent: Ctrl-C ends the writer of a pipe too, and what it had
// written by then is half of a text, or of a passphrase.
func TestWhatASignalCutsOffIsNotSent(t *testing.T) {
	for what, read := range map[string]func(*app, context.Context) error{
		"text":       func(a *app, ctx context.Context) error { _, err := a.textToSend(ctx, []string{"K7", "-"}); return err },
		"passphrase": func(a *app, ctx context.Context) error { _, err := a.passphraseLine(ctx); return err },
	} {
		for _, ends := range []bool{true, false} {
			in, writer := io.Pipe()
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				io.WriteString(writer, "do NOT ") // returns when it was read
				cancel()
				if ends {
					writer.Close()
				}
			}()
			if err := read(readingFrom(in), ctx); !errors.Is(err, errAborted) {
				t.Errorf("half of a %s (the writer ends: %v): %v", what, ends, err)
			}
			writer.Close()
		}
	}
}
