package client

import (
	"errors"
	"testing"
)

// Who compares digits goes on with the session whose digits they were: not with one that
// somebody has begun since.
func TestDigitsAreOfOneSession(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		k, g := w.couple()
		before, _, err := k.Digits("G")
		if err != nil {
			t.Fatal(err)
		}
		w.anew(k, g)
		w.take(k)
		if _, err := k.SetChecked("G"); !errors.Is(err, ErrMustAccept) {
			t.Errorf("%v; want %v", err, ErrMustAccept)
		}
		after, c, err := k.Digits("G")
		if err != nil || after == before || c.IdentityChecked || !c.MustAccept {
			t.Fatalf("%+v, %v; the same digits: %v", c, err, after == before)
		}
		if _, err := k.SetChecked("G"); err != nil {
			t.Fatal(err)
		}
		w.anew(k, g) // and the digits of the last are forgotten
		w.take(k)
		if _, err := k.SetChecked("G"); err != nil {
			t.Fatal(err)
		}
	})
}

// Digits that were shown check no other session, though that was accepted meanwhile.
func TestDigitsOfAnEarlierSessionCheckNothing(t *testing.T) {
	for name, then := range map[string]func(w *town, k, g *Profile) error{
		"shown, begun anew, accepted": func(w *town, k, g *Profile) error {
			_, _, err := k.Digits("G")
			w.anew(k, g)
			w.take(k)
			_, aerr := k.Accept("G")
			return errors.Join(err, aerr)
		},
		"shown, accepted, begun anew": func(w *town, k, g *Profile) error {
			w.anew(k, g)
			w.take(k)
			_, _, err := k.Digits("G")
			_, aerr := k.Accept("G")
			w.anew(k, g)
			w.take(k)
			return errors.Join(err, aerr)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inTown(t, func(t *testing.T, w *town) {
				k, g := w.couple()
				if err := then(w, k, g); err != nil {
					t.Fatal(err)
				}
				if _, err := k.SetChecked("G"); !errors.Is(err, ErrMustAccept) {
					t.Errorf("%v; want %v", err, ErrMustAccept)
				}
			})
		})
	}
}
