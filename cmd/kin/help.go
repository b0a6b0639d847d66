package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"kin/internal/text"
)

// helpKey is where the help of a command stands in the catalogue: invite.list for
// kin invite list, kin for kin itself.
func helpKey(c *cobra.Command) string {
	path := strings.Fields(c.CommandPath())
	if len(path) > 1 {
		path = path[1:]
	}
	return strings.Join(path, ".")
}

// help says what a command does, with examples.
func (a *app) help(w io.Writer, c *cobra.Command) {
	var b strings.Builder
	section := func(title string, lines []string) {
		if len(lines) > 0 {
			fmt.Fprintf(&b, "\n%s\n  %s\n", a.t(title), strings.Join(lines, "\n  "))
		}
	}
	fmt.Fprintln(&b, c.Short)
	if key := "long." + helpKey(c); text.Has(key) {
		fmt.Fprintf(&b, "\n%s\n", a.t(key))
	}
	section("help.usage", []string{c.UseLine()})
	if len(c.Aliases) > 0 {
		section("help.aliases", []string{strings.Join(c.Aliases, ", ")})
	}
	section("help.examples", a.examples(c))
	section("help.commands", columns(commandRows(c)))
	section("help.flags", columns(flagRows(c.NonInheritedFlags(), c.HasParent())))
	section("help.global-flags", columns(flagRows(c.InheritedFlags(), false)))
	if c.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "\n%s\n", a.t("help.more", c.CommandPath()))
	}
	io.WriteString(w, b.String())
}

func (a *app) examples(c *cobra.Command) []string {
	if key := "examples." + helpKey(c); text.Has(key) {
		return strings.Split(a.t(key), "\n")
	}
	return nil
}

func commandRows(c *cobra.Command) (rows [][]string) {
	for _, sub := range c.Commands() {
		if !sub.Hidden {
			rows = append(rows, []string{strings.TrimPrefix(sub.UseLine(), c.CommandPath()+" "), sub.Short})
		}
	}
	return rows
}

func flagRows(flags *pflag.FlagSet, withoutHelp bool) (rows [][]string) {
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || withoutHelp && f.Name == "help" {
			return
		}
		value, usage := pflag.UnquoteUsage(f)
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		rows = append(rows, []string{strings.TrimSpace(name + " " + value), usage})
	})
	return rows
}

func (a *app) helpCommand(root *cobra.Command) *cobra.Command {
	return a.command("help", "[COMMAND]", anyNumber, func(_ context.Context, args []string) error {
		c, rest, err := root.Find(args)
		if err != nil || len(rest) > 0 {
			return a.unknownCommand(root, strings.Join(args, " "))
		}
		a.help(a.out, c)
		return nil
	})
}
