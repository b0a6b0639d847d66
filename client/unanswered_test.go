package client

import (
	"encoding/binary"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"kin/client/ratchet"
)

// fillChain has a contact have answered none of 60,000 envelopes.
func fillChain(t *testing.T, p *Profile, label string) {
	t.Helper()
	err := p.change(label, func(w *work, c *contact) error {
		r, err := w.ratchet(c.Session)
		if err != nil {
			return err
		}
		const at = 1 + 5*32 + 64 + 1088 + 3*32 // of how many this chain has (docs/protocol.md, Ratchet)
		b := r.Marshal()
		binary.BigEndian.PutUint32(b[at:], 60_000)
		binary.BigEndian.PutUint64(b[at+8:], 70_000) // in all
		if r, err = ratchet.ParseSession(b); err != nil {
			return err
		}
		w.step(c.Session, r)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A contact who answers nothing for so long that nothing more can be sealed for them
// keeps nobody else's receipts in, and ends no follower; a text for them says why.
func TestWhoNeverAnswersHoldsUpNobody(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		k, g := w.couple()
		h, err := makeProfile(filepath.Join(w.homes, "h"), []byte("correct horse"), cheap, 30*24*time.Hour, &self{Name: "H"}, w.dial)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(h.Close)
		w.join(k, h, "H")
		w.say(g, "K", "one")
		w.take(k)
		sent := w.say(h, "K", "help")
		fillChain(t, k, "G")
		w.take(k)
		time.Sleep(time.Hour) // its receipt is due
		w.take(k)
		w.take(h)
		w.wantState(h, StateDelivered, sent)
		if _, err := k.Send(t.Context(), "G", "are you there?", SendOptions{}); !errors.Is(err, ErrUnanswered) {
			t.Errorf("send: %v", err)
		}
	})
}
