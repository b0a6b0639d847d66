package client

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A profile that was put back to an older copy seals another text under a number that
// was used. The receipt for that number, whether it is still due or on its way then, is
// for the first of them: the second, which is never shown, is not told to have been
// delivered.
func TestReceiptIsNotForTheTextOfAnOldCopy(t *testing.T) {
	t.Run("due", func(t *testing.T) { receiptForAnOldCopy(t, false) })
	t.Run("on its way", func(t *testing.T) { receiptForAnOldCopy(t, true) })
}

// copyOf copies a profile, whose home is so called, as it is now; old opens the copy.
func (w *town) copyOf(p *Profile, home string) (old func() *Profile) {
	w.t.Helper()
	dir, key := filepath.Join(w.t.TempDir(), "copy"), p.Key()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(w.homes, home))); err != nil {
		w.t.Fatal(err)
	}
	return func() *Profile {
		w.t.Helper()
		p, err := OpenKey(dir, key)
		if err != nil {
			w.t.Fatal(err)
		}
		w.t.Cleanup(p.Close)
		p.Dial = w.dial
		return p
	}
}

func receiptForAnOldCopy(t *testing.T, onItsWay bool) {
	inTown(t, func(t *testing.T, w *town) {
		k, g := w.couple()
		old := w.copyOf(g, "g")
		if _, err := g.Send(t.Context(), "K", "first", SendOptions{Wait: time.Minute}); err != nil {
			t.Fatal(err)
		}
		w.take(k)
		if onItsWay {
			time.Sleep(time.Hour)
			w.take(k)
		}
		g.Close()
		g = old()
		second, err := g.Send(t.Context(), "K", "second", SendOptions{Wait: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			for _, text := range w.take(k) {
				if text != "forked" {
					t.Fatalf("shown: %q, though its number was used", text)
				}
			}
			time.Sleep(time.Hour)
			w.take(g)
		}
		if s := w.state(g, second); s == StateDelivered {
			t.Error("told that what was never shown is delivered")
		}
	})
}

// The receipt that an old copy owes is due when it comes back: what waits for it says
// that it is old, and must be heard before a number is used again.
func TestAnOldCopyCollectsBeforeItsReceipts(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		k, g := w.couple()
		send := func(p *Profile, to, text string) {
			t.Helper()
			if _, err := p.Send(t.Context(), to, text, SendOptions{Wait: time.Minute}); err != nil {
				t.Fatal(err)
			}
		}
		send(g, "K", "first")
		w.take(k) // and owes a receipt at the next full hour
		old := w.copyOf(k, "k")
		send(k, "G", "newer")
		w.take(g)
		send(g, "K", "answer")
		time.Sleep(time.Hour)
		_, err := old().Receive(t.Context(), ReceiveOptions{}, func(ms []Message) error {
			t.Errorf("an old copy shows %q", ms[0].Text)
			return nil
		})
		if !errors.Is(err, ErrStopped) {
			t.Errorf("an old copy receives: %v; want %v", err, ErrStopped)
		}
	})
}
