package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kin/client"
	"kin/client/vault"
	"kin/internal/span"
	"kin/protocol"
)

const defaultKeep = 30 * day

func (a *app) initCommand() *cobra.Command {
	var name, relay, grant string
	keep := span.Flag{D: defaultKeep}
	c := a.command("init", "", exactly(0), func(ctx context.Context, _ []string) error {
		if err := a.keepRange(keep.D); err != nil {
			return err
		}
		return a.setUp(ctx, name, relay, grant, keep.D)
	})
	f := c.Flags()
	f.StringVar(&name, "name", "", a.t("flag.init.name"))
	f.StringVar(&relay, "relay", "", a.t("flag.init.relay"))
	f.StringVar(&grant, "grant", "", a.t("flag.init.grant"))
	f.Var(&keep, "keep", a.t("flag.init.keep"))
	return c
}

func (a *app) keepRange(keep time.Duration) error {
	if keep < vault.MinKeep || keep > vault.MaxKeep {
		return a.usage("init.keep-range", a.span(vault.MinKeep), a.span(vault.MaxKeep))
	}
	return nil
}

// setUp makes a caseworker's profile. What is missing is asked for; the relay
// answers before anything is made.
func (a *app) setUp(ctx context.Context, name, relay, grant string, keep time.Duration) error {
	dir, err := a.profile()
	if err != nil {
		return err
	}
	if client.Exists(dir) {
		return a.fail("err.profile-exists-at", dir)
	}
	s := client.Setup{Name: name, Keep: keep}
	if relay, err = a.orAsk(ctx, relay, "init.ask-relay", "--relay"); err != nil {
		return err
	}
	if s.Relay, err = protocol.ParseAddress(relay); err != nil {
		return a.badArgument(err)
	}
	if grant, err = a.orAsk(ctx, grant, "init.ask-grant", "--grant"); err != nil {
		return err
	}
	if s.Grant, err = protocol.ParseGrant(grant); err != nil {
		return a.badArgument(err)
	}
	if t := a.terminal(); name == "" && t != nil {
		if s.Name, err = t.line(ctx, a.t("init.ask-name")); err != nil {
			return err
		}
	}
	passphrase, err := a.newPassphrase(ctx)
	if err != nil {
		return err
	}
	defer clear(passphrase)
	p, err := client.Create(ctx, dir, passphrase, s)
	if errors.Is(err, client.ErrOffline) {
		return errors.Join(errNotMade, err)
	}
	if err != nil {
		return err
	}
	defer p.Close()
	if a.flags.json {
		return a.json(profileJSON{1, "profile", dir, p.Name()})
	}
	a.tell("init.done", dir)
	a.hint("init.next")
	return nil
}

// orAsk is a flag's value, or what the person answers; without a terminal a usage
// error.
func (a *app) orAsk(ctx context.Context, value, question, flag string) (string, error) {
	if value != "" {
		return value, nil
	}
	t := a.terminal()
	if t == nil {
		return "", a.usage("usage.flag-needed", flag)
	}
	answer, err := t.line(ctx, a.t(question))
	return strings.TrimSpace(answer), err
}

// badArgument is the error of something that was written wrong: a usage error in
// the words that explain has for it.
func (a *app) badArgument(err error) error {
	message, hint := a.explain(err)
	return &said{text: message, hint: hint, usage: true}
}

func (a *app) passphraseCommand() *cobra.Command {
	var file string
	c := a.command("passphrase", "", exactly(0), func(ctx context.Context, _ []string) error {
		return a.changePassphrase(ctx, file)
	})
	c.Flags().StringVar(&file, "new-passphrase-file", "", a.t("flag.passphrase.new-file"))
	return c
}

// changePassphrase asks for the old one even while the profile is unlocked:
// whoever sits down at an open machine must not be able to change it.
func (a *app) changePassphrase(ctx context.Context, file string) error {
	dir, err := a.profile()
	if err != nil {
		return err
	}
	if !client.Exists(dir) {
		return a.noProfile(dir)
	}
	p, err := a.openWithPassphrase(ctx, dir)
	if err != nil {
		return err
	}
	defer p.Close()
	var chosen []byte
	switch t := a.terminal(); {
	case file != "":
		chosen, err = a.passphraseFromFile(file)
	case a.flags.passphraseStdin: // the next line
		chosen, err = a.passphraseLine(ctx)
	case t != nil:
		chosen, err = a.choosePassphrase(ctx, t)
	default:
		err = a.usage("usage.flag-needed", "--new-passphrase-file")
	}
	if err != nil {
		return err
	}
	chosen = normalise(chosen) // what choosePassphrase returns stays as it is
	defer clear(chosen)
	if err := a.longEnough(chosen); err != nil {
		return err
	}
	if err := p.ChangePassphrase(chosen); err != nil {
		return err
	}
	if a.flags.json {
		return a.json(plainJSON{1, "passphrase_changed"})
	}
	a.tell("passphrase.changed")
	return nil
}

func (a *app) wipeCommand() *cobra.Command {
	var yes bool
	c := a.command("wipe", "", exactly(0), func(ctx context.Context, _ []string) error {
		return a.wipe(ctx, yes)
	})
	c.Flags().BoolVar(&yes, "yes", false, a.t("flag.wipe.yes"))
	return c
}

// wipe destroys the profile. One typed word stands between a slip of the finger
// and that; there is no other way back, and no passphrase.
func (a *app) wipe(ctx context.Context, yes bool) error {
	dir, err := a.profile()
	if err != nil {
		return err
	}
	if !yes {
		t := a.terminal()
		if t == nil {
			return a.usage("usage.flag-needed", "--yes")
		}
		answer, err := t.line(ctx, a.t("wipe.ask", dir, a.t("wipe.word")))
		if err != nil {
			return err
		}
		if !strings.EqualFold(strings.TrimSpace(answer), a.t("wipe.word")) {
			return errAborted
		}
	}
	a.endSession(dir)
	if err := client.Wipe(dir); err != nil {
		switch {
		case errors.Is(err, vault.ErrNotFound):
			return a.noProfile(dir)
		case errors.Is(err, vault.ErrForeign):
			return err
		}
		return a.fail("wipe.failed", err)
	}
	if a.flags.json {
		return a.json(plainJSON{1, "wiped"})
	}
	a.tell("wipe.done")
	return nil
}
