package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"kin/client"
	"kin/client/vault"
)

const (
	minPassphrase     = 8 // characters, as normalised
	maxPassphraseFile = 64 << 10
	passphraseTries   = 3
)

// normalise gives one form to what the same keys may have typed: NFC; then Hangul
// as the keys of a two-set keyboard, so that a passphrase opens in either input
// mode. Bytes that are not UTF-8 stay.
func normalise(passphrase []byte) []byte {
	var out []byte
	for rest := norm.NFC.Bytes(passphrase); len(rest) > 0; {
		r, n := utf8.DecodeRune(rest)
		if keys, ok := twoSet(r); ok {
			out = append(out, keys...)
		} else {
			out = append(out, rest[:n]...)
		}
		rest = rest[n:]
	}
	return out
}

// openWithPassphrase opens the profile in dir. On a terminal a wrong passphrase
// may be corrected.
func (a *app) openWithPassphrase(ctx context.Context, dir string) (*client.Profile, error) {
	for try := 1; ; try++ {
		passphrase, asked, err := a.passphrase(ctx, a.t("passphrase.ask"))
		if err != nil {
			return nil, err
		}
		p, err := client.Open(dir, passphrase)
		clear(passphrase)
		if !asked || try == passphraseTries || !errors.Is(err, vault.ErrPassphrase) {
			return p, err
		}
		a.tell("passphrase.again")
	}
}

// passphrase comes from the options, or it is asked for.
func (a *app) passphrase(ctx context.Context, prompt string) (passphrase []byte, asked bool, err error) {
	switch t := a.terminal(); {
	case a.flags.passphraseFile != "" && a.flags.passphraseStdin:
		return nil, false, a.usage("passphrase.two")
	case a.flags.passphraseFile != "":
		passphrase, err = a.passphraseFromFile(a.flags.passphraseFile)
	case a.flags.passphraseStdin:
		passphrase, err = a.passphraseLine(ctx)
	case t == nil:
		return nil, false, a.usage("passphrase.needed")
	default:
		asked = true
		passphrase, err = t.secret(ctx, prompt)
	}
	if err != nil {
		return nil, asked, err
	}
	defer clear(passphrase)
	return normalise(passphrase), asked, nil
}

// newPassphrase is the passphrase of a new profile. On a terminal five words are
// offered, and whatever is chosen is typed once more.
func (a *app) newPassphrase(ctx context.Context) ([]byte, error) {
	t := a.terminal()
	if a.flags.passphraseFile != "" || a.flags.passphraseStdin || t == nil {
		passphrase, _, err := a.passphrase(ctx, "")
		if err == nil {
			err = a.longEnough(passphrase)
		}
		return passphrase, err
	}
	return a.choosePassphrase(ctx, t)
}

// choosePassphrase asks on the alternate screen: the words stay in no scrollback.
func (a *app) choosePassphrase(ctx context.Context, t *terminal) ([]byte, error) {
	s := &screen{tty: t, out: t.out}
	a.enter(s)
	defer s.leave()
	offered := fiveWords()
	t.write(a.t("passphrase.offer", offered) + "\n")
	for {
		chosen, err := t.secret(ctx, a.t("passphrase.new"))
		if err != nil {
			return nil, err
		}
		confirm := "passphrase.confirm"
		if len(chosen) == 0 {
			chosen, confirm = []byte(offered), "passphrase.confirm-words"
		}
		passphrase := normalise(chosen)
		clear(chosen)
		if err := a.longEnough(passphrase); err != nil {
			t.write(err.Error() + "\n")
			continue
		}
		again, err := t.secret(ctx, a.t(confirm))
		if err != nil {
			return nil, err
		}
		if bytes.Equal(normalise(again), passphrase) {
			clear(again)
			return passphrase, nil
		}
		t.write(a.t("passphrase.differs") + "\n")
	}
}

func (a *app) longEnough(passphrase []byte) error {
	if utf8.RuneCount(passphrase) < minPassphrase {
		return a.usage("passphrase.short", minPassphrase)
	}
	return nil
}

// passphraseFromFile reads a file; a BOM and one final newline are not part of the
// passphrase. A file that others can read is used, with a warning.
func (a *app) passphraseFromFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, a.usage("passphrase.file", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && othersRead(info) {
		a.hint("passphrase.readable", name)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxPassphraseFile))
	if err != nil {
		return nil, a.usage("passphrase.file", err)
	}
	return dropNewline(decodeText(b)), nil
}

// passphraseLine reads one line of stdin; what follows is left for the command.
func (a *app) passphraseLine(ctx context.Context) ([]byte, error) {
	b, err := fromStdin(ctx, func() ([]byte, error) { return a.in.ReadBytes('\n') })
	if errors.Is(err, errAborted) {
		return nil, err
	}
	if err != nil && len(b) == 0 {
		return nil, a.usage("passphrase.stdin")
	}
	return dropNewline(decodeText(b)), nil
}

// decodeText undoes what Windows programs put around a text: a BOM, and UTF-16
// with one.
func decodeText(b []byte) []byte {
	switch {
	case bytes.HasPrefix(b, []byte("\xef\xbb\xbf")):
		return b[3:]
	case bytes.HasPrefix(b, []byte("\xff\xfe")):
		return fromUTF16(b[2:], 0)
	case bytes.HasPrefix(b, []byte("\xfe\xff")):
		return fromUTF16(b[2:], 1)
	}
	return b
}

// fromUTF16 decodes whole units; low says which byte of a pair is the low one.
func fromUTF16(b []byte, low int) []byte {
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = uint16(b[2*i+low]) | uint16(b[2*i+1-low])<<8
	}
	return []byte(string(utf16.Decode(units)))
}

func dropNewline(b []byte) []byte {
	if rest, ok := bytes.CutSuffix(b, []byte("\r\n")); ok {
		return rest
	}
	return bytes.TrimSuffix(b, []byte("\n"))
}
