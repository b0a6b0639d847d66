package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"kin/internal/text"
)

func (a *app) completionCommand(root *cobra.Command) *cobra.Command {
	shells := map[string]func() error{
		"bash":       func() error { return root.GenBashCompletionV2(a.out, true) },
		"zsh":        func() error { return root.GenZshCompletion(a.out) },
		"fish":       func() error { return root.GenFishCompletion(a.out, true) },
		"powershell": func() error { return root.GenPowerShellCompletionWithDesc(a.out) },
	}
	c := a.command("completion", "bash | zsh | fish | powershell", exactly(1), func(_ context.Context, args []string) error {
		generate, ok := shells[args[0]]
		if !ok {
			return a.usage("completion.shell", args[0])
		}
		return generate()
	})
	c.ValidArgs = []string{"bash", "zsh", "fish", "powershell"}
	c.ValidArgsFunction = nil
	return c
}

// manCommand writes manual pages, for those who pack kin.
func (a *app) manCommand(root *cobra.Command) *cobra.Command {
	c := a.command("man", "DIR", exactly(1), func(_ context.Context, args []string) error {
		return a.writePages(root, args[0])
	})
	c.Hidden = true
	return c
}

func (a *app) writePages(c *cobra.Command, dir string) error {
	name := strings.ReplaceAll(c.CommandPath(), " ", "-") + ".1"
	if err := os.WriteFile(filepath.Join(dir, name), a.manPage(c), 0o644); err != nil {
		return err
	}
	for _, sub := range c.Commands() {
		if sub.Hidden {
			continue
		}
		if err := a.writePages(sub, dir); err != nil {
			return err
		}
	}
	return nil
}

// manPage is the help of a command for man(1) (groff's man macros).
func (a *app) manPage(c *cobra.Command) []byte {
	var b bytes.Buffer
	name := strings.ReplaceAll(c.CommandPath(), " ", "-")
	fmt.Fprintf(&b, ".TH %s 1 \"\" \"Kin %s\"\n", roff(strings.ToUpper(name)), roff(version()))
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", roff(name), roff(c.Short))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n", roff(c.UseLine()))
	if key := "long." + helpKey(c); text.Has(key) {
		fmt.Fprintf(&b, ".SH DESCRIPTION\n%s\n", roff(a.t(key)))
	}
	list := func(title string, rows [][]string) {
		if len(rows) > 0 {
			fmt.Fprintf(&b, ".SH %s\n", title)
		}
		for _, row := range rows {
			fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", roff(row[0]), roff(row[1]))
		}
	}
	list("COMMANDS", commandRows(c))
	list("OPTIONS", flagRows(c.NonInheritedFlags(), false))
	list("GLOBAL OPTIONS", flagRows(c.InheritedFlags(), false))
	if lines := a.examples(c); len(lines) > 0 {
		fmt.Fprintf(&b, ".SH EXAMPLES\n.nf\n%s\n.fi\n", roff(strings.Join(lines, "\n")))
	}
	if !c.HasParent() {
		fmt.Fprintf(&b, ".SH EXIT STATUS\n.nf\n%s\n.fi\n", roff(a.t("man.exit-codes")))
	}
	return b.Bytes()
}

// roff escapes what the macros would take for their own.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}
