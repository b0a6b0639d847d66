package client

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"kin/client/vault"
)

// A profile whose making an earlier release did not come to the end of says so, whatever is
// asked of it.
func TestAnUnfinishedProfileIsSaid(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		k, _ := w.couple()
		inv := w.invite(k, "H")
		dir := filepath.Join(t.TempDir(), "h")
		v, err := vault.Create(dir, []byte("correct horse"), cheap, 30*24*time.Hour, nil)
		if err != nil {
			t.Fatal(err)
		}
		v.Close()
		p, err := Open(dir, []byte("correct horse"))
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		p.Dial = w.dial
		for name, f := range map[string]func() error{
			"invite": func() error { _, _, err := p.Invite(t.Context(), "", 0); return err },
			"join":   func() error { _, err := p.Join(t.Context(), inv, "", ""); return err },
		} {
			if err := f(); !errors.Is(err, ErrUnfinished) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if name := p.Name(); name != "" {
			t.Errorf("name %q", name)
		}
	})
}
