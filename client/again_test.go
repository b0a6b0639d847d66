package client

import (
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"kin/protocol"
)

// say puts a text on the relay.
func (w *town) say(p *Profile, label, text string) Sent {
	w.t.Helper()
	sent, err := p.Send(w.t.Context(), label, text, SendOptions{})
	if err != nil || sent.State != StateOnRelay {
		w.t.Fatalf("%q: %s, %v", text, sent.State, err)
	}
	return sent
}

// accept goes on with a new session, in which so many texts are said again.
func (w *town) accept(p *Profile, label string, again int) {
	w.t.Helper()
	if unheard, err := p.Unheard(label); err != nil || unheard != again {
		w.t.Errorf("%d are unheard, %v; want %d", unheard, err, again)
	}
	if n, err := p.Accept(label); err != nil || n != again {
		w.t.Fatalf("%d are said again, %v; want %d", n, err, again)
	}
}

// anew has the guest join again; nobody has accepted it.
func (w *town) anew(k, g *Profile) {
	w.t.Helper()
	if _, err := g.Join(w.t.Context(), w.invite(k, "G"), "", "K"); err != nil {
		w.t.Fatal(err)
	}
}

// settle has both exchange until every receipt has come.
func (w *town) settle(k, g *Profile) (ofK, ofG []string) {
	w.t.Helper()
	for range 3 {
		ofK, ofG = append(ofK, w.take(k)...), append(ofG, w.take(g)...)
		time.Sleep(time.Hour)
	}
	return ofK, ofG
}

// want compares texts, and the state that their sender knows.
func (w *town) want(got []string, want ...string) {
	w.t.Helper()
	if !slices.Equal(got, want) {
		w.t.Errorf("%.40q; want %.40q", got, want)
	}
}

func (w *town) wantState(p *Profile, want State, sent ...Sent) {
	w.t.Helper()
	for i, s := range sent {
		if st := w.state(p, s); st != want {
			w.t.Errorf("text %d is %s; want %s", i, st, want)
		}
	}
}

// What two people had said and not heard when they began anew is heard in the new session,
// in its order: what was on the relay, what one of them said who did not know yet that the
// other had begun, and no text whose receipt had come.
func TestUnheardTextsAreSaidAgain(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		k, g := w.couple()
		heard := w.say(g, "K", "heard")
		w.settle(k, g)
		w.wantState(g, StateDelivered, heard)
		one := w.say(g, "K", "one")
		two, err := g.Send(t.Context(), "K", "two", SendOptions{QueueOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		w.anew(k, g)
		w.accept(g, "K", 2)
		w.want(w.take(g))
		late, err := k.Send(t.Context(), "G", "late", SendOptions{QueueOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		ofK := w.take(k)
		w.accept(k, "G", 1)
		more, ofG := w.settle(k, g)
		w.want(append(ofK, more...), "one", "two")
		w.want(ofG, "late")
		w.wantState(g, StateDelivered, one, two)
		w.wantState(k, StateDelivered, late)
	})
}

// A text that was collected before its two people began anew, and whose receipt never
// came, is shown once, and its sender is told.
func TestATextThatWasCollectedIsShownOnce(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		k, g := w.couple()
		long := strings.Repeat("long ", 1000)
		sent := []Sent{w.say(g, "K", "short"), w.say(g, "K", long)}
		w.want(w.take(k), "short", long)
		w.anew(k, g)
		w.accept(g, "K", 2)
		w.take(k)
		w.accept(k, "G", 0)
		ofK, _ := w.settle(k, g)
		w.want(ofK)
		w.wantState(g, StateDelivered, sent...)
	})
}

// A text of which some parts came before its two people began anew is whole with those
// that come in the new session.
func TestATextIsWholeAcrossTwoSessions(t *testing.T) {
	inFolk(t, func(s *folk, k, g *wirePerson) {
		puts := 0
		s.script(func(_ *liarSession, cmd protocol.Command) protocol.Answer { // the third part and all that follow are lost
			if c, ok := cmd.(*protocol.Put); ok {
				if puts++; puts > 2 {
					return &protocol.OK{Corr: c.Corr.Number()}
				}
			}
			return nil
		})
		long := strings.Repeat("long ", 1000)
		s.send(g, "K", long)
		s.script(nil)
		s.receive(k)
		if len(k.texts) > 0 {
			t.Fatal("it is whole already")
		}
		s.rejoin()
		s.accept(g)
		for range 3 {
			s.receive(g)
			s.receive(k)
			time.Sleep(time.Hour)
		}
		if !k.texts[long] {
			t.Error("it did not come")
		}
		st, err := g.p.statusOf(s.said[long].id)
		if err != nil || st.State != StateDelivered {
			t.Errorf("%s, %v", st.State, err)
		}
	})
}

// A text that has no time left to be put anywhere else stays where it is.
func TestAShortLivedTextStaysWhereItIs(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		k, g := w.couple()
		sent, err := g.Send(t.Context(), "K", "short-lived", SendOptions{Until: 2 * time.Hour})
		if err != nil || sent.State != StateOnRelay {
			t.Fatal(sent.State, err)
		}
		time.Sleep(61 * time.Minute)
		w.anew(k, g)
		w.accept(g, "K", 0)
		w.take(g)
		if _, err := g.Send(t.Context(), "K", "long-lived", SendOptions{}); err != nil {
			t.Fatal(err)
		}
		got := w.take(k)
		slices.Sort(got)
		w.want(got, "long-lived", "short-lived")
	})
}

// Who reads one session, and knows what was said in it, keeps nothing from being shown that
// is said in another under the same id; and what is the same is shown once.
func TestOneIDInTwoSessions(t *testing.T) {
	type piece struct {
		session      int // 0: the replaced one
		index, count uint16
		text         string
	}
	for name, c := range map[string]struct {
		came []piece
		want []string
	}{
		"the same":                      {[]piece{{0, 0, 0, "a"}, {1, 0, 0, "a"}}, []string{"a"}},
		"another":                       {[]piece{{0, 0, 0, "x"}, {1, 0, 0, "a"}}, []string{"x", "a"}},
		"another, late":                 {[]piece{{1, 0, 0, "a"}, {0, 0, 0, "x"}}, []string{"a", "x"}},
		"parts, the same":               {[]piece{{0, 0, 2, "a"}, {0, 1, 2, "b"}, {1, 0, 2, "a"}, {1, 1, 2, "b"}}, []string{"ab"}},
		"parts, others":                 {[]piece{{0, 0, 2, "x"}, {0, 1, 2, "b"}, {1, 0, 2, "a"}, {1, 1, 2, "b"}}, []string{"xb", "ab"}},
		"a part that is missing":        {[]piece{{0, 0, 2, "a"}, {1, 0, 2, "a"}, {1, 1, 2, "b"}}, []string{"ab"}},
		"a part that is another":        {[]piece{{0, 0, 2, "x"}, {1, 0, 2, "a"}, {1, 1, 2, "b"}}, []string{"ab"}},
		"a part that is another, late":  {[]piece{{1, 0, 2, "a"}, {0, 0, 2, "x"}, {1, 1, 2, "b"}}, []string{"ab"}},
		"by turns, the same":            {[]piece{{0, 0, 2, "a"}, {1, 0, 2, "a"}, {0, 1, 2, "b"}, {1, 1, 2, "b"}}, []string{"ab"}},
		"by turns, the same, old first": {[]piece{{1, 0, 2, "a"}, {0, 0, 2, "a"}, {0, 1, 2, "b"}, {1, 1, 2, "b"}}, []string{"ab"}},
		"by turns, others":              {[]piece{{1, 0, 2, "a"}, {0, 0, 2, "x"}, {0, 1, 2, "b"}, {1, 1, 2, "b"}}, []string{"xb", "ab"}},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := makeProfile(filepath.Join(t.TempDir(), "p"), []byte("x"), cheap, 30*24*time.Hour, &self{Name: "P"}, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			said := uuid.New()
			var who id
			err = p.update(nil, func(w *work) error {
				c := w.addContact("G")
				who = c.ID
				c.Old, c.Session = []*session{{ID: newID()}}, &session{ID: newID()}
				return nil
			})
			for i, piece := range c.came {
				err = errors.Join(err, p.update(nil, func(w *work) error {
					c, err := w.contact(who)
					if err != nil {
						return err
					}
					b := &body{kind: kindText, id: said, seq: uint64(i + 1), sent: w.now, deadline: w.now.Add(time.Hour)}
					b.items.index, b.items.count, b.items.text = piece.index, piece.count, []byte(piece.text)
					return w.takeText(c, []*session{c.Old[0], c.Session}[piece.session], b)
				}))
			}
			var got []string
			_, serr := p.ShowNew("G", func(ms []Message) error {
				for _, m := range ms {
					got = append(got, m.Text)
				}
				return nil
			})
			if err := errors.Join(err, serr); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%q; want %q", got, c.want)
			}
		})
	}
}

// What was written for somebody whose identity was checked is said again to nobody whose
// identity is not.
func TestATextForACheckedIdentityWaitsForTheNextCheck(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		k, g := w.couple()
		before := w.say(g, "K", "before the check")
		if _, err := g.SetChecked("K"); err != nil {
			t.Fatal(err)
		}
		after := w.say(g, "K", "after the check")
		w.anew(k, g)
		if n, err := g.Accept("K"); err != nil || n != 1 {
			t.Fatalf("%d are said again, %v; want the one that was written unchecked", n, err)
		}
		w.wantState(g, StateQueued, before)
		w.wantState(g, StateOnRelay, after)
		if n, err := g.SetChecked("K"); err != nil || n != 1 {
			t.Fatalf("%d are said again, %v; want the other", n, err)
		}
		ofK := w.take(k)
		w.accept(k, "G", 0)
		more, _ := w.settle(k, g)
		w.want(append(ofK, more...), "before the check", "after the check")
		w.wantState(g, StateDelivered, before, after)
	})
}

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

// Who is given another invite, for the first seemed to be used up, and has joined with both,
// is heard in the later session: the earlier flight, which is taken first, does not end it.
func TestWhoJoinedTwiceIsHeard(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		k, g := w.couple()
		w.anew(k, g)
		err := k.change("G", func(_ *work, c *contact) error {
			c.Invites[0].State = stateUsed // the relay says so, and then the line is cut
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		w.accept(g, "K", 0)
		w.anew(k, g)
		w.accept(g, "K", 0)
		fromG := w.say(g, "K", "here")
		ofK := w.take(k)
		if _, err := k.Accept("G"); err != nil {
			t.Fatal(err)
		}
		fromK := w.say(k, "G", "there")
		more, ofG := w.settle(k, g)
		w.want(append(ofK, more...), "here")
		w.want(ofG, "there")
		w.wantState(g, StateDelivered, fromG)
		w.wantState(k, StateDelivered, fromK)
	})
}

// A guest who was refused, though the host was given the flight, hears the host, and the
// two go on.
func TestARefusedGuestHearsTheHost(t *testing.T) {
	inFolk(t, func(s *folk, k, g *wirePerson) {
		s.script(func(l *liarSession, cmd protocol.Command) protocol.Answer {
			if c, ok := cmd.(*protocol.First); ok {
				script := l.script
				l.script = nil
				l.carryOut(cmd)
				l.script = script
				return &protocol.Error{Corr: c.Corr.Number(), Code: protocol.CodeUsed}
			}
			return nil
		})
		s.rejoin()
		s.script(nil)
		s.send(k, "G", "are you there?")
		s.receive(g)
		s.send(g, "K", "here")
		for range 3 {
			s.receive(k)
			s.receive(g)
			time.Sleep(time.Hour)
		}
		if !g.texts["are you there?"] || !k.texts["here"] {
			t.Errorf("shown: %v, %v", g.texts, k.texts)
		}
		for _, p := range []*wirePerson{k, g} {
			all, err := p.p.Status()
			if err != nil {
				t.Fatal(err)
			}
			for _, st := range all {
				if st.State != StateDelivered {
					t.Errorf("%s's text is %s", p.name, st.State)
				}
			}
		}
	})
}

// A refused join is forgotten when nobody can answer it any more, and its queue deleted.
func TestARefusedJoinIsForgotten(t *testing.T) {
	inFolk(t, func(s *folk, k, g *wirePerson) {
		s.script(func(_ *liarSession, cmd protocol.Command) protocol.Answer {
			if c, ok := cmd.(*protocol.First); ok {
				return &protocol.Error{Corr: c.Corr.Number(), Code: protocol.CodeUsed}
			}
			return nil
		})
		s.rejoin()
		s.script(nil)
		left := func() (joins int) {
			err := g.p.view(func(w *work) error {
				contacts, err := w.all()
				for _, c := range contacts {
					if c.Join != nil {
						joins++
					}
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			return joins
		}
		if left() != 1 {
			t.Fatal("nobody is listened for")
		}
		time.Sleep(15 * 24 * time.Hour)
		deleted := 0
		s.script(func(_ *liarSession, cmd protocol.Command) protocol.Answer {
			if _, ok := cmd.(*protocol.Del); ok {
				deleted++
			}
			return nil
		})
		s.receive(g)
		if left() != 0 || deleted != 1 {
			t.Errorf("%d joins, %d queues deleted", left(), deleted)
		}
	})
}
