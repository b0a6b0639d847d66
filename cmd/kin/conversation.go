package main

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"kin/client"
)

// start is kin alone: the first run, or a contact to talk with.
func (a *app) start(ctx context.Context, root *cobra.Command) error {
	t := a.terminal()
	if t == nil || a.flags.json {
		a.help(a.err, root)
		return a.usage("start.no-terminal")
	}
	dir, err := a.profile()
	if err != nil {
		return err
	}
	if !client.Exists(dir) {
		t.write(a.t("start.welcome") + "\n\n")
		inv, err := a.readInvite(ctx, nil)
		if err != nil {
			return err
		}
		if err := a.join(ctx, inv, "", ""); err != nil {
			return err
		}
	}
	p, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer p.Close()
	for {
		label, err := a.choose(ctx, t, p)
		if err != nil || label == "" {
			return err
		}
		if err := a.converse(ctx, t, p, label); err != nil {
			return err
		}
		if contacts, err := p.Contacts(); err != nil || len(contacts) < 2 {
			return err
		}
	}
}

// choose asks for a contact by number; the only one needs no question.
func (a *app) choose(ctx context.Context, t *terminal, p *client.Profile) (string, error) {
	contacts, err := p.Contacts()
	if err != nil {
		return "", err
	}
	if len(contacts) == 0 {
		a.tell("contacts.none")
		return "", nil
	}
	if len(contacts) == 1 {
		return contacts[0].Label, nil
	}
	rows := a.contactRows(contacts)
	for i := range rows {
		rows[i] = append([]string{strconv.Itoa(i + 1)}, rows[i]...)
	}
	for {
		t.write(strings.Join(columns(rows), "\n") + "\n")
		answer, err := t.line(ctx, a.t("start.choose"))
		if answer = strings.TrimSpace(answer); err != nil || answer == "" || answer == "/q" {
			return "", nil
		}
		if n, err := strconv.Atoi(answer); err == nil && n >= 1 && n <= len(contacts) {
			return contacts[n-1].Label, nil
		}
		t.write(a.t("start.no-such", answer) + "\n")
	}
}

// shownAtFirst is how many messages a conversation begins with.
const shownAtFirst = 10

// converse is a conversation, line by line: a line is sent, a blank one shows what
// is new, /q ends it. What comes meanwhile announces itself with a fixed line.
func (a *app) converse(ctx context.Context, t *terminal, p *client.Profile, label string) error {
	var report client.Report
	defer func() { a.events(merged(report.Events, p.Overheard())) }() // once the screen is left
	s := a.screen()
	if s == nil { // stdout leads elsewhere
		s = &screen{tty: t, out: t.out}
	} else {
		a.enter(s)
		defer s.leave()
		context.AfterFunc(ctx, s.leave) // another command may hold kin up: whoever ends it a second time leaves no text behind
	}
	show := func(ms []client.Message) error { return s.add(a.allLines(ms)) }
	past, err := p.History(label)
	if err != nil {
		return err
	}
	t.write(a.t("conversation.with", label) + "\n\n")
	first := max(0, len(past)-shownAtFirst)
	// What is new counts as shown, so all of it is, however much that is.
	n, err := p.ShowNew(label, func(fresh []client.Message) error {
		var since []client.Message // came after past was read
		for _, m := range fresh {
			if i := slices.IndexFunc(past, func(o client.Message) bool { return o.ID == m.ID && o.Direction == m.Direction }); i >= 0 {
				first = min(first, i)
			} else {
				since = append(since, m)
			}
		}
		return show(append(past[first:], since...))
	})
	if err != nil {
		return without(err, errUnread)
	}
	if n == 0 {
		show(past[first:])
	}
	t.write(a.t("conversation.how") + "\n")

	following, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		var err error
		report, err = p.Receive(following, client.ReceiveOptions{Follow: true, Announce: func(_ int, urgent bool) {
			if urgent {
				t.write(bell)
			}
			t.write("\n" + a.t("conversation.new") + "\n")
		}}, nil)
		ended <- err
	}()
	err = a.talk(ctx, t, p, label, show)
	stop()
	failed := <-ended
	if errors.Is(failed, client.ErrStopped) && !slices.ContainsFunc(report.Events, func(e client.Event) bool { return e.Kind == client.EventStopped && e.Contact == label }) {
		failed = nil // it is about somebody else, whom the events name
	}
	return errors.Join(err, failed)
}

// merged are the events of both. That a profile is older is true once.
func merged(events, more []client.Event) []client.Event {
	for _, e := range more {
		if e.Kind != client.EventStopped || !slices.Contains(events, e) {
			events = append(events, e)
		}
	}
	return events
}

func (a *app) talk(ctx context.Context, t *terminal, p *client.Profile, label string, show func([]client.Message) error) error {
	for {
		line, err := t.line(ctx, "> ")
		if errors.Is(err, errAborted) {
			return nil
		}
		if err != nil {
			a.complain(t, err)
			continue
		}
		switch strings.TrimSpace(line) {
		case "/q":
			return nil
		case "":
			if n, err := p.ShowNew(label, show); err != nil {
				return without(err, errUnread)
			} else if n == 0 {
				t.write(a.t("receive.nothing") + "\n")
			}
			continue
		}
		sent, err := p.Send(ctx, label, line, client.SendOptions{Wait: defaultWait})
		if sent.Contact != "" {
			t.write(a.t(outcome(sent, err), sent.Contact) + "\n")
		}
		if err != nil {
			a.complain(t, a.keptInOutbox(err))
		}
	}
}

// complain tells an error, and what to do next, where lines are asked for.
func (a *app) complain(t *terminal, err error) {
	message, hint := a.explain(err)
	t.write(message + "\n")
	if hint != "" {
		t.write(hint + "\n")
	}
}
