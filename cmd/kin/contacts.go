package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"kin/client"
	"kin/internal/safe"
)

func (a *app) contactsCommand() *cobra.Command {
	c := a.command("contacts", "", exactly(0), func(ctx context.Context, _ []string) error {
		p, err := a.open(ctx)
		if err != nil {
			return err
		}
		defer p.Close()
		contacts, err := p.Contacts()
		if err != nil {
			return err
		}
		if a.flags.json {
			for _, c := range contacts {
				if err := a.json(contactObject(c)); err != nil {
					return err
				}
			}
			return nil
		}
		if len(contacts) == 0 {
			a.tell("contacts.none")
		}
		return a.printColumns(a.contactRows(contacts))
	})
	c.Aliases = []string{"list"}
	return c
}

func (a *app) contactRows(contacts []client.Contact) (rows [][]string) {
	for _, c := range contacts {
		row := []string{safe.Line(c.Label), a.contactState(c), a.t("contacts.unread", c.Unread)}
		if c.CallsThemself != "" && c.CallsThemself != c.Label {
			row = append(row, a.t("contacts.calls", c.CallsThemself))
		}
		rows = append(rows, row)
	}
	return rows
}

func (a *app) contactState(c client.Contact) string {
	switch {
	case c.Stopped:
		return a.t("contacts.stopped")
	case c.MustAccept:
		return a.t("contacts.must-accept")
	case c.Joined:
		return a.checked(c.IdentityChecked)
	case c.Invited:
		return a.t("contacts.invited")
	}
	return a.t("contacts.not-joined")
}

func (a *app) renameCommand() *cobra.Command {
	return a.command("rename", "OLD NEW", exactly(2), func(ctx context.Context, args []string) error {
		return a.change(ctx, "contacts.renamed", args[1], contactLabel, func(p *client.Profile) error { return p.Rename(args[0], args[1]) })
	})
}

func (a *app) removeCommand() *cobra.Command {
	return a.command("remove", "CONTACT", exactly(1), func(ctx context.Context, args []string) error {
		return a.takeAway(ctx, "contacts.removed", args[0], contactLabel, func(p *client.Profile) error { return p.Remove(ctx, args[0]) })
	})
}

// labelled finds a label as it is kept, from how a person may write it; "" is none.
type labelled func(p *client.Profile, label string) (string, error)

func contactLabel(p *client.Profile, label string) (string, error) {
	contacts, err := p.Contacts()
	for _, c := range contacts {
		if client.SameLabel(c.Label, label) {
			return c.Label, err
		}
	}
	return "", err
}

// change does something to what has a label and says that it is done.
func (a *app) change(ctx context.Context, done, label string, find labelled, f func(*client.Profile) error) error {
	p, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer p.Close()
	if err := f(p); err != nil {
		return err
	}
	if label, err = find(p, label); err != nil {
		return err
	}
	return a.sayDone(done, label)
}

// takeAway is change for what is gone once it is done: on this device it may be, though the
// relay could not be told, which is an error.
func (a *app) takeAway(ctx context.Context, done, label string, find labelled, f func(*client.Profile) error) error {
	p, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer p.Close()
	was, err := find(p, label)
	if err != nil {
		return err
	}
	err = f(p)
	if left, lerr := find(p, label); was != "" && left == "" && lerr == nil {
		if serr := a.sayDone(done, was); serr != nil {
			return serr
		}
	}
	return err
}

// sayDone says the sentence of what was done; its last word is the object's type.
func (a *app) sayDone(done, label string) error {
	if a.flags.json {
		_, word, _ := strings.Cut(done, ".")
		return a.json(doneJSON{1, word, label})
	}
	a.tell(done, label)
	return nil
}

func (a *app) checkCommand() *cobra.Command {
	var ok, accept bool
	c := a.command("check", "CONTACT", exactly(1), func(ctx context.Context, args []string) error {
		if ok && accept {
			return a.usage("check.both")
		}
		if !ok && !accept {
			return a.showDigits(ctx, args[0])
		}
		done, goOn := "contacts.accepted", (*client.Profile).Accept
		if ok {
			done, goOn = "contacts.checked", (*client.Profile).SetChecked
		}
		var again int
		err := a.change(ctx, done, args[0], contactLabel, func(p *client.Profile) (err error) {
			again, err = goOn(p, args[0])
			return err
		})
		if again > 0 {
			a.tell("check.again", again)
			a.hint("check.sync")
		}
		return err
	})
	c.Flags().BoolVar(&ok, "ok", false, a.t("flag.check.ok"))
	c.Flags().BoolVar(&accept, "accept", false, a.t("flag.check.accept"))
	return c
}

// showDigits shows the 60 digits, in rows of four groups.
func (a *app) showDigits(ctx context.Context, label string) error {
	p, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer p.Close()
	unheard, waits, err := p.Unheard(label)
	if err != nil {
		return err
	}
	var c client.Contact
	err = p.ShowDigits(label, func(digits string, of client.Contact) error {
		c = of
		return a.printDigits(digits, c)
	})
	if err != nil || a.flags.json {
		return err
	}
	a.tell("check.compare", c.Label)
	a.tell("check.state", c.Label, a.checked(c.IdentityChecked))
	if unheard > waits {
		a.tell("check.unheard", unheard-waits)
	}
	if waits > 0 {
		a.tell("check.waits", waits)
	}
	a.hint("check.next", c.Label)
	return nil
}

func (a *app) printDigits(digits string, c client.Contact) error {
	if a.flags.json {
		return a.json(checkJSON{1, "check", c.Label, digits, c.IdentityChecked})
	}
	const row = 4 * 6 // four groups of five digits and a space
	var rows []string
	for len(digits) > 0 {
		n := min(row, len(digits))
		rows = append(rows, strings.TrimSpace(digits[:n]))
		digits = digits[n:]
	}
	return a.print(strings.Join(rows, "\n"))
}
