package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/spf13/cobra"

	"kin/client"
	"kin/internal/span"
)

const (
	defaultUnlock = 15 * time.Minute
	maxUnlock     = day

	holderName  = "hold-session" // the hidden command
	holderReady = "ready"
)

func (a *app) unlockCommand() *cobra.Command {
	life := span.Flag{D: defaultUnlock}
	c := a.command("unlock", "", exactly(0), func(ctx context.Context, _ []string) error {
		if life.D < time.Second || life.D > maxUnlock {
			return a.usage("unlock.range", a.span(maxUnlock))
		}
		dir, err := a.profile()
		if err != nil {
			return err
		}
		p, err := a.open(ctx)
		if err != nil {
			return err
		}
		key := p.Key()
		p.Close()
		defer clear(key)
		a.endSession(dir)
		if err := a.startHolder(ctx, dir, key, life.D); err != nil {
			return a.fail("unlock.failed", err)
		}
		until := a.now().Add(life.D)
		if a.flags.json {
			return a.json(unlockJSON{1, "unlocked", utc(until)})
		}
		a.tell("unlock.done", when(until))
		return nil
	})
	c.Flags().Var(&life, "for", a.t("flag.unlock.for"))
	return c
}

// startHolder starts the process that keeps the key, and returns when it answers.
// The key goes through a pipe.
func (a *app) startHolder(ctx context.Context, dir string, key []byte, life time.Duration) error {
	address, err := sessionAddress(sessionName(dir), a.getenv)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	c := exec.Command(self, holderName, address, span.Format(life))
	c.Stdin = bytes.NewReader(key)
	detach(c)
	out, err := c.StdoutPipe()
	if err != nil {
		return err
	}
	if err := c.Start(); err != nil {
		return err
	}
	answer, err := awaited(ctx, func() ([]byte, error) { return io.ReadAll(io.LimitReader(out, 1024)) })
	if err != nil { // or it may keep the key, though it is said that nobody does
		c.Process.Kill()
		return err
	}
	if string(answer) != holderReady {
		c.Wait()
		return errors.New(string(answer))
	}
	return c.Process.Release()
}

// holderCommand is what the process runs. It says holderReady on stdout and
// closes it, or says what went wrong.
func (a *app) holderCommand() *cobra.Command {
	c := a.command(holderName, "ADDRESS DURATION", exactly(2), func(ctx context.Context, args []string) error {
		life, err := span.Parse(args[1])
		if err != nil {
			return err
		}
		key := make([]byte, sessionKeySize)
		keepInMemory(key)
		if _, err := io.ReadFull(a.stdin, key); err != nil {
			return err
		}
		l, err := listenSession(args[0])
		if err != nil {
			io.WriteString(a.out, err.Error())
			return err
		}
		defer linkSession(args[0], a.getenv)()
		s := newSession(l, func() bool { return sessionPresent(args[0]) }, key, life, momentNow())
		io.WriteString(a.out, holderReady)
		if f, ok := a.out.(io.Closer); ok {
			f.Close()
		}
		s.serve(ctx.Done())
		return nil
	})
	c.Hidden = true
	return c
}

func (a *app) lockCommand() *cobra.Command {
	return a.command("lock", "", exactly(0), func(ctx context.Context, _ []string) error {
		dir, err := a.profile()
		if err != nil {
			return err
		}
		key, kerr := a.sessionKey(dir)
		defer clear(key)
		ended := a.endSession(dir)
		if a.flags.json {
			if err := a.json(lockJSON{1, "locked", ended}); err != nil {
				return err
			}
		} else if ended {
			a.tell("lock.done")
		} else {
			a.tell("lock.nothing")
		}
		if kerr == nil && forgetReplaced(ctx, dir, key) != nil {
			a.hint("lock.not-rotated")
		}
		return nil
	})
}

// rotateWithin is how long lock waits for another command on the profile.
const rotateWithin = 5 * time.Second

// forgetReplaced makes what was replaced or deleted in a profile unreadable, with the
// passphrase too. It is done behind the session's end, which must wait for nothing.
func forgetReplaced(ctx context.Context, dir string, key []byte) error {
	ctx, cancel := context.WithTimeout(ctx, rotateWithin)
	defer cancel()
	own := bytes.Clone(key)
	_, err := awaited(ctx, func() (struct{}, error) {
		defer clear(own)
		p, err := client.OpenKey(dir, own)
		if err != nil {
			return struct{}{}, err
		}
		defer p.Close()
		return struct{}{}, p.Lock()
	})
	return err
}
