package main

import (
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"kin/client"
	"kin/client/vault"
	"kin/internal/text"
	"kin/protocol"
)

// said is an error that is a sentence of the catalogue already; exit code 1.
type said struct {
	text, hint string
	usage      bool // exit code 2
}

func (e *said) Error() string { return e.text }

// fail is an error in words; the key with ".hint" behind it, if there is one,
// says what to do next.
func (a *app) fail(key string, args ...any) error {
	e := &said{text: a.t(key, args...)}
	if hint := key + ".hint"; text.Has(hint) {
		e.hint = a.t(hint)
	}
	return e
}

// usage is a fail for a command that was not written as it must be.
func (a *app) usage(key string, args ...any) error {
	e := a.fail(key, args...).(*said)
	e.usage = true
	return e
}

// errAborted is an answer that the person did not give: Ctrl-C, Ctrl-D.
var errAborted = errors.New("nothing was done")

// errNotOut says that outgoing messages stay queued; the command has told so.
var errNotOut = errors.New("not out yet")

// errNotMade says that there is no profile, because the relay could not be asked.
var errNotMade = errors.New("no profile was made")

// exitCode gives each error its code (interface.md, Exit codes). No other place
// decides one.
func exitCode(err error) int {
	var (
		words   *said
		refusal *protocol.Refusal
	)
	switch {
	case err == nil:
		return 0
	case errors.As(err, &words) && words.usage:
		return 2
	case errors.Is(err, client.ErrOffline) && !errors.Is(err, protocol.ErrFingerprint), errors.Is(err, errNotOut), errors.As(err, &refusal) && refusal.Code.Temporary():
		return 3
	case errors.Is(err, vault.ErrPassphrase):
		return 4
	case errors.Is(err, client.ErrMustAccept):
		return 5
	case errors.Is(err, client.ErrStopped):
		return 6
	case errors.Is(err, client.ErrInviteState), refusal != nil:
		return 7
	default:
		return 1
	}
}

// report tells an error and what to do next; with --json, on stdout too.
func (a *app) report(err error) {
	message, hint := a.explain(err)
	if a.flags.json {
		a.json(errorJSON{1, "error", exitCode(err), message})
	}
	if !errors.Is(err, errNotOut) { // which the command has told in its own way
		fmt.Fprintln(a.err, a.t("talk.error")+" "+message)
	}
	if hint != "" {
		a.hintText(hint)
	}
}

// sentences are the errors of other packages that a person may meet, by key.
var sentences = []struct {
	is  error
	key string
}{
	{client.ErrStopped, "err.stopped"},
	{client.ErrMustAccept, "err.must-accept"},
	{client.ErrNoContact, "err.no-contact"},
	{client.ErrNotJoined, "err.not-joined"},
	{client.ErrLabel, "err.label"},
	{client.ErrLabelTaken, "err.label-taken"},
	{client.ErrUnanswered, "err.unanswered"},
	{client.ErrTooLong, "err.too-long"},
	{client.ErrNotUTF8, "err.not-utf8"},
	{client.ErrNoMessage, "err.no-message"},
	{client.ErrNoGrant, "err.no-grant"},
	{client.ErrUnfinished, "err.unfinished"},
	{vault.ErrPassphrase, "err.passphrase"},
	{vault.ErrNotFound, "err.no-profile"},
	{vault.ErrExists, "err.profile-exists"},
	{vault.ErrForeign, "err.foreign"},
	{vault.ErrNewer, "err.newer"},
	{vault.ErrDamaged, "err.damaged"},
	{vault.ErrWiped, "err.wiped"},
	{protocol.ErrNoInvite, "err.no-invite"},
	{protocol.ErrInviteChecksum, "err.invite-checksum"},
	{protocol.ErrInviteVersion, "err.invite-version"},
	{protocol.ErrPlain, "err.plain"},
	{protocol.ErrAddress, "err.address"},
	{protocol.ErrGrant, "err.grant"},
	{protocol.ErrFingerprint, "err.fingerprint"},
	{protocol.ErrVersion, "err.version"},
	{client.ErrTampered, "err.tampered"},
	{client.ErrOwnInvite, "err.own-invite"},
	{client.ErrName, "err.name"},
	{errNotMade, "err.not-made"},
	{client.ErrOffline, "err.offline"},
	{errAborted, "err.aborted"},
	{errLongLine, "err.long-line"},
	{errNotOut, "err.not-out"},
}

// explain puts an error into words: what happened, and what to do next.
func (a *app) explain(err error) (message, hint string) {
	var (
		words   *said
		cut     protocol.ErrInviteCut
		refused *client.InviteRefusedError
		refusal *protocol.Refusal
	)
	say := func(key string, args ...any) (string, string) {
		e := a.fail(key, args...).(*said)
		return e.text, e.hint
	}
	switch {
	case errors.As(err, &words):
		return words.text, words.hint
	case errors.As(err, &cut):
		return say("err.invite-cut", cut.Have, cut.Want)
	case errors.As(err, &refused):
		if key := "err.invite-" + refused.State; text.Has(key) {
			return say(key)
		}
		return say("err.invite-refused", refused.State)
	case errors.As(err, &refusal) && refusal.Code.Temporary() && !errors.Is(err, client.ErrNotJoined): // that text is not kept
		return say("err.wait", refusal.Code.String(), a.span(refusal.Wait))
	case errors.As(err, &refusal) && !refusal.Code.Temporary():
		return say("err.refused", refusal.Code.String())
	}
	for _, s := range sentences {
		if errors.Is(err, s.is) {
			return say(s.key)
		}
	}
	return say("err.other", err)
}

// noProfile says where there is none.
func (a *app) noProfile(dir string) error { return a.fail("err.no-profile-at", dir) }

// flagError puts an error of the flag parser into words; exit code 2. Behind a command
// that is unknown every option is: the command is what was mistyped.
func (a *app) flagError(c *cobra.Command, err error) error {
	var (
		words    *said
		unknown  *pflag.NotExistError
		noValue  *pflag.ValueRequiredError
		badValue *pflag.InvalidValueError
	)
	switch {
	case errors.As(err, &words):
		return words
	case errors.As(err, &unknown) && c.HasAvailableSubCommands() && c.Flags().NArg() > 0:
		return a.unknownCommand(c, c.Flags().Arg(0))
	case errors.As(err, &unknown):
		return a.usage("usage.unknown-flag", unknown.GetSpecifiedName())
	case errors.As(err, &noValue):
		return a.usage("usage.flag-value", noValue.GetSpecifiedName())
	case errors.As(err, &badValue):
		return a.usage("usage.bad-value", badValue.GetFlag().Name, badValue.GetValue(), badValue.Unwrap())
	}
	return a.usage("usage.other", err)
}

// languageError puts an error of text.Choose into words.
func (a *app) languageError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, text.ErrNotBuilt):
		return a.notBuilt("--lang")
	}
	return a.usage("usage.other", err)
}

// notBuilt answers a flag that comes with a later version; exit code 1.
func (a *app) notBuilt(what string) error { return a.fail("err.not-built", what) }

// parseID reads the id of a message.
func (a *app) parseID(s string) (uuid.UUID, error) {
	id, err := uuid.Parse(s)
	if err != nil {
		return uuid.UUID{}, a.usage("usage.id", s)
	}
	return id, nil
}
