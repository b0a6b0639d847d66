package main

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"kin/client"
	"kin/protocol"
)

const maxInviteFile = 64 << 10

func (a *app) joinCommand() *cobra.Command {
	var name, label string
	c := a.command("join", "[INVITE… | @FILE]", anyNumber, func(ctx context.Context, args []string) error {
		inv, err := a.readInvite(ctx, args)
		if err != nil {
			return err
		}
		return a.join(ctx, inv, name, label)
	})
	c.Flags().StringVar(&name, "name", "", a.t("flag.join.name"))
	c.Flags().StringVar(&label, "for", "", a.t("flag.join.for"))
	return c
}

// readInvite takes an invite from the arguments, a file or a paste.
func (a *app) readInvite(ctx context.Context, args []string) (protocol.Invite, error) {
	switch {
	case len(args) == 1 && strings.HasPrefix(args[0], "@"):
		f, err := os.Open(args[0][1:])
		if err != nil {
			return protocol.Invite{}, a.usage("join.file", err)
		}
		defer f.Close()
		b, err := io.ReadAll(io.LimitReader(f, maxInviteFile))
		if err != nil {
			return protocol.Invite{}, a.usage("join.file", err)
		}
		return protocol.ParseInvite(string(decodeText(b)))
	case len(args) > 0:
		return protocol.ParseInvite(strings.Join(args, " "))
	}
	t := a.terminal()
	if t == nil {
		return protocol.Invite{}, a.usage("join.needed")
	}
	t.write(a.t("join.paste") + "\n")
	pasted, err := a.paste(ctx, t, func(s string) bool {
		_, err := protocol.ParseInvite(s)
		return err == protocol.ErrNoInvite
	})
	if err != nil {
		return protocol.Invite{}, err
	}
	return protocol.ParseInvite(pasted)
}

// paste reads lines until a blank one. While more tells that what is wanted has
// not begun yet, a blank line is part of what was pasted; two end it.
func (a *app) paste(ctx context.Context, t *terminal, more func(string) bool) (string, error) {
	var b strings.Builder
	for blank := 0; blank < 2; {
		line, err := t.line(ctx, "")
		if err != nil {
			return "", err
		}
		if strings.TrimSpace(line) != "" {
			blank = 0
			b.WriteString(line + "\n")
			continue
		}
		if blank++; b.Len() == 0 || !more(b.String()) {
			break
		}
	}
	if b.Len() == 0 {
		return "", errAborted
	}
	return b.String(), nil
}

// join makes the profile if there is none. A profile that was made for an invite
// which turned out to be no good goes away again; when the relay could not be
// asked, or may have told the host already, it stays, and the same command goes on.
func (a *app) join(ctx context.Context, inv protocol.Invite, name, label string) error {
	dir, err := a.profile()
	if err != nil {
		return err
	}
	var p *client.Profile
	made := !client.Exists(dir)
	if made {
		p, err = a.makeGuest(ctx, dir, &name)
	} else {
		p, err = a.open(ctx)
	}
	if err != nil {
		return err
	}
	defer p.Close()
	contact, err := p.Join(ctx, inv, name, label)
	if err != nil {
		if known, kerr := p.IsKnown(); made && exitCode(err) != 3 && kerr == nil && !known {
			p.Close()
			err = errors.Join(err, client.Wipe(dir))
		}
		return err
	}
	if a.flags.json {
		return a.json(contactObject(contact))
	}
	if contact.MustAccept {
		a.tell("join.anew", contact.Label)
		a.hint("join.new-session", contact.Label)
	} else {
		a.tell("join.done", contact.Label)
		a.hint("join.next", contact.Label)
	}
	return nil
}

func (a *app) makeGuest(ctx context.Context, dir string, name *string) (*client.Profile, error) {
	if t := a.terminal(); t != nil && *name == "" {
		answer, err := t.line(ctx, a.t("join.ask-name"))
		if err != nil {
			return nil, err
		}
		*name = strings.TrimSpace(answer)
	}
	passphrase, err := a.newPassphrase(ctx)
	if err != nil {
		return nil, err
	}
	defer clear(passphrase)
	return client.CreateGuest(ctx, dir, passphrase, *name, defaultKeep)
}
