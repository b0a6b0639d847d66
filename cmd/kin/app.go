package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"kin/client"
	"kin/client/vault"
	"kin/internal/safe"
	"kin/internal/text"
)

// app is one run of kin: what a command may know of the world outside.
type app struct {
	in     *bufio.Reader // stdin; nobody else reads it
	stdin  io.Reader     // the same, to ask whether it is a terminal
	out    io.Writer     // data
	err    io.Writer     // talk
	getenv func(string) string
	now    func() time.Time
	say    *text.Printer
	flags  globals
	given  func(flag string) bool // whether a flag of every command was

	tty    *terminal // of terminal; nil where there is none
	ttySet bool

	opened *client.Profile // nil if none was
}

// globals are the flags of every command.
type globals struct {
	profile         string
	passphraseFile  string
	passphraseStdin bool
	json            bool
	lang            string
	proxy           string
	isolate         bool
}

// run is the whole program; it returns the exit code.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer, getenv func(string) string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends kin at once
	tag, langErr := text.Choose(langOf(args), getenv, systemLanguage())
	a := &app{
		in: bufio.NewReader(stdin), stdin: stdin, out: stdout, err: stderr,
		getenv: getenv, now: time.Now, say: text.New(tag),
	}
	root := a.root()
	root.SetArgs(args)
	err := a.languageError(langErr)
	if err == nil {
		err = root.ExecuteContext(ctx)
	}
	if a.opened != nil {
		a.events(a.opened.Overheard())
	}
	if err != nil {
		a.flags.json = a.flags.json || exitCode(err) == 2 && asksJSON(args) // the flags may not have been read
		a.report(err)
		holdWindow(a)
	}
	return exitCode(err)
}

// t is a sentence of the catalogue. What came from others may stand in args: every
// string and error is made harmless.
func (a *app) t(key string, args ...any) string {
	clean := make([]any, len(args))
	for i, arg := range args {
		switch v := arg.(type) {
		case string:
			clean[i] = safe.Line(v)
		case error:
			clean[i] = safe.Line(v.Error())
		default:
			clean[i] = arg
		}
	}
	return a.say.T(key, clean...)
}

// tell says a sentence to the person, on stderr.
func (a *app) tell(key string, args ...any) { fmt.Fprintln(a.err, a.t(key, args...)) }

// hint says what to do next, on stderr.
func (a *app) hint(key string, args ...any) { a.hintText(a.t(key, args...)) }

func (a *app) hintText(s string) { fmt.Fprintln(a.err, a.t("talk.hint")+" "+s) }

// print writes a line of data. Its parts were made harmless before.
func (a *app) print(line string) error {
	_, err := fmt.Fprintln(a.out, line)
	return err
}

// profile is the folder of the profile: --profile, KIN_PROFILE, or the platform's.
func (a *app) profile() (string, error) {
	dir := a.flags.profile
	if dir == "" && a.given("profile") { // a variable that is not set, in a script
		return "", a.usage("usage.flag-value", "profile")
	}
	if dir == "" {
		dir = a.getenv("KIN_PROFILE")
	}
	if dir == "" {
		base, err := a.dataFolder()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(base, "kin")
	}
	return filepath.Abs(dir)
}

// dataFolder is where a program of this platform keeps its data: on Windows the
// folder that does not roam to a server.
func (a *app) dataFolder() (string, error) {
	home := a.getenv("HOME")
	switch runtime.GOOS {
	case "windows":
		if dir := a.getenv("LOCALAPPDATA"); dir != "" {
			return dir, nil
		}
	case "darwin":
		if home != "" {
			return filepath.Join(home, "Library", "Application Support"), nil
		}
	default:
		if dir := a.getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
			return dir, nil
		}
		if home != "" {
			return filepath.Join(home, ".local", "share"), nil
		}
	}
	return "", a.usage("profile.no-folder")
}

// open opens the profile: with the key of an unlocked session, or a passphrase.
func (a *app) open(ctx context.Context) (*client.Profile, error) {
	dir, err := a.profile()
	if err != nil {
		return nil, err
	}
	if !client.Exists(dir) {
		return nil, a.noProfile(dir)
	}
	if a.flags.passphraseFile == "" && !a.flags.passphraseStdin {
		if key, err := a.sessionKey(dir); err == nil {
			p, err := client.OpenKey(dir, key)
			clear(key)
			if !errors.Is(err, vault.ErrPassphrase) { // that of another profile, which stood here before
				a.opened = p
				return p, err
			}
		}
	}
	p, err := a.openWithPassphrase(ctx, dir)
	a.opened = p
	return p, err
}
