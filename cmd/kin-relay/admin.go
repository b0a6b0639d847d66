package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"kin/internal/span"
	"kin/relay"
)

// ask speaks to the running relay over its socket.
func (a *app) ask(ctx context.Context, method, path string, body, answer any) error {
	dir, err := a.folder()
	if err != nil {
		return err
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(dir, adminSocket))
	}
	c := http.Client{Transport: &http.Transport{DialContext: dial}, Timeout: 10 * time.Second}
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	q, err := http.NewRequestWithContext(ctx, method, "http://relay"+path, bytes.NewReader(b))
	if err != nil {
		return err
	}
	w, err := c.Do(q)
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return a.fail("relay.err.not-running")
	}
	if err != nil {
		return a.fail("relay.err.no-answer")
	}
	defer w.Body.Close()
	if w.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(io.LimitReader(w.Body, 4096))
		return errors.New(trimLine(string(b)))
	}
	return json.NewDecoder(w.Body).Decode(answer)
}

func (a *app) json(v any) error { return json.NewEncoder(a.out).Encode(v) }

// grantID is a grant's, as grant list prints it.
var grantID = regexp.MustCompile(`^[0-9a-f]{8}$`)

func (a *app) grantCommand() *cobra.Command {
	g := a.command("grant", "grant", cobra.NoArgs, nil)
	a.group(g)
	var queues int
	expires := span.Flag{D: firstLife}
	n := a.command("new", "grant.new", cobra.NoArgs, func(ctx context.Context, _ []string) error {
		var answer map[string]string
		ask := struct {
			Queues int
			Life   time.Duration
		}{queues, expires.D}
		if err := a.ask(ctx, "POST", "/grants", ask, &answer); err != nil {
			return err
		}
		_, err := fmt.Fprintln(a.out, answer["grant"])
		return err
	})
	n.Flags().IntVar(&queues, "queues", firstQueues, a.say.T("relay.flag.queues"))
	n.Flags().Var(&expires, "expires", a.say.T("relay.flag.expires"))
	list := a.command("list", "grant.list", cobra.NoArgs, func(ctx context.Context, _ []string) error {
		var grants []relay.Grant
		if err := a.ask(ctx, "GET", "/grants", nil, &grants); err != nil {
			return err
		}
		for _, g := range grants {
			state := g.Expires.Format("2006-01-02")
			if g.Revoked {
				state = "revoked"
			}
			fmt.Fprintf(a.out, "%s  %d/%d  %s\n", g.ID, g.Left, g.Queues, state)
		}
		return nil
	})
	revoke := a.command("revoke ID", "revoke", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		if !grantID.MatchString(args[0]) { // else it could be another path
			return a.usage("relay.err.grant-id", args[0])
		}
		return a.ask(ctx, "DELETE", "/grants/"+args[0], nil, &struct{}{})
	})
	g.AddCommand(n, list, revoke)
	return g
}

func (a *app) statusCommand() *cobra.Command {
	var asJSON bool
	c := a.command("status", "status", cobra.NoArgs, func(ctx context.Context, _ []string) error {
		var s relay.Status
		if err := a.ask(ctx, "GET", "/status", nil, &s); err != nil {
			return err
		}
		if asJSON {
			return a.json(s)
		}
		_, err := fmt.Fprintf(a.out, "connections  %d\nqueues       %d\nenvelopes    %d\nspool        %d bytes\ndurable      %v\n",
			s.Connections, s.Queues, s.Envelopes, s.SpoolBytes, s.Durable)
		return err
	})
	c.Flags().BoolVar(&asJSON, "json", false, a.say.T("relay.flag.json"))
	return c
}

// checkCommand says what a person has to mend.
func (a *app) checkCommand() *cobra.Command {
	return a.command("check", "check", cobra.NoArgs, func(ctx context.Context, _ []string) error {
		dir, err := a.folder()
		if err != nil {
			return err
		}
		var found []string
		say := func(key string, args ...any) { found = append(found, a.say.T(key, args...)) }
		info, err := os.Stat(dir)
		if err != nil {
			say("relay.check.no-data")
		} else {
			if info.Mode().Perm()&0o077 != 0 && openToOthers {
				say("relay.check.mode")
			}
			inspect(dir, say)
			if err := a.ask(ctx, "GET", "/status", nil, &relay.Status{}); err != nil {
				found = append(found, err.Error())
			} else {
				var l life
				if err := a.ask(ctx, "GET", "/certificate", nil, &l); err != nil {
					return err
				}
				l.inspect(time.Now(), say)
			}
		}
		if time.Now().Year() < 2024 {
			say("relay.check.clock")
		}
		for _, line := range found {
			fmt.Fprintln(a.out, line)
		}
		if len(found) > 0 {
			return a.fail("relay.err.check", len(found))
		}
		_, err = fmt.Fprintln(a.out, a.say.T("relay.good"))
		return err
	})
}

func (a *app) destroyCommand() *cobra.Command {
	var yes bool
	c := a.command("destroy", "destroy", cobra.NoArgs, func(context.Context, []string) error {
		dir, err := a.folder()
		if err != nil {
			return err
		}
		if !relay.Exists(dir) {
			return a.fail("relay.err.no-data", dir)
		}
		if !yes {
			f, ok := a.in.(*os.File)
			if !ok || !term.IsTerminal(int(f.Fd())) {
				return a.usage("relay.err.needs-yes")
			}
			fmt.Fprint(a.err, a.say.T("relay.destroy.ask"))
			line, _ := bufio.NewReader(f).ReadString('\n')
			if strings.TrimSpace(line) != "destroy" {
				return a.fail("relay.err.declined")
			}
		}
		_, lost := os.Stat(filepath.Join(dir, "relay.db")) // with its lock
		if c, err := net.Dial("unix", filepath.Join(dir, adminSocket)); lost != nil && err == nil {
			c.Close()
			return a.fail("relay.err.running")
		}
		err = relay.Destroy(dir)
		if errors.Is(err, relay.ErrInUse) {
			return a.fail("relay.err.running")
		}
		if err != nil {
			return err
		}
		fmt.Fprintln(a.err, a.say.T("relay.destroyed"))
		return nil
	})
	c.Flags().BoolVar(&yes, "yes", false, a.say.T("relay.flag.yes"))
	return c
}
