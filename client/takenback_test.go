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
		cancels := counts[*protocol.Cancel](s)
		time.Sleep(time.Hour)
		if _, err := g.p.Sync(s.t.Context(), 0); err != nil || *cancels != 1 {
			t.Errorf("%d CANCELs, %v", *cancels, err)
		}
		s.receive(k)
	})
}

// TestACancelDoesNotWaitForItsPut: the text is taken back while the relay asks to wait with it.
// It may have it from before.
func TestACancelDoesNotWaitForItsPut(t *testing.T) {
	inFolk(t, func(s *folk, k, g *wirePerson) {
		sent, err := g.p.Send(s.t.Context(), "K", "one", SendOptions{QueueOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		puts, cancels := 0, 0
		s.script(func(_ *liarSession, cmd protocol.Command) protocol.Answer {
			switch cmd := cmd.(type) {
			case *protocol.Put:
				puts++
				if err := g.p.update(nil, func(w *work) error { return w.cancel(sent.ID) }); err != nil {
					t.Error(err)
				}
				return &protocol.Error{Corr: cmd.Corr.Number(), Code: protocol.CodeRelayFull, Wait: 600}
			case *protocol.Cancel:
				cancels++
			}
			return nil
		})
		for range 2 {
			if _, err := g.p.Sync(s.t.Context(), 0); err != nil && !s.allowed(err) {
				t.Fatal(err)
			}
		}
		if puts != 1 || cancels != 1 {
			t.Errorf("%d PUTs and %d CANCELs; want one of each", puts, cancels)
		}
	})
}
