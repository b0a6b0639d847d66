package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"kin/client"
)

// errUnread says that the screen was left before all that is new had been on it.
var errUnread = errors.New("not all of it was shown")

// staysUp is how long nothing rolls away for what comes behind it, unless the person asks
// for that.
const staysUp = time.Minute

// reader puts what is new on the screen, from within what Receive shows with: a text
// counts as shown once its page is up, whatever comes then.
type reader struct {
	a      *app
	s      *screen
	follow bool
	up     []batch // what was put there; of one who follows, lately
	pages  []string
}

type batch struct {
	lines []string
	at    time.Time
}

// show returns nil when the last page is up, and nobody has to press a key there.
func (r *reader) show(ctx context.Context, ms []client.Message) error {
	if ctx.Err() != nil {
		return errUnread
	}
	r.a.enter(r.s)
	if anyUrgent(ms) {
		r.s.tty.write(bell)
	}
	now := r.a.now()
	r.up = slices.DeleteFunc(r.up, func(b batch) bool { return r.follow && now.Sub(b.at) > staysUp })
	var lines []string
	for _, b := range r.up {
		lines = append(lines, b.lines...)
	}
	came := r.a.allLines(ms)
	at := r.s.lastPage(lines)
	pages := r.a.pages(r.s, append(lines, came...))
	r.pages = nil // nobody is asked for more if this fails
	if err := r.put(ctx, pages, at, came); err != nil {
		return err
	}
	r.up, r.pages = append(r.up, batch{came, r.a.now()}), pages
	return nil
}

// put shows what came, which begins on or behind one of the pages: below what is there if
// it fits, else page by page.
func (r *reader) put(ctx context.Context, pages []string, at int, came []string) error {
	if at == len(pages)-1 {
		return r.s.add(came)
	}
	for {
		if err := r.s.show(pages[at]); err != nil {
			return err
		}
		if at == len(pages)-1 {
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
