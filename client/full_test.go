package client

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"kin/client/vault"
)

// A profile that is full takes what waits, gives receipts and lets keys die, however many
// contacts are concerned at once.
func TestAFullProfileReceives(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		k, g := w.couple()
		guests := []*Profile{g}
		for i := range vault.Steps + 3 {
			h, err := makeProfile(filepath.Join(t.TempDir(), "h"), []byte("correct horse"), cheap, 30*24*time.Hour, &self{Name: fmt.Sprint("H", i)}, w.dial)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(h.Close)
			w.join(k, h, fmt.Sprint("H", i))
			guests = append(guests, h)
		}
		fill(t, k)
		var sent []Sent
		for _, h := range guests { // the first of two texts never comes
			if _, err := h.Send(t.Context(), "K", "lost", SendOptions{QueueOnly: true}); err != nil {
				t.Fatal(err)
			}
			changeTexts(t, h, func(o *op) { o.Retry = time.Now().Add(time.Hour) })
			sent = append(sent, w.say(h, "K", "update"))
		}
		w.want(w.take(k), slices.Repeat([]string{"update"}, len(guests))...)
		time.Sleep(time.Hour)
		w.want(w.take(k))
		for i, h := range guests {
			w.take(h)
			w.wantState(h, StateDelivered, sent[i])
		}
		time.Sleep(15 * 24 * time.Hour)
		w.want(w.take(k), slices.Repeat([]string{NoteLost}, len(guests))...)
	})
}

// fill takes all the slots of a profile that it gives, for days to come.
func fill(t *testing.T, p *Profile) {
	t.Helper()
	day := vault.Day(time.Now())
	for many := uint32(1000); many > 0; many /= 10 {
		var err error
		for err == nil {
			err = p.v.Update(time.Now(), func(tx *vault.Tx) error {
				for i := range many {
					if err := tx.PutUntil("filler", fmt.Append(nil, day+i), nil, day+i); err != nil {
						return err
					}
				}
				return nil
			})
			if err == nil {
				day += many
			}
		}
		if !errors.Is(err, vault.ErrFull) {
			t.Fatal(err)
		}
	}
}
