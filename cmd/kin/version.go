package main

import (
	"context"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"kin/protocol"
)

// version is what the build recorded: a release's tag, or the commit.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}

func (a *app) printVersion() error {
	if a.flags.json {
		return a.json(versionJSON{1, "version", version(), protocol.Version, runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH})
	}
	return a.print(a.t("version.line", version(), protocol.Version, runtime.Version(), runtime.GOOS+"/"+runtime.GOARCH))
}

func (a *app) versionCommand() *cobra.Command {
	return a.command("version", "", exactly(0), func(context.Context, []string) error { return a.printVersion() })
}
