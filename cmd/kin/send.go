package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kin/client"
	"kin/internal/span"
	"kin/protocol"
)

const (
	defaultWait = 10 * time.Second
	maxText     = 1 << 20 // bytes that are read before the client says how much fits
)

func (a *app) sendCommand() *cobra.Command {
	ttl, until, wait := span.Flag{D: client.DefaultTTL}, span.Flag{D: client.DefaultUntil}, span.Flag{D: defaultWait}
	var urgent, queueOnly bool
	var files []string
	c := a.command("send", "CONTACT [TEXT | -]", between(1, 2), func(ctx context.Context, args []string) error {
		if len(files) > 0 {
			return a.notBuilt("--file")
		}
		for flag, d := range map[string]time.Duration{"--ttl": ttl.D, "--until": until.D} {
			if d < time.Hour || d > client.DefaultUntil {
				return a.usage("usage.range", flag, a.span(time.Hour), a.span(client.DefaultUntil))
			}
		}
		o := client.SendOptions{TTL: ttl.D, Until: until.D, Urgent: urgent, QueueOnly: queueOnly, Wait: wait.D}
		return a.send(ctx, args, o)
	})
	c.Aliases = []string{"write"}
	f := c.Flags()
	f.StringArrayVar(&files, "file", nil, a.t("flag.send.file"))
	f.Var(&ttl, "ttl", a.t("flag.send.ttl"))
	f.Var(&until, "until", a.t("flag.send.until"))
	f.Var(&wait, "wait", a.t("flag.send.wait"))
	f.BoolVar(&urgent, "urgent", false, a.t("flag.send.urgent"))
	f.BoolVar(&queueOnly, "queue-only", false, a.t("flag.send.queue-only"))
	return c
}

func (a *app) send(ctx context.Context, args []string, o client.SendOptions) error {
	p, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer p.Close()
	text, err := a.textToSend(ctx, args)
	if err != nil {
		return err
	}
	sent, err := p.Send(ctx, args[0], text, o)
	switch {
	case sent.Contact == "":
		return err
	case sent.State == client.StateExpiredUnread, sent.State == client.StateCancelled: // while it was tried
		return a.fail("send."+string(sent.State), sent.Contact)
	}
	if a.flags.json {
		if jerr := a.json(sentObject(sent)); jerr != nil {
			return jerr
		}
	} else {
		a.tell(outcome(sent, err), sent.Contact)
	}
	return a.keptInOutbox(err)
}

// outcome is the catalogue's key of what became of a text.
func outcome(sent client.Sent, err error) string {
	if sent.State == client.StateQueued && exitCode(err) == 7 {
		return "send.refused"
	}
	return "send." + string(sent.State)
}

// keptInOutbox puts a failure to send, behind which the message stays queued, into
// one error.
func (a *app) keptInOutbox(err error) error {
	var refusal *protocol.Refusal
	if errors.Is(err, protocol.ErrFingerprint) || err == nil {
		return err
	}
	if errors.Is(err, client.ErrOffline) || errors.As(err, &refusal) && refusal.Code.Temporary() {
		return errors.Join(errNotOut, err)
	}
	return err
}

// textToSend is the argument, what is piped in, or what the person types until a
// blank line.
func (a *app) textToSend(ctx context.Context, args []string) (string, error) {
	if len(args) == 2 && args[1] != "-" {
		if a.terminal() != nil {
			a.hint("send.shell-history")
		}
		return a.someText(args[1])
	}
	if len(args) == 1 && isTerminal(a.stdin) {
		if t := a.terminal(); t != nil {
			t.write(a.t("send.ask", args[0]) + "\n")
			text, err := t.text(ctx)
			if err == nil && strings.TrimSpace(text) == "" {
				err = errAborted
			}
			return text, err
		}
	}
	b, err := fromStdin(ctx, func() ([]byte, error) { return io.ReadAll(io.LimitReader(a.in, maxText+1)) })
	if err != nil {
		return "", err
	}
	if len(b) > maxText { // the end may be half a character
		return "", client.ErrTooLong
	}
	return a.someText(strings.TrimSuffix(strings.TrimSuffix(string(decodeText(b)), "\n"), "\r"))
}

// someText is a text in which there is something to read: an empty one is a mistake, of a
// script perhaps.
func (a *app) someText(text string) (string, error) {
	if strings.TrimSpace(text) == "" {
		return "", a.usage("send.nothing")
	}
	return text, nil
}

func (a *app) cancelCommand() *cobra.Command {
	return a.command("cancel", "ID", exactly(1), func(ctx context.Context, args []string) error {
		id, err := a.parseID(args[0])
		if err != nil {
			return err
		}
		p, err := a.open(ctx)
		if err != nil {
			return err
		}
		defer p.Close()
		st, err := p.Cancel(ctx, id)
		if st.Contact == "" {
			return err
		}
		if a.flags.json {
			if jerr := a.json(statusObject(st)); jerr != nil {
				return jerr
			}
		} else {
			a.tell("cancel."+string(st.State), st.Contact)
		}
		if err == nil && st.State != client.StateCancelled {
			return a.fail("cancel.too-late")
		}
		return err
	})
}
