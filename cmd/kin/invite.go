package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/skip2/go-qrcode"
	"github.com/spf13/cobra"

	"kin/client"
	"kin/internal/safe"
	"kin/internal/span"
)

const (
	defaultInvite = 48 * time.Hour
	maxInvite     = 7 * day
)

func (a *app) inviteCommand() *cobra.Command {
	var (
		label, png string
		qr         bool
	)
	expires := span.Flag{D: defaultInvite}
	c := a.command("invite", "", exactly(0), func(ctx context.Context, _ []string) error {
		if expires.D < time.Hour || expires.D > maxInvite {
			return a.usage("usage.range", "--expires", a.span(time.Hour), a.span(maxInvite))
		}
		if _, err := os.Lstat(png); png != "" && !errors.Is(err, fs.ErrNotExist) {
			return a.fail("invite.png-exists", png)
		}
		return a.invite(ctx, label, expires.D, qr, png)
	})
	f := c.Flags()
	f.StringVar(&label, "for", "", a.t("flag.invite.for"))
	f.Var(&expires, "expires", a.t("flag.invite.expires"))
	f.BoolVar(&qr, "qr", false, a.t("flag.invite.qr"))
	f.StringVar(&png, "png", "", a.t("flag.invite.png"))
	list := a.command("invite.list", "", exactly(0), func(ctx context.Context, _ []string) error { return a.listInvites(ctx) })
	list.Use = "list"
	revoke := a.command("invite.revoke", "", exactly(1), a.revokeInvite)
	revoke.Use = "revoke LABEL"
	c.AddCommand(list, revoke)
	return c
}

// invite prints the invite alone on stdout; everything about it goes to stderr.
func (a *app) invite(ctx context.Context, label string, expires time.Duration, qr bool, png string) error {
	p, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer p.Close()
	token, label, err := p.Invite(ctx, label, expires)
	if err != nil {
		return err
	}
	until, err := inviteExpires(ctx, p, label)
	if err != nil {
		return err
	}
	if a.flags.json {
		err = a.json(inviteJSON{1, "invite", label, token, utc(until)})
	} else {
		err = a.print(safe.Line(token))
	}
	if err != nil {
		return err
	}
	// An invite in capital letters makes a smaller code, and reads the same.
	code, err := qrcode.New(strings.ToUpper(token), qrcode.Low)
	if err != nil {
		return err
	}
	if qr {
		a.drawCode(code.Bitmap())
	}
	if png != "" {
		if err := writeCode(code, png); err != nil {
			return a.fail("invite.png-failed", err)
		}
	}
	if !a.flags.json {
		a.tell("invite.done", label, when(until))
		a.hint("invite.next", label)
	}
	return nil
}

// inviteExpires is when a contact's open invite expires: it may be an earlier one, and the
// relay rounds up.
func inviteExpires(ctx context.Context, p *client.Profile, label string) (time.Time, error) {
	invites, err := p.Invites(ctx)
	i := slices.IndexFunc(invites, func(i client.InviteInfo) bool { return i.Label == label && i.State == "open" })
	if err != nil || i < 0 {
		return time.Time{}, err
	}
	return invites[i].Expires, nil
}

// drawCode draws two rows of the code in each line of the terminal: dark on light
// where colours are, else for light letters on a dark ground.
func (a *app) drawCode(dark [][]bool) {
	colour := a.getenv("NO_COLOR") == "" && a.getenv("TERM") != "dumb" && isTerminal(a.err) && enableEscapes(a.err.(*os.File))
	at := func(y, x int) bool { return y < len(dark) && dark[y][x] }
	halves := map[[2]bool]string{{false, false}: "█", {false, true}: "▀", {true, false}: "▄", {true, true}: " "}
	var b strings.Builder
	for y := 0; y < len(dark); y += 2 {
		if colour {
			b.WriteString("\x1b[97;40m")
		}
		for x := range dark[y] {
			b.WriteString(halves[[2]bool{at(y, x), at(y+1, x)}])
		}
		if colour {
			b.WriteString("\x1b[0m")
		}
		b.WriteString("\n")
	}
	io.WriteString(a.err, b.String())
}

// writeCode writes a picture that only this user can read, never over a file.
func writeCode(code *qrcode.QRCode, name string) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := code.Write(512, f); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

func (a *app) listInvites(ctx context.Context) error {
	p, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer p.Close()
	invites, err := p.Invites(ctx)
	if err != nil {
		return err
	}
	var rows [][]string
	for _, i := range invites {
		if a.flags.json {
			if err := a.json(inviteStateJSON{1, "invite_state", i.Label, i.State, utc(i.Made), utc(i.Expires), i.Fetches, i.Tries}); err != nil {
				return err
			}
			continue
		}
		note := a.t("invite.fetched", i.Fetches)
		if i.Tries > 0 {
			note += ", " + a.t("invite.tried", i.Tries)
		}
		rows = append(rows, []string{safe.Line(i.Label), a.inviteState(i.State), a.t("invite.until", when(i.Expires)), note})
	}
	if len(invites) == 0 && !a.flags.json {
		a.tell("invite.none")
	}
	return a.printColumns(rows)
}

func (a *app) inviteState(state string) string {
	switch state {
	case "open", "used", "expired", "revoked":
		return a.t("invite.state." + state)
	}
	return safe.Line(state)
}

func (a *app) printColumns(rows [][]string) error {
	for _, line := range columns(rows) {
		if err := a.print(line); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) revokeInvite(ctx context.Context, args []string) error {
	return a.takeAway(ctx, "invite.revoked", args[0], inviteLabel, func(p *client.Profile) error { return p.RevokeInvite(ctx, args[0]) })
}

func inviteLabel(p *client.Profile, label string) (string, error) {
	invites, err := p.Invites(context.Background())
	for _, i := range invites {
		if client.SameLabel(i.Label, label) {
			return i.Label, err
		}
	}
	return "", err
}
