package client

import (
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

func receiptForAnOldCopy(t *testing.T, onItsWay bool) {
	inTown(t, func(t *testing.T, w *town) {
		k, g := w.couple()
		dir, key := filepath.Join(t.TempDir(), "copy"), g.Key()
		if err := os.CopyFS(dir, os.DirFS(filepath.Join(w.homes, "g"))); err != nil {
			t.Fatal(err)
		}
		if _, err := g.Send(t.Context(), "K", "first", SendOptions{Wait: time.Minute}); err != nil {
			t.Fatal(err)
		}
		w.take(k)
		if onItsWay {
			time.Sleep(time.Hour)
			w.take(k)
		}
		g.Close()
		g, err := OpenKey(dir, key)
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		g.Dial = w.dial
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
