package client

import (
	"slices"
	"testing"
)

// TestWhoReadsSlowlyHoldsNobodyUp: while a person reads on, other commands do what they are
// for. What was taken back meanwhile is new once more; what came meanwhile is not lost.
func TestWhoReadsSlowlyHoldsNobodyUp(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		k, g := w.couple()
		for _, text := range []string{"one", "two"} {
			w.say(k, "G", text)
		}
		var got []string
		first := true
		receive := func() {
			if _, err := g.Receive(t.Context(), ReceiveOptions{Slowly: true}, func(ms []Message) error {
				for _, m := range ms {
					got = append(got, m.Text+m.Note)
				}
				if !first {
					return nil
				}
				first = false
				if _, err := g.Send(t.Context(), "K", "meanwhile", SendOptions{}); err != nil {
					t.Error(err)
				}
				return g.update(nil, func(w *work) error { // as a CANCEL that came with the reading of another process
					rows, contacts, err := w.rows(id{}, (*row).isNew)
					if err != nil {
						return err
					}
					rows[1].Text, rows[1].Note = nil, NoteTakenBack
					return w.putRow(contacts[1], rows[1])
				})
			}); err != nil {
				t.Error(err)
			}
		}
		receive()
		w.say(k, "G", "three")
		receive()
		receive()
		if want := []string{"one", "two", "taken_back", "three"}; !slices.Equal(got, want) {
			t.Errorf("%q was shown; want %q", got, want)
		}
	})
}
