// Kin-relay is the relay of operators: kin-relay --help says what it does.
// Everything that needs no flag, signal or socket is in kin/relay.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"kin/internal/text"
)

func main() {
	harden()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends it at once
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// app is one run of kin-relay.
type app struct {
	in   io.Reader
	out  io.Writer
	err  io.Writer
	say  *text.Printer
	data string
}

// said is an error in words, with its exit code and what to do next.
type said struct {
	text, hint string
	code       int
}

func (e *said) Error() string { return e.text }

func (a *app) fail(key string, args ...any) error {
	e := &said{text: a.say.T(key, args...), code: 1}
	if text.Has(key + ".hint") {
		e.hint = a.say.T(key + ".hint")
	}
	return e
}

func (a *app) usage(key string, args ...any) error {
	e := a.fail(key, args...).(*said)
	e.code = 2
	return e
}

func run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	tag, _ := text.Choose("", os.Getenv, "")
	a := &app{in: in, out: out, err: errOut, say: text.New(tag)}
	root := a.root()
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errOut)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintln(errOut, a.say.T("relay.err", err.Error()))
	var s *said
	if errors.As(err, &s) {
		if s.hint != "" {
			fmt.Fprintln(errOut, a.say.T("relay.hint", s.hint))
		}
		return s.code
	}
	return 1
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{Use: "kin-relay", Short: a.say.T("relay.cmd"), SilenceErrors: true, SilenceUsage: true}
	a.group(root)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &said{text: err.Error(), code: 2} })
	root.PersistentFlags().StringVar(&a.data, "data", "", a.say.T("relay.flag.data"))
	root.AddCommand(a.serveCommand(), a.grantCommand(), a.checkCommand(), a.statusCommand(), a.versionCommand(), a.destroyCommand(),
		a.notBuiltCommand("backup"), a.notBuiltCommand("restore"), a.manCommand(root))
	return root
}

// group makes c a command that only has others: it is an error without the name of one.
func (a *app) group(c *cobra.Command) {
	c.Args, c.SuggestionsMinimumDistance = cobra.ArbitraryArgs, 2
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			c.Help()
			return &said{text: c.UseLine(), code: 2}
		}
		e := a.usage("relay.err.unknown", args[0]).(*said)
		if near := c.SuggestionsFor(args[0]); len(near) > 0 {
			e.hint = c.CommandPath() + " " + near[0]
		}
		return e
	}
}

// command is a command with its words from the catalogue.
func (a *app) command(use, key string, args cobra.PositionalArgs, f func(context.Context, []string) error) *cobra.Command {
	c := &cobra.Command{Use: use, Short: a.say.T("relay.cmd." + key), SilenceErrors: true, SilenceUsage: true,
		Args: func(c *cobra.Command, got []string) error {
			if err := args(c, got); err != nil {
				return &said{text: err.Error(), code: 2}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error { return f(c.Context(), args) }}
	if ex := "relay.ex." + key; text.Has(ex) {
		c.Example = a.say.T(ex)
	}
	return c
}

func (a *app) notBuiltCommand(name string) *cobra.Command {
	return a.command(name+" FILE", name, cobra.ArbitraryArgs, func(context.Context, []string) error {
		return a.fail("relay.err.not-built", name)
	})
}

func (a *app) manCommand(root *cobra.Command) *cobra.Command {
	c := a.command("man DIR", "man", cobra.ExactArgs(1), func(_ context.Context, args []string) error {
		root.DisableAutoGenTag = true
		return doc.GenManTree(root, &doc.GenManHeader{Title: "KIN-RELAY", Section: "8"}, args[0])
	})
	c.Hidden = true
	return c
}

func (a *app) versionCommand() *cobra.Command {
	var asJSON bool
	c := a.command("version", "version", cobra.NoArgs, func(context.Context, []string) error {
		if asJSON {
			return a.json(map[string]any{"v": 1, "type": "version", "version": version(), "protocol": 1, "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH})
		}
		_, err := fmt.Fprintf(a.out, "kin-relay %s\n", version())
		return err
	})
	c.Flags().BoolVar(&asJSON, "json", false, a.say.T("relay.flag.json"))
	return c
}

func version() string {
	if b, ok := debug.ReadBuildInfo(); ok && b.Main.Version != "" {
		return b.Main.Version
	}
	return "(devel)"
}

// folder is the data folder: --data, or the platform's state folder.
func (a *app) folder() (string, error) {
	if a.data != "" {
		return filepath.Abs(a.data)
	}
	if dir := os.Getenv("STATE_DIRECTORY"); filepath.IsAbs(dir) { // systemd's
		return dir, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", a.usage("relay.err.no-folder")
	}
	switch runtime.GOOS {
	case "windows":
		if dir := os.Getenv("LOCALAPPDATA"); dir != "" {
			return filepath.Join(dir, "kin-relay"), nil
		}
	case "darwin":
		return filepath.Join(home, "Library", "Application Support", "kin-relay"), nil
	}
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "kin-relay"), nil
	}
	return filepath.Join(home, ".local", "state", "kin-relay"), nil
}
