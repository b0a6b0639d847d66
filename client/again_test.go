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
	"kin/relay"
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
	if all, checked, err := p.Unheard(label); err != nil || all-checked != again {
		w.t.Errorf("%d are unheard, %d of them for a checked identity, %v; want %d", all, checked, err, again)
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
	const ends = -1 // of the replaced session
	type piece struct {
		session      int // 0: the replaced one
		index, count uint16
		text         string
		kind         byte
	}
	for name, c := range map[string]struct {
		came []piece
		want []string
	}{
		"the same":                      {[]piece{{0, 0, 0, "a", 0}, {1, 0, 0, "a", 0}}, []string{"a"}},
		"another":                       {[]piece{{0, 0, 0, "x", 0}, {1, 0, 0, "a", 0}}, []string{"x", "a"}},
		"another, late":                 {[]piece{{1, 0, 0, "a", 0}, {0, 0, 0, "x", 0}}, []string{"a", "x"}},
		"the same, twice in one":        {[]piece{{1, 0, 0, "a", 0}, {1, 0, 0, "a", 0}}, []string{"a", "a"}},
		"of a kind that is not known":   {[]piece{{0, 0, 0, "", 9}, {1, 0, 0, "", 0}}, []string{"[newer]", ""}},
		"parts, the same":               {[]piece{{0, 0, 2, "a", 0}, {0, 1, 2, "b", 0}, {1, 0, 2, "a", 0}, {1, 1, 2, "b", 0}}, []string{"ab"}},
		"parts, others":                 {[]piece{{0, 0, 2, "x", 0}, {0, 1, 2, "b", 0}, {1, 0, 2, "a", 0}, {1, 1, 2, "b", 0}}, []string{"xb", "ab"}},
		"a part that is missing":        {[]piece{{0, 0, 2, "a", 0}, {1, 0, 2, "a", 0}, {1, 1, 2, "b", 0}}, []string{"ab"}},
		"a part that is another":        {[]piece{{0, 0, 2, "x", 0}, {1, 0, 2, "a", 0}, {1, 1, 2, "b", 0}}, []string{"ab"}},
		"a part that is another, late":  {[]piece{{1, 0, 2, "a", 0}, {0, 0, 2, "x", 0}, {1, 1, 2, "b", 0}}, []string{"ab"}},
		"a part of another in between":  {[]piece{{0, 0, 2, "a", 0}, {1, 0, 2, "x", 0}, {0, 1, 2, "b", 0}}, []string{"ab"}},
		"by turns, the same":            {[]piece{{0, 0, 2, "a", 0}, {1, 0, 2, "a", 0}, {0, 1, 2, "b", 0}, {1, 1, 2, "b", 0}}, []string{"ab"}},
		"by turns, the same, old first": {[]piece{{1, 0, 2, "a", 0}, {0, 0, 2, "a", 0}, {0, 1, 2, "b", 0}, {1, 1, 2, "b", 0}}, []string{"ab"}},
		"by turns, and the old one ends": {[]piece{{1, 0, 2, "a", 0}, {0, 0, 2, "a", 0}, {0, 1, 2, "b", 0}, {ends, 0, 0, "", 0}, {1, 1, 2, "b", 0}},
			[]string{"ab"}},
		"by turns, others": {[]piece{{1, 0, 2, "a", 0}, {0, 0, 2, "x", 0}, {0, 1, 2, "b", 0}, {1, 1, 2, "b", 0}}, []string{"xb", "ab"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := lone(t)
			said := uuid.New()
			var err error
			for i, piece := range c.came {
				err = errors.Join(err, p.update(nil, func(w *work) error {
					c, err := w.find("G")
					switch {
					case err != nil:
						return err
					case piece.session == ends:
						err := w.endSession(c.Old[0])
						c.Old = nil
						return err
					}
					b := &body{kind: kindText + kind(piece.kind), id: said, seq: uint64(i + 1), sent: w.now, deadline: w.now.Add(time.Hour)}
					b.items.index, b.items.count, b.items.text = piece.index, piece.count, []byte(piece.text)
					return w.takeText(c, c.sessions()[len(c.Old)-1+piece.session], b)
				}))
			}
			var got []string
			for _, m := range news(t, p) {
				if m.Note != "" {
					m.Text = "[" + m.Note + "]"
				}
				got = append(got, m.Text)
			}
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%q; want %q", got, c.want)
			}
		})
	}
}

// lone is a profile with a contact G, who has a replaced session and one in use.
func lone(t *testing.T) *Profile {
	t.Helper()
	p, err := makeProfile(filepath.Join(t.TempDir(), "p"), []byte("x"), cheap, 30*24*time.Hour, &self{Name: "P"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	err = p.update(nil, func(w *work) error {
		c := w.addContact("G")
		for i := range 2 {
			s := &session{ID: newID(), In: inQueue{Receiver: protocol.ID{byte(i + 1)}}}
			c.Old, c.Session = append(c.Old, c.Session), s
		}
		c.Old = c.Old[1:]
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// news is what is new.
func news(t *testing.T, p *Profile) (ms []Message) {
	t.Helper()
	_, err := p.ShowNew("G", func(all []Message) error {
		ms = all
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return ms
}

// A text is shown as from somebody whose identity is checked if each part of it is: not if
// the last of them came once its session was replaced.
func TestEachPartOfATextIsChecked(t *testing.T) {
	for name, c := range map[string]struct {
		replaced, want bool
	}{"all": {false, true}, "but for the last": {true, false}} {
		t.Run(name, func(t *testing.T) {
			p := lone(t)
			said := uuid.New()
			for i := range uint16(2) {
				err := p.update(nil, func(w *work) error {
					c1, err := w.find("G")
					if err != nil {
						return err
					}
					s := c1.Session
					if c.replaced && i > 0 {
						s = c1.Old[len(c1.Old)-1]
					}
					c1.Checked = true
					b := &body{kind: kindText, id: said, seq: uint64(i + 1), sent: w.now, deadline: w.now.Add(time.Hour)}
					b.items.index, b.items.count, b.items.text = i, 2, []byte("a")
					if err := w.takeText(c1, s, b); err != nil {
						return err
					}
					if c.replaced && i == 0 {
						if err := c1.adopt(w, &session{ID: newID()}); err != nil {
							return err
						}
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			if ms := news(t, p); len(ms) != 1 || ms[0].IdentityChecked != c.want {
				t.Errorf("%+v; want it checked: %v", ms, c.want)
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
// Until then its flight is put no more; who joins with the same invite asks for it anew.
func TestARefusedJoinIsForgotten(t *testing.T) {
	inFolk(t, func(s *folk, k, g *wirePerson) {
		var refused bool
		var inv protocol.Invite
		deleted, firsts, fetched := 0, 0, 0
		s.script(func(_ *liarSession, cmd protocol.Command) protocol.Answer {
			switch c := cmd.(type) {
			case *protocol.First:
				firsts++
				return &protocol.Error{Corr: c.Corr.Number(), Code: protocol.CodeUsed}
			case *protocol.Fetch:
				if fetched++; refused {
					return &protocol.Error{Corr: c.Corr.Number(), Code: protocol.CodeUsed}
				}
			case *protocol.Del:
				deleted++
			}
			return nil
		})
		left := func() (joins int) {
			err := g.p.view(func(w *work) error {
				contacts, err := w.all()
				for _, c := range contacts {
					if c.Join != nil {
						inv = c.Join.Invite
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
		s.rejoin()
		refused = true
		if left() != 1 || firsts != 1 || fetched != 1 {
			t.Fatalf("listened for: %d; %d flights, %d fetched", left(), firsts, fetched)
		}
		var answer *InviteRefusedError
		if _, err := g.p.Join(s.t.Context(), inv, "", "K"); !errors.As(err, &answer) || answer.State != stateUsed || fetched != 2 {
			t.Errorf("%v, fetched %d times", err, fetched)
		}
		time.Sleep(22*24*time.Hour - time.Minute)
		s.receive(g)
		if left() != 1 || firsts != 1 || deleted != 0 {
			t.Errorf("before its time: %d joins, %d flights, %d queues deleted", left(), firsts, deleted)
		}
		time.Sleep(time.Minute)
		s.receive(g)
		if left() != 0 || firsts != 1 || deleted != 1 {
			t.Errorf("%d joins, %d flights, %d queues deleted", left(), firsts, deleted)
		}
	})
}

// A refused join that is listened for is over when a newer session is there: a late answer
// to it must not take that one's place.
func TestANewerSessionEndsARefusedJoin(t *testing.T) {
	p := lone(t)
	refused, newer := &session{ID: newID(), In: inQueue{Receiver: protocol.ID{8}}}, newID()
	err := p.update(nil, func(w *work) error {
		c, err := w.find("G")
		if err != nil {
			return err
		}
		c.Join = &joining{Session: refused}
		if err := w.refuseJoin(c); err != nil {
			return err
		}
		return c.adopt(w, &session{ID: newer})
	})
	if err != nil {
		t.Fatal(err)
	}
	err = p.view(func(w *work) error {
		c, err := w.find("G")
		if err != nil {
			return err
		}
		d, err := getRecord[del](w, tableDel, refused.In.Receiver[:])
		if c.Join != nil || c.Session.ID != newer || c.findSession(refused.ID) != nil || d == nil {
			t.Errorf("%+v; the queue is to be deleted: %v", c, d != nil)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The queue of a join whose session has stopped is left to the newer profile.
func TestAStoppedJoinLeavesItsQueue(t *testing.T) {
	for _, stopped := range []bool{false, true} {
		p := lone(t)
		receiver := protocol.ID{8}
		err := p.update(nil, func(w *work) error {
			c, err := w.find("G")
			if err != nil {
				return err
			}
			c.Join = &joining{Session: &session{ID: newID(), In: inQueue{Receiver: receiver}, Stopped: stopped}}
			return w.forgetJoin(c)
		})
		if err != nil {
			t.Fatal(err)
		}
		err = p.view(func(w *work) error {
			d, err := getRecord[del](w, tableDel, receiver[:])
			if (d == nil) != stopped {
				t.Errorf("stopped: %v; to be deleted: %v", stopped, d != nil)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// An earlier session's flight, put again, does not finish a join that has just begun.
func TestAnEarlierFlightFinishesNoOtherJoin(t *testing.T) {
	inFolk(t, func(s *folk, k, g *wirePerson) {
		s.script(func(_ *liarSession, cmd protocol.Command) protocol.Answer { // it has nothing of what it says it has
			if c, ok := cmd.(*protocol.First); ok {
				return &protocol.OK{Corr: c.Corr.Number()}
			}
			return nil
		})
		s.rejoin()
		time.Sleep(73 * time.Hour) // the flight is to be put again
		puts := 0
		s.script(func(_ *liarSession, cmd protocol.Command) protocol.Answer {
			switch c := cmd.(type) {
			case *protocol.First:
				return &protocol.Error{Corr: c.Corr.Number(), Code: protocol.CodeRelayFull, Wait: 60}
			case *protocol.Put:
				puts++
				return &protocol.OK{Corr: c.Corr.Number()}
			}
			return nil
		})
		s.rejoin()
		err := g.p.view(func(w *work) error {
			c, err := w.find("K")
			if err == nil && (puts != 1 || c.Join == nil || c.Join.Session == nil) {
				t.Errorf("%d flights were put again; still joining: %v", puts, c.Join != nil)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

// A text that is said again is the same: when it was sent, until when it is tried for, how
// long a relay keeps it, and that it is urgent.
func TestATextSaidAgainIsTheSame(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		k, g := w.couple()
		made := time.Now()
		sent, err := g.Send(t.Context(), "K", "one", SendOptions{TTL: 12 * time.Hour, Until: 5 * 24 * time.Hour, Urgent: true})
		if err != nil {
			t.Fatal(err)
		}
		w.say(g, "K", "two")
		time.Sleep(2 * time.Hour)
		w.anew(k, g)
		before := time.Now()
		w.accept(g, "K", 2)
		err = g.view(func(w *work) error {
			said := 0
			err := eachRecord(w, tableOutbox, func(_ []byte, o *op) error {
				if o.Message == nil || *o.Message != sent.ID || o.Made.Before(before) {
					return nil
				}
				said++
				if o.TTL != 12*time.Hour || !o.Urgent || !o.Deadline.Equal(sent.Until) {
					t.Errorf("a PUT with ttl %v, urgent %v, deadline %v", o.TTL, o.Urgent, o.Deadline)
				}
				return nil
			})
			if said != 1 {
				t.Errorf("%d PUTs", said)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		w.mustSync(g)
		var got []Message
		for range 2 { // the replaced session's first
			if _, err := k.Receive(t.Context(), ReceiveOptions{}, func(ms []Message) error {
				got = append(got, ms...)
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		}
		if len(got) != 2 || got[0].Text != "one" || got[1].Text != "two" {
			t.Fatalf("%+v", got)
		}
		m := got[0]
		if m.ID != sent.ID || !m.Urgent || !m.Until.Equal(sent.Until) || m.Sent.Sub(made).Abs() > time.Minute || m.Gap != 0 {
			t.Errorf("%+v; was sent as %+v at %v", m, sent, made)
		}
	})
}

func (w *town) mustSync(p *Profile) {
	w.t.Helper()
	if r, err := p.Sync(w.t.Context(), 0); err != nil || r.Queued > 0 {
		w.t.Fatalf("%d queued, %v", r.Queued, err)
	}
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
		if n, err := g.p.SetChecked("K"); err != nil || n != 1 {
			t.Fatal(n, err)
		}
		if _, err := g.p.Sync(s.t.Context(), 0); err != nil || puts != 1 {
			t.Errorf("%d put, %v", puts, err)
		}
		s.receive(k)
		if !k.texts["for who was checked"] {
			t.Error("it did not come")
		}
	})
}

// Nothing is said again in a session that has stopped, and nothing of one that has: what was
// said stays where it is.
func TestNothingIsSaidAgainInAStoppedSession(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		k, g := w.couple()
		sent := w.say(g, "K", "before")
		w.anew(k, g)
		restored := w.copyOf(g, "g")
		w.accept(g, "K", 1)
		w.say(g, "K", "newer")
		w.take(k)
		w.accept(k, "G", 0)
		w.say(k, "G", "for the newer profile")
		old := restored()
		if _, err := old.Receive(t.Context(), ReceiveOptions{}, func([]Message) error { return nil }); !errors.Is(err, ErrStopped) {
			t.Fatal(err)
		}
		for _, goOn := range []func(*Profile, string) (int, error){(*Profile).Accept, (*Profile).SetChecked} {
			if _, err := goOn(old, "K"); !errors.Is(err, ErrStopped) {
				t.Errorf("%v; want %v", err, ErrStopped)
			}
		}
		w.wantState(old, StateOnRelay, sent)
	})
	t.Run("nor of one", func(t *testing.T) {
		for _, stopped := range []bool{false, true} {
			p := lone(t)
			err := p.update(nil, func(w *work) error {
				c, err := w.find("G")
				if err != nil {
					return err
				}
				c.Old[0].Stopped = stopped
				return w.addRow(c, &row{ID: uuid.New(), Made: w.now, Until: w.now.Add(48 * time.Hour), Session: c.Old[0].ID, State: StateOnRelay})
			})
			if err != nil {
				t.Fatal(err)
			}
			if n, _, err := p.Unheard("G"); err != nil || (n == 0) != stopped {
				t.Errorf("stopped: %v; %d unheard, %v", stopped, n, err)
			}
		}
	})
}

// Receipts that waited at the relay when a guest began anew are heard before anything is
// said again.
func TestReceiptsThatWaitAreHeardFirst(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		k, g := w.couple()
		sent := w.say(g, "K", "one")
		w.want(w.take(k), "one")
		time.Sleep(time.Hour)
		w.take(k) // the receipt is on the relay
		w.anew(k, g)
		w.accept(g, "K", 0)
		w.wantState(g, StateDelivered, sent)
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
