package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"kin/client"
	"kin/internal/safe"
	"kin/internal/span"
)

const defaultSyncWait = 30 * time.Second

func (a *app) receiveCommand() *cobra.Command {
	var o client.ReceiveOptions
	var wait span.Flag
	c := a.command("receive", "[CONTACT]", between(0, 1), func(ctx context.Context, args []string) error {
		if len(args) == 1 {
			if o.Contact = args[0]; o.Contact == "" { // everybody, to Receive: a script's empty variable is not
				return a.usage("receive.whom")
			}
		}
		o.Wait = wait.D
		return a.receive(ctx, o)
	})
	c.Aliases = []string{"read", "inbox"}
	c.Flags().BoolVar(&o.Follow, "follow", false, a.t("flag.receive.follow"))
	c.Flags().Var(&wait, "wait", a.t("flag.receive.wait"))
	return c
}

// receive shows what is new. On a terminal it is shown on the alternate screen and
// counts as shown once its page is up.
func (a *app) receive(ctx context.Context, o client.ReceiveOptions) error {
	p, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer p.Close()
	put := a.printMessages
	var r *reader
	if s := a.screen(); s != nil {
		r = &reader{a: a, s: s, follow: o.Follow}
		o.Slowly = true
		context.AfterFunc(ctx, s.leave) // a relay may hold kin up: whoever ends it a second time leaves no text behind
		put = func(ms []client.Message) error { return r.show(ctx, ms) }
		if o.Follow {
			a.enter(s)
		}
	}
	shown := 0
	report, err := p.Receive(ctx, o, func(ms []client.Message) error {
		err := put(ms)
		if err == nil {
			shown += len(ms)
		}
		return err
	})
	if r != nil {
		r.close(ctx) // what is told below stays
	}
	a.events(report.Events)
	if errors.Is(err, errUnread) {
		a.tell("receive.unread")
		return without(err, errUnread)
	}
	if shown == 0 && err == nil && !a.flags.json {
		a.tell("receive.nothing")
	}
	if err == nil && report.Queued > 0 {
		a.tell("sync.not-out", report.Queued)
	}
	return err
}

func (a *app) allLines(ms []client.Message) (lines []string) {
	for _, m := range ms {
		lines = append(lines, a.messageLines(m)...)
	}
	return lines
}

func (a *app) historyCommand() *cobra.Command {
	c := a.command("history", "CONTACT", exactly(1), func(ctx context.Context, args []string) error {
		p, err := a.open(ctx)
		if err != nil {
			return err
		}
		defer p.Close()
		ms, err := p.History(args[0])
		if err != nil {
			return err
		}
		if len(ms) == 0 && !a.flags.json {
			a.tell("history.none")
			return nil
		}
		s := a.screen()
		if s == nil {
			return a.printMessages(ms)
		}
		a.enter(s)
		defer s.leave()
		return a.page(ctx, s, a.allLines(ms), -1)
	})
	c.Aliases = []string{"log"}
	return c
}

func (a *app) statusCommand() *cobra.Command {
	return a.command("status", "", exactly(0), func(ctx context.Context, _ []string) error {
		p, err := a.open(ctx)
		if err != nil {
			return err
		}
		defer p.Close()
		all, err := p.Status()
		if err != nil {
			return err
		}
		var rows [][]string
		for _, st := range all {
			if a.flags.json {
				if err := a.json(statusObject(st)); err != nil {
					return err
				}
				continue
			}
			next := "next." + string(st.State)
			switch {
			case st.Stopped:
				next = "next.stopped"
			case st.Waits:
				next = "next.waits"
			}
			rows = append(rows, []string{when(st.Made), safe.Line(st.Contact), a.state(st.State), when(st.Changed), a.t(next), st.ID.String()})
			if st.Reason != "" && st.State == client.StateQueued {
				rows = append(rows, []string{"", "", safe.Line(st.Reason)})
			}
		}
		if len(all) == 0 && !a.flags.json {
			a.tell("status.none")
		}
		return a.printColumns(rows)
	})
}

func (a *app) syncCommand() *cobra.Command {
	wait := span.Flag{D: defaultSyncWait}
	c := a.command("sync", "", exactly(0), func(ctx context.Context, _ []string) error {
		p, err := a.open(ctx)
		if err != nil {
			return err
		}
		defer p.Close()
		report, err := p.Sync(ctx, wait.D)
		a.events(report.Events)
		if a.flags.json {
			if jerr := a.json(syncJSON{1, "sync", report.Received, report.Queued, err == nil && report.Queued == 0}); jerr != nil {
				return jerr
			}
		}
		if report.Queued > 0 {
			a.tell("sync.not-out", report.Queued)
		}
		switch {
		case err != nil && report.Queued > 0:
			return a.keptInOutbox(err)
		case err != nil:
			return err
		case report.Queued > 0:
			return errNotOut
		}
		if !a.flags.json {
			a.tell("sync.received", report.Received)
			a.tell("sync.disconnect")
		}
		return nil
	})
	c.Flags().Var(&wait, "wait", a.t("flag.sync.wait"))
	return c
}
