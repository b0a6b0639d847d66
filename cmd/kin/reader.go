package main

import (
	"context"
	"errors"

	"kin/client"
)

// errUnread says that the screen was left before all that is new had been on it.
var errUnread = errors.New("not all of it was shown")

// reader puts what is new on the screen, from within what Receive shows with: a text
// counts as shown once its page is up, whatever comes then.
type reader struct {
	a      *app
	s      *screen
	follow bool
	lines  []string // that were shown page by page
	pages  []string
}

// show returns nil when the last page is up, and nobody has to press a key there: other
// commands on the profile wait for it.
func (r *reader) show(ctx context.Context, ms []client.Message) error {
	if ctx.Err() != nil {
		return errUnread
	}
	r.a.enter(r.s)
	if anyUrgent(ms) {
		r.s.tty.write(bell)
	}
	lines := r.a.allLines(ms)
	if r.follow {
		if r.s.fits(lines) {
			return r.s.add(lines)
		}
		r.lines = nil
	}
	at := r.s.fullPages(r.lines)
	r.lines = append(r.lines, lines...)
	pages := r.a.pages(r.s, r.lines)
	r.pages = nil // nobody is asked for more if this fails
	for {
		if err := r.s.show(pages[at]); err != nil {
			return err
		}
		if at == len(pages)-1 {
			r.pages = pages
			return nil
		}
		if at = r.a.askPage(ctx, r.s, pages, at); at == len(pages) {
			return errUnread
		}
	}
}

// close waits until the person closes the last page, if there is one.
func (r *reader) close(ctx context.Context) {
	if len(r.pages) > 0 && !r.follow {
		r.a.turn(ctx, r.s, r.pages, r.a.askPage(ctx, r.s, r.pages, len(r.pages)-1))
	}
	r.s.leave()
}

// without is err without one of the errors that were joined in it.
func without(err, one error) error {
	if !errors.Is(err, one) {
		return err
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return nil
	}
	var rest []error
	for _, e := range joined.Unwrap() {
		rest = append(rest, without(e, one))
	}
	return errors.Join(rest...)
}
