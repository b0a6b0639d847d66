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
		for range 2 { // of which the first is never gone on with
			if err := s.join(s.t.Context(), k.p, g.p, "G", "K"); err != nil {
				t.Fatal(err)
			}
			s.receive(k)
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

// What was said again to a stranger who was accepted is not taken back from the contact, once
// they are checked in a third session.
func TestAStrangerKeepsNothingFromTheContact(t *testing.T) {
	for name, o := range map[string]struct {
		until time.Duration
		shown bool
	}{"a receipt comes from the stranger": {0, true}, "no time is left to say it again": {7 * time.Hour, false}} {
		t.Run(name, func(t *testing.T) {
			inTown(t, func(t *testing.T, w *town) {
				k, g := w.couple()
				one, err := k.Send(t.Context(), "G", "one", SendOptions{Until: o.until})
				if err != nil || one.State != StateOnRelay {
					t.Fatal(one.State, err)
				}
				x, err := makeProfile(filepath.Join(w.homes, "x"), []byte("correct horse"), cheap, 30*24*time.Hour, &self{Name: "X"}, w.dial)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(x.Close)
				if _, err := x.Join(t.Context(), w.invite(k, "G"), "", "K"); err != nil { // a stolen invite
					t.Fatal(err)
				}
				w.take(k)
				w.accept(k, "G", 1)
				w.mustSync(k)
				if o.shown {
					w.want(w.take(x), "one")
					time.Sleep(time.Hour)
					w.take(x) // the receipt
					w.take(k)
				} else {
					time.Sleep(6*time.Hour + time.Minute)
				}
				if _, err := g.Join(t.Context(), w.invite(k, "G"), "", ""); err != nil { // under another label, as is the default
					t.Fatal(err)
				}
				w.take(k)
				if _, err := k.SetChecked("G"); err != nil {
					t.Fatal(err)
				}
				w.mustSync(k)
				if got := w.take(g); !slices.Contains(got, "one") {
					t.Errorf("the true contact has %q, sender sees %s", got, w.state(k, one))
				}
			})
		})
	}
}

// What has run out in the new session is not on a relay there, and not taken back elsewhere.
func TestNothingIsTakenBackForACopyThatRanOut(t *testing.T) {
	inFolk(t, func(s *folk, k, g *wirePerson) {
		sent, err := g.p.Send(s.t.Context(), "K", "one", SendOptions{Until: 80 * time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		s.said["one"] = &saying{id: sent.ID, from: g.name, to: g.others["K"], until: time.Now().Add(80 * time.Hour)}
		time.Sleep(30 * time.Hour)
		if err := s.join(s.t.Context(), k.p, g.p, "G", "K"); err != nil {
			t.Fatal(err)
		}
		if n, err := g.p.Accept("K"); err != nil || n != 1 {
			t.Fatal(n, err)
		}
		g.p.Sync(s.t.Context(), 0)
		time.Sleep(30 * time.Hour)
		cancels := 0
		s.script(func(_ *liarSession, cmd protocol.Command) protocol.Answer {
			switch c := cmd.(type) {
			case *protocol.Put:
				return &protocol.Error{Corr: c.Corr.Number(), Code: protocol.CodeRelayFull, Wait: 60}
			case *protocol.Cancel:
				cancels++
			}
			return nil
		})
		if n, err := g.p.SetChecked("K"); err != nil || n != 0 {
			t.Fatal(n, err)
		}
		g.p.Sync(s.t.Context(), 0)
		if cancels != 0 {
			t.Errorf("%d CANCELs, and the relay has nothing of it in the new session", cancels)
		}
		s.receive(k)
		if !k.texts["one"] {
			t.Error("it did not come from the replaced session")
		}
		s.script(nil)
	})
}

// An old copy of a profile, which learns at its first exchange that its new session has gone on
// without it, leaves what is in the replaced one.
func TestAnOldCopyTakesNothingBack(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		k, g := w.couple()
		if _, err := g.SetChecked("K"); err != nil {
			t.Fatal(err)
		}
		w.say(g, "K", "heard")
		w.want(w.take(k), "heard")
		w.anew(k, g)
		restored := w.copyOf(g, "g")
		if n, err := g.Accept("K"); err != nil || n != 0 {
			t.Fatal(n, err)
		}
		w.say(g, "K", "newer")
		w.say(g, "K", "newer still")
		w.take(k)
		if _, err := k.Accept("G"); err != nil {
			t.Fatal(err)
		}
		w.say(k, "G", "answer to the newer")
		old := restored()
		if n, err := old.SetChecked("K"); err != nil || n != 1 {
			t.Fatal(n, err)
		}
		_, err := old.Sync(t.Context(), 0)
		if !errors.Is(err, ErrStopped) {
			t.Fatal(err)
		}
		if err := old.view(func(w *work) error {
			c, err := w.find("K")
			if err != nil {
				return err
			}
			left := 0
			err = eachRecord(w, tableOutbox, func(_ []byte, o *op) error {
				if o.Session != c.Session.ID && o.Message != nil && !o.Cancel {
					left++
				}
				return nil
			})
			if left != 1 {
				t.Errorf("%d of the texts of the replaced session stay; want 1: it is nowhere else", left)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	})
}

// A line that is cut while a replaced session's texts are taken back leaves no gap before those
// that stay.
func TestTakenBackFromTheEnd(t *testing.T) {
	inFolk(t, func(s *folk, k, g *wirePerson) {
		s.send(g, "K", "one")
		s.send(g, "K", "two")
		seqs := map[protocol.MessageID]uint64{}
		if err := g.p.view(func(w *work) error {
			return eachRecord(w, tableOutbox, func(_ []byte, o *op) error {
				seqs[o.ID] = o.Seq
				return nil
			})
		}); err != nil {
			t.Fatal(err)
		}
		if err := s.join(s.t.Context(), k.p, g.p, "G", "K"); err != nil {
			t.Fatal(err)
		}
		if n, err := g.p.SetChecked("K"); err != nil || n != 2 {
			t.Fatal(n, err)
		}
		var order []uint64
		s.script(func(_ *liarSession, cmd protocol.Command) protocol.Answer {
			if c, ok := cmd.(*protocol.Cancel); ok {
				if order = append(order, seqs[c.Message]); len(order) > 1 { // as if the line were cut
					return &protocol.Error{Corr: c.Corr.Number(), Code: protocol.CodeRelayFull, Wait: 60}
				}
			}
			return nil
		})
		g.p.Sync(s.t.Context(), 0)
		s.script(nil)
		if !slices.IsSortedFunc(order, func(a, b uint64) int { return int(b) - int(a) }) || len(order) != 2 {
			t.Errorf("CANCELs for numbers %d; want the last first", order)
		}
		if _, err := k.p.Receive(s.t.Context(), ReceiveOptions{}, func(ms []Message) error {
			for _, m := range ms {
				if m.Gap > 0 {
					t.Errorf("%q with a gap of %d before it", m.Text, m.Gap)
				}
			}
			return s.show(k, ms)
		}); err != nil {
			t.Fatal(err)
		}
	})
}

// A text whose newest session is gone can be taken back where it was said before.
func TestCancelledWhereItStillIs(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		k, g := w.couple()
		one := w.say(g, "K", "one")
		w.anew(k, g)
		w.accept(g, "K", 1)
		w.mustSync(g)
		if err := g.change("K", func(_ *work, c *contact) error {
			c.Session.Stopped = true
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		k.Sync(t.Context(), 0)
		w.anew(k, g)
		if _, err := g.Accept("K"); err != nil {
			t.Fatal(err)
		}
		if st, err := g.Cancel(t.Context(), one.ID); err != nil || st.State != StateCancelled {
			t.Errorf("%s, %v", st.State, err)
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

// A relay that keeps envelopes in memory alone may lose them: the replaced session's stay.
func TestNothingIsTakenBackForACopyInMemory(t *testing.T) {
	for name, c := range map[string]struct {
		inMemory bool
		want     int
	}{"in memory": {true, 0}, "on disk": {false, 1}} {
		t.Run(name, func(t *testing.T) {
			inTownWith(t, nil, relay.Config{KeysInRAM: c.inMemory}, func(t *testing.T, w *town) {
				k, g := w.couple()
				if _, err := g.Send(t.Context(), "K", "one", SendOptions{}); err != nil {
					t.Fatal(err)
				}
				w.anew(k, g)
				if n, err := g.SetChecked("K"); err != nil || n != 1 {
					t.Fatal(n, err)
				}
				w.mustSync(g)
				taken := 0
				err := g.view(func(w *work) error {
					c, err := w.find("K")
					if err != nil {
						return err
					}
					put := 0
					err = eachRecord(w, tableOutbox, func(_ []byte, o *op) error {
						if o.Message != nil && o.Session != c.Session.ID {
							put++
						}
						return nil
					})
					taken = 1 - put
					return err
				})
				if err != nil || taken != c.want {
					t.Errorf("%d taken back, %v; want %d", taken, err, c.want)
				}
			})
		})
	}
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

// What never had an OK may be on the relay all the same: it is taken back as well.
func TestWhatHadNoAnswerIsTakenBack(t *testing.T) {
	inFolk(t, func(s *folk, k, g *wirePerson) {
		s.script(func(l *liarSession, cmd protocol.Command) protocol.Answer {
			if c, ok := cmd.(*protocol.Put); ok { // it takes it, and says that it has no room
				script := l.script
				l.script = nil
				l.carryOut(cmd)
				l.script = script
				return &protocol.Error{Corr: c.Corr.Number(), Code: protocol.CodeRelayFull, Wait: 60}
			}
			return nil
		})
		s.send(g, "K", "one")
		if err := s.join(s.t.Context(), k.p, g.p, "G", "K"); err != nil {
			t.Fatal(err)
		}
		if n, err := g.p.SetChecked("K"); err != nil || n != 1 {
			t.Fatal(n, err)
		}
		cancels := 0
		s.script(func(_ *liarSession, cmd protocol.Command) protocol.Answer {
			if _, ok := cmd.(*protocol.Cancel); ok {
				cancels++
			}
			return nil
		})
		time.Sleep(time.Hour)
		if _, err := g.p.Sync(s.t.Context(), 0); err != nil || cancels != 1 {
			t.Errorf("%d CANCELs, %v", cancels, err)
		}
		s.receive(k)
	})
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
