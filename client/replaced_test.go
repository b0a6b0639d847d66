package client

import (
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"kin/protocol"
	"kin/relay"
)

// Who goes on writing in a session that was replaced is nobody whose identity is checked,
// whoever the new one is with.
func TestATextOfAReplacedSessionIsNotChecked(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		k, g := w.couple()
		if _, err := k.SetChecked("G"); err != nil {
			t.Fatal(err)
		}
		seized := w.copyOf(g, "g")()
		w.say(k, "G", "so that the old session is still there")
		w.anew(k, g)
		w.take(k)
		if _, err := k.SetChecked("G"); err != nil {
			t.Fatal(err)
		}
		w.say(seized, "K", "come to the bridge")
		var checked []bool
		if _, err := k.Receive(t.Context(), ReceiveOptions{}, func(ms []Message) error {
			for _, m := range ms {
				checked = append(checked, m.IdentityChecked)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(checked, []bool{false}) {
			t.Errorf("shown with the identity checked: %v; want one text, unchecked", checked)
		}
	})
}

// What is missing in a session that was replaced is told with the text behind it, though
// nothing else is to come there.
func TestGapOfAReplacedSessionIsTold(t *testing.T) {
	inFolk(t, func(s *folk, k, g *wirePerson) {
		s.script(func(_ *liarSession, cmd protocol.Command) protocol.Answer {
			if c, ok := cmd.(*protocol.Put); ok {
				return &protocol.OK{Corr: c.Corr.Number()}
			}
			return nil
		})
		s.send(g, "K", "one")
		s.script(nil)
		s.send(g, "K", "two")
		if err := s.join(s.t.Context(), k.p, g.p, "G", "K"); err != nil {
			t.Fatal(err)
		}
		if _, err := k.p.Sync(s.t.Context(), 0); err != nil { // takes all, and shows nothing
			t.Fatal(err)
		}
		gaps := map[string]int{}
		if _, err := k.p.Receive(s.t.Context(), ReceiveOptions{}, func(ms []Message) error {
			for _, m := range ms {
				gaps[m.Text] = m.Gap
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if want := map[string]int{"two": 1}; !maps.Equal(gaps, want) {
			t.Errorf("shown, with the gaps before: %v; want %v", gaps, want)
		}
	})
}

// A text stays where it is on the relay until the relay has it in the new session: one that
// is full, or a line that is cut, loses nothing. Then it is taken back, if the new identity
// is checked; else it stays, for it may be a stranger who was accepted.
func TestATextStaysUntilItIsElsewhere(t *testing.T) {
	for name, c := range map[string]struct {
		goOn func(*Profile, string) (int, error)
		room bool
		want []string // from the replaced session
	}{
		"full, checked":   {(*Profile).SetChecked, false, []string{"one"}},
		"full, accepted":  {(*Profile).Accept, false, []string{"one"}},
		"taken, checked":  {(*Profile).SetChecked, true, nil},
		"taken, accepted": {(*Profile).Accept, true, []string{"one"}},
	} {
		t.Run(name, func(t *testing.T) {
			inFolk(t, func(s *folk, k, g *wirePerson) {
				s.send(g, "K", "one")
				if err := s.join(s.t.Context(), k.p, g.p, "G", "K"); err != nil {
					t.Fatal(err)
				}
				if n, err := c.goOn(g.p, "K"); err != nil || n != 1 {
					t.Fatal(n, err)
				}
				s.script(func(_ *liarSession, cmd protocol.Command) protocol.Answer {
					put, ok := cmd.(*protocol.Put)
					switch {
					case !ok:
						return nil
					case c.room: // and then has lost it
						return &protocol.OK{Corr: put.Corr.Number()}
					}
					return &protocol.Error{Corr: put.Corr.Number(), Code: protocol.CodeRelayFull, Wait: 60}
				})
				if _, err := g.p.Sync(s.t.Context(), 0); err != nil && !s.allowed(err) {
					t.Fatal(err)
				}
				s.script(nil)
				var got []string
				if _, err := k.p.Receive(s.t.Context(), ReceiveOptions{}, func(ms []Message) error {
					for _, m := range ms {
						got = append(got, m.Text+m.Note)
					}
					return s.show(k, ms)
				}); err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(got, c.want) {
					t.Errorf("%q; want %q", got, c.want)
				}
				time.Sleep(73 * time.Hour)
				s.receive(g)
				s.receive(k)
				if !k.texts["one"] {
					t.Error("it did not come")
				}
			})
		})
	}
}

// A text that was said again goes out in the new session alone: who has the phone of the
// replaced one gets nothing more.
func TestNothingMoreIsPutInAReplacedSession(t *testing.T) {
	inFolk(t, func(s *folk, k, g *wirePerson) {
		if _, err := g.p.SetChecked("K"); err != nil {
			t.Fatal(err)
		}
		full := func(_ *liarSession, cmd protocol.Command) protocol.Answer {
			if c, ok := cmd.(*protocol.Put); ok {
				return &protocol.Error{Corr: c.Corr.Number(), Code: protocol.CodeRelayFull, Wait: 60}
			}
			return nil
		}
		s.script(full)
		s.send(g, "K", "for who was checked")
		if err := s.join(s.t.Context(), k.p, g.p, "G", "K"); err != nil {
			t.Fatal(err)
		}
		if n, err := g.p.Accept("K"); err != nil || n != 0 {
			t.Fatal(n, err)
		}
		puts := 0
		s.script(func(_ *liarSession, cmd protocol.Command) protocol.Answer {
			if _, ok := cmd.(*protocol.Put); ok {
				puts++
			}
			return nil
		})
		time.Sleep(time.Hour)
		if r, err := g.p.Sync(s.t.Context(), 0); err != nil || r.Queued != 0 || puts != 0 {
			t.Errorf("%d put, %d wait, %v", puts, r.Queued, err)
		}
		waits := func(want bool) {
			t.Helper()
			if st, err := g.p.statusOf(s.said["for who was checked"].id); err != nil || st.State != StateQueued || st.Waits != want || st.Stopped || (st.Reason != "") != want {
				t.Errorf("%+v, %v", st, err)
			}
		}
		waits(true)
		if n, err := g.p.SetChecked("K"); err != nil || n != 1 {
			t.Fatal(n, err)
		}
		waits(false)
		if _, err := g.p.Sync(s.t.Context(), 0); err != nil || puts != 1 {
			t.Errorf("%d put, %v", puts, err)
		}
		s.receive(k)
		if !k.texts["for who was checked"] {
			t.Error("it did not come")
		}
	})
}

// A receipt of a replaced session does not say that who is in the new one has the text; but
// it says that taking it back was too late.
func TestAReceiptOfAReplacedSession(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		k, g := w.couple()
		one, two := w.say(g, "K", "one"), w.say(g, "K", "two")
		w.want(w.take(k), "one", "two")
		if _, err := k.Send(t.Context(), "G", "with receipts", SendOptions{QueueOnly: true}); err != nil {
			t.Fatal(err)
		}
		w.anew(k, g)
		w.accept(g, "K", 2)
		w.take(k) // what it said before, with the receipts, goes out first
		w.want(w.take(g), "with receipts")
		w.wantState(g, StateOnRelay, one, two)
		if st, err := g.Cancel(t.Context(), one.ID); err != nil || st.State != StateDelivered {
			t.Errorf("%s, %v", st.State, err)
		}
		w.accept(k, "G", 1)
		w.settle(k, g)
		w.wantState(g, StateDelivered, one, two)
	})
}

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

// Before a text that stays in a replaced session nothing is missing there that was said
// again in the new one.
func TestNoGapForWhatIsSaidAgain(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		k, g := w.couple()
		w.say(g, "K", "one")
		if _, err := g.Send(t.Context(), "K", "two, short-lived", SendOptions{Until: 2 * time.Hour}); err != nil {
			t.Fatal(err)
		}
		w.say(g, "K", "three")
		time.Sleep(61 * time.Minute)
		w.anew(k, g)
		if n, err := g.SetChecked("K"); err != nil || n != 2 {
			t.Fatal(n, err)
		}
		w.mustSync(g)
		gaps := map[string]int{}
		for range 2 {
			if _, err := k.Receive(t.Context(), ReceiveOptions{}, func(ms []Message) error {
				for _, m := range ms {
					gaps[m.Text] = m.Gap
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		}
		if want := map[string]int{"one": 0, "two, short-lived": 0, "three": 0}; !maps.Equal(gaps, want) {
			t.Errorf("shown, with the gaps before: %v; want %v", gaps, want)
		}
	})
}

// A relay that is gone for good is visited no more once nothing can be left there of a
// session that was replaced, and nobody hears of it any longer.
func TestARelayThatIsGoneIsGivenUp(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		k, g := w.couple()
		w.anew(k, g)
		w.take(k)
		w.accept(g, "K", 0)
		w.accept(k, "G", 0)
		gone := openTown(t, nil, relay.Config{}, "127.0.0.1:2")
		gone.cut()
		w.next = gone
		err := g.change("K", func(w *work, c *contact) error {
			r, err := w.ratchet(c.Session)
			s := &session{ID: newID(), In: inQueue{Relay: gone.address, Receiver: protocol.ID{8}}, Out: outQueue{Relay: gone.address}, Replaced: w.now}
			c.Old = append(c.Old, s)
			w.step(s, r)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		w.say(g, "K", "one") // which a relay that can't be reached does not hold up
		w.want(w.take(k), "one")
		for range 2 { // of the session, and of its queue, which is to be deleted
			time.Sleep(15*24*time.Hour - time.Minute)
			if _, err := g.Sync(t.Context(), 0); !errors.Is(err, ErrOffline) {
				t.Errorf("%v; want %v", err, ErrOffline)
			}
			time.Sleep(time.Minute)
			g.Sync(t.Context(), 0)
		}
		if _, err := g.Sync(t.Context(), 0); err != nil {
			t.Errorf("after thirty days: %v", err)
		}
	})
}
