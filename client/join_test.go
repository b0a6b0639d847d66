package client

import (
	"slices"
	"testing"
)

// A join that the relay refuses says nothing of another, on whose way that is met: the
// one is told, the other is done.
func TestAJoinMeetsAnotherThatIsRefused(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		k, g := w.couple()
		first, second := w.invite(k, "first"), w.invite(k, "second")
		c, err := dial(t.Context(), w.dial, w.address, 0)
		if err != nil {
			t.Fatal(err)
		}
		who, err := g.fetchInvite(t.Context(), c, first, "", "one")
		if err == nil {
			err = g.makeFlight(t.Context(), c, *who) // and there the network goes
		}
		c.close()
		if err != nil {
			t.Fatal(err)
		}
		if err := k.RevokeInvite(t.Context(), "first"); err != nil {
			t.Fatal(err)
		}
		if joined, err := g.Join(t.Context(), second, "", "two"); err != nil || joined.Label != "two" {
			t.Fatalf("%q, %v", joined.Label, err)
		}
		if got, want := g.Overheard(), []Event{{"one", EventRefused, 1}}; !slices.Equal(got, want) {
			t.Errorf("%v; want %v", got, want)
		}
	})
}
