package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"
)

// root builds the commands. Nothing has run yet when it returns.
func (a *app) root() *cobra.Command {
	cobra.MousetrapHelpText = "" // a double-click starts the conversation
	root := a.command("kin", "", anyNumber, nil)
	root.RunE = func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			return a.unknownCommand(root, args[0])
		}
		return a.start(c.Context(), root)
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetHelpFunc(func(c *cobra.Command, _ []string) { a.help(a.out, c) })
	root.SetHelpCommand(a.helpCommand(root))
	root.SetFlagErrorFunc(a.flagError)

	f := root.PersistentFlags()
	a.given = f.Changed
	f.StringVar(&a.flags.profile, "profile", "", a.t("flag.profile"))
	f.StringVar(&a.flags.passphraseFile, "passphrase-file", "", a.t("flag.passphrase-file"))
	f.BoolVar(&a.flags.passphraseStdin, "passphrase-stdin", false, a.t("flag.passphrase-stdin"))
	f.BoolVar(&a.flags.json, "json", false, a.t("flag.json"))
	f.StringVar(&a.flags.lang, "lang", "", a.t("flag.lang"))
	f.StringVar(&a.flags.proxy, "proxy", "", a.t("flag.proxy"))
	f.BoolVar(&a.flags.isolate, "isolate", false, a.t("flag.isolate"))
	f.BoolP("help", "h", false, a.t("flag.help"))
	version := root.Flags().Bool("version", false, a.t("flag.version"))
	start := root.RunE
	root.RunE = func(c *cobra.Command, args []string) error {
		if *version && len(args) == 0 {
			return a.printVersion()
		}
		return start(c, args)
	}

	root.AddCommand(
		a.initCommand(), a.inviteCommand(), a.joinCommand(),
		a.contactsCommand(), a.renameCommand(), a.removeCommand(), a.checkCommand(),
		a.sendCommand(), a.cancelCommand(), a.receiveCommand(), a.historyCommand(), a.statusCommand(), a.syncCommand(),
		a.passphraseCommand(), a.unlockCommand(), a.lockCommand(), a.wipeCommand(),
		a.versionCommand(), a.completionCommand(root), a.manCommand(root), a.holderCommand(),
	)
	root.InitDefaultHelpCmd()
	return root
}

// command is a command whose help stands in the catalogue under its name. What
// comes with a later version is refused before anything is done.
func (a *app) command(name, args string, fits argRule, run func(ctx context.Context, args []string) error) *cobra.Command {
	c := &cobra.Command{
		Use:                   strings.TrimSpace(name + " " + args),
		Short:                 a.t("cmd." + name),
		SilenceErrors:         true,
		SilenceUsage:          true,
		DisableFlagsInUseLine: true,
		DisableSuggestions:    true,
		Args:                  cobra.ArbitraryArgs, // checked below, in our words
		ValidArgsFunction:     cobra.NoFileCompletions,
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		switch {
		case a.flags.proxy != "":
			return a.notBuilt("--proxy")
		case a.flags.isolate:
			return a.notBuilt("--isolate")
		case !fits(len(args)) && c.HasAvailableSubCommands():
			return a.unknownCommand(c, args[0])
		case !fits(len(args)):
			return a.usage("usage.args", c.UseLine())
		}
		return run(c.Context(), args)
	}
	return c
}

// argRule tells whether a command takes n arguments.
type argRule func(n int) bool

func anyNumber(int) bool            { return true }
func exactly(want int) argRule      { return func(n int) bool { return n == want } }
func between(low, high int) argRule { return func(n int) bool { return n >= low && n <= high } }

// langOf finds --lang before the flags are parsed: help is in that language too.
func langOf(args []string) string {
	for i, arg := range args {
		if arg == "--" {
			break
		}
		if arg == "--lang" && i+1 < len(args) {
			return args[i+1]
		}
		if value, ok := strings.CutPrefix(arg, "--lang="); ok {
			return value
		}
	}
	return ""
}

// asksJSON finds --json where the flags could not be parsed: a usage error is an object too.
func asksJSON(args []string) bool {
	for _, arg := range args {
		if arg == "--" {
			break
		}
		if arg == "--json" || arg == "--json=true" {
			return true
		}
	}
	return false
}
