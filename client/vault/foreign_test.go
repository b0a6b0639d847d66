package vault

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// Files that somebody else has under the names of a profile's stay as they are.
func TestSomebodysFilesAreLeftAlone(t *testing.T) {
	for _, name := range []string{slotsName, recordsName, newName, lockName} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			theirs := map[string][]byte{name: bytes.Repeat([]byte("ssh-ed25519 AAAA\n"), 999)}
			writeFiles(t, dir, theirs)
			if v, err := Create(dir, passphrase, cheap, keep, nil); !errors.Is(err, ErrForeign) {
				t.Errorf("Create: %v", err)
				v.Close()
			}
			if err := Wipe(dir); !errors.Is(err, ErrForeign) {
				t.Errorf("Wipe: %v", err)
			}
			if got := files(t, dir); len(got) != 1 || !bytes.Equal(got[name], theirs[name]) {
				t.Errorf("%d files are there", len(got))
			}
		})
	}
}

// A profile whose files are damaged is still one, and can be wiped, while one of them shows it.
func TestADamagedProfileIsWiped(t *testing.T) {
	v, dir := newVault(t)
	v.Close()
	whole := files(t, dir)
	for name := range whole {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "profile")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			writeFiles(t, dir, whole)
			writeFiles(t, dir, map[string][]byte{name: bytes.Repeat([]byte{0xff}, len(whole[name])+1)})
			if err := Wipe(dir); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(dir); err == nil {
				t.Error("something is left")
			}
		})
	}
}

// The keys of a profile that somebody made read-only are overwritten before they are
// unlinked.
func TestReadOnlyKeysAreWiped(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("NOT RUN as root, who may write what is read-only")
	}
	v, dir := newVault(t)
	v.Close()
	path := filepath.Join(dir, slotsName)
	kept := filepath.Join(t.TempDir(), "kept") // another name of the same file
	if err := errors.Join(os.Link(path, kept), os.Chmod(path, 0o400)); err != nil {
		t.Fatal(err)
	}
	if err := Wipe(dir); err != nil {
		t.Error(err)
	}
	b, err := os.ReadFile(kept)
	if err != nil {
		t.Fatal(err)
	}
	if !zero(b[pageSize:]) {
		t.Error("a key is still there")
	}
}
