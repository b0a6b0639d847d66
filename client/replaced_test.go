package client

import (
	"errors"
	"maps"
	"path/filepath"
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
		for range 2 { // of which the first is never gone on with
			if err := s.join(s.t.Context(), k.p, g.p, "G", "K"); err != nil {
				t.Fatal(err)
			}
			s.receive(k)
		}
		if n, err := g.p.Accept("K"); err != nil || n != 0 {
			t.Fatal(n, err)
		}
		puts := counts[*protocol.Put](s)
		time.Sleep(time.Hour)
		if r, err := g.p.Sync(s.t.Context(), 0); err != nil || r.Queued != 0 || *puts != 0 {
			t.Errorf("%d put, %d wait, %v", *puts, r.Queued, err)
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
		if _, err := g.p.Sync(s.t.Context(), 0); err != nil || *puts != 1 {
			t.Errorf("%d put, %v", *puts, err)
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

// A text that its sender's profile has erased, by the days kept, can't be said again: it is put
// in the replaced session until its deadline.
func TestATextThatItsSenderErasedIsStillPut(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		k, _ := w.couple()
		g, err := makeProfile(filepath.Join(w.homes, "h"), []byte("correct horse"), cheap, 24*time.Hour, &self{Name: "H"}, w.dial)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(g.Close)
		w.join(k, g, "H")
		w.say(g, "K", "one")
		time.Sleep(60 * time.Hour)
		if _, err := g.Join(t.Context(), w.invite(k, "H"), "", "K"); err != nil {
			t.Fatal(err)
		}
		w.accept(g, "K", 0)        // the profile has it no more
		time.Sleep(20 * time.Hour) // and now the relay
		w.mustSync(g)
		w.want(w.take(k), "one")
	})
}

// A text that waits for a check can be said again for as long as it is tried for, though the
// relay's copy has run out; and a replaced session in which nothing waits ends when those of
// what was said again have.
func TestWhenAReplacedSessionEnds(t *testing.T) {
	for name, checked := range map[string]bool{"all was said again": false, "one waits for a check": true} {
		t.Run(name, func(t *testing.T) {
			inTown(t, func(t *testing.T, w *town) {
				k, g := w.couple()
				if checked {
					if _, err := g.SetChecked("K"); err != nil {
						t.Fatal(err)
					}
				}
				w.say(g, "K", "one")
				w.anew(k, g)
				again := 1
				if checked {
					again = 0
				}
				w.accept(g, "K", again)
				w.mustSync(g)
				replaced := func() (n int) {
					err := g.view(func(w *work) error {
						c, err := w.find("K")
						if err == nil {
							n = len(c.Old)
						}
						return err
					})
					if err != nil {
						t.Fatal(err)
					}
					return n
				}
				if replaced() != 1 {
					t.Fatal("it has ended while its copy is on the relay")
				}
				time.Sleep(73 * time.Hour)
				w.mustSync(g)
				if got := replaced() == 0; got == checked {
					t.Errorf("ended: %v; want %v", got, !checked)
				}
				if all, _, err := g.Unheard("K"); err != nil || (all == 1) != checked {
					t.Errorf("%d are unheard, %v", all, err)
				}
			})
		})
	}
}

// A relay that does not know a replaced session's queue any more is not asked for it again,
// and nobody is told.
func TestAReplacedQueueThatIsGone(t *testing.T) {
	inFolk(t, func(s *folk, k, g *wirePerson) {
		s.send(g, "K", "one") // so that the session does not end at once
		if err := s.join(s.t.Context(), k.p, g.p, "G", "K"); err != nil {
			t.Fatal(err)
		}
		var old protocol.ID
		left := func() (n int) {
			err := g.p.view(func(w *work) error {
				c, err := w.find("K")
				if err == nil {
					if n = len(c.Old); n > 0 {
						old = c.Old[0].In.Receiver
					}
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		if left() != 1 {
			t.Fatal("no session was replaced")
		}
		if n, err := g.p.SetChecked("K"); err != nil || n != 1 {
			t.Fatal(n, err)
		}
		s.script(func(_ *liarSession, cmd protocol.Command) protocol.Answer {
			if c, ok := cmd.(*protocol.Sub); ok && len(c.Queues) > 1 {
				a := &protocol.Subbed{Corr: c.Corr.Number()}
				for i, q := range c.Queues {
					sub := protocol.Subscription{Handle: uint16(i + 1)}
					if q == old {
						sub.Code = protocol.CodeUnknownQueue
					}
					a.Queues = append(a.Queues, sub)
				}
				return a
			}
			return nil
		})
		r, err := g.p.Sync(s.t.Context(), 0)
		if err != nil || len(r.Events) > 0 || left() != 0 {
			t.Errorf("%v, %+v; %d sessions are left", err, r.Events, left())
		}
		s.script(nil)
		s.receive(k)
	})
}

// What state a text has by the receipts that came, in the session in use and in replaced ones.
func TestStateOfATextSaidAgain(t *testing.T) {
	none, put, got, read := part{}, part{OnRelay: true}, part{OnRelay: true, Delivered: true}, part{OnRelay: true, Delivered: true, Read: true}
	for name, c := range map[string]struct {
		was          State
		sent, before []part
		want         State
	}{
		"heard before":                       {StateQueued, []part{none}, []part{got}, StateQueued},
		"heard before, and put":              {StateQueued, []part{put}, []part{got}, StateOnRelay},
		"heard":                              {StateOnRelay, []part{got}, []part{put}, StateDelivered},
		"taken back, heard before":           {StateCancelled, []part{put}, []part{got, got}, StateDelivered},
		"taken back, a part heard before":    {StateCancelled, []part{put}, []part{got, put}, StateCancelled},
		"taken back, a part of each heard":   {StateCancelled, []part{got, put}, []part{put, got}, StateCancelled},
		"delivered before, and another word": {StateDelivered, []part{put}, []part{got}, StateDelivered},
		"read, and another word":             {StateRead, []part{put}, nil, StateRead},
		"delivered, then read":               {StateDelivered, []part{read}, nil, StateRead},
	} {
		r := &row{State: c.was, Sent: c.sent, Before: []sealing{{Parts: c.before}}}
		if c.before == nil {
			r.Before = nil
		}
		if r.settle(time.Now()); r.State != c.want {
			t.Errorf("%s: %s; want %s", name, r.State, c.want)
		}
	}
}
