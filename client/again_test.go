package client

import (
	"errors"
	"fmt"
	"net"
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

// Texts that are said again keep their order, and are the same: when they were sent, until
// when they are tried for, how long a relay keeps them, and that one is urgent.
func TestTextsSaidAgainAreTheSame(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		k, g := w.couple()
		made := time.Now()
		sent, err := g.Send(t.Context(), "K", "one", SendOptions{TTL: 12 * time.Hour, Until: 5 * 24 * time.Hour, Urgent: true})
		if err != nil {
			t.Fatal(err)
		}
		w.say(g, "K", "two")
		w.say(g, "K", "three")
		time.Sleep(2 * time.Hour)
		w.anew(k, g)
		before := time.Now()
		if n, err := g.SetChecked("K"); err != nil || n != 3 { // and what is in the replaced session will be taken back
			t.Fatal(n, err)
		}
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
		if _, err := k.Receive(t.Context(), ReceiveOptions{}, func(ms []Message) error {
			got = append(got, ms...)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		var texts []string
		for _, m := range got {
			texts = append(texts, m.Text)
		}
		w.want(texts, "one", "two", "three")
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
				c.Old[1].Stopped = stopped
				return w.addRow(c, &row{ID: uuid.New(), Made: w.now, Until: w.now.Add(48 * time.Hour), Session: c.Old[1].ID, State: StateOnRelay})
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

// What the relay has is not put again before its time is over, whatever the text's life and
// the relay's epoch.
func TestWhatTheRelayHasIsNotPutAgain(t *testing.T) {
	for _, c := range []struct{ ttl, epoch time.Duration }{
		{13 * 24 * time.Hour, time.Hour}, {time.Hour, 24 * time.Hour}, {7 * 24 * time.Hour, 24 * time.Hour}, {DefaultUntil, time.Minute},
	} {
		t.Run(fmt.Sprint(c.ttl, " of ", c.epoch), func(t *testing.T) {
			inTownWith(t, nil, relay.Config{Epoch: c.epoch}, func(t *testing.T, w *town) {
				_, g := w.couple()
				if _, err := g.Send(t.Context(), "K", "update", SendOptions{TTL: c.ttl, Wait: time.Minute}); err != nil {
					t.Fatal(err)
				}
				until := func() (at time.Time) {
					t.Helper()
					err := g.view(func(w *work) error {
						return eachRecord(w, tableOutbox, func(_ []byte, o *op) error {
							if o.Message != nil {
								at = o.Until
							}
							return nil
						})
					})
					if err != nil {
						t.Fatal(err)
					}
					return at
				}
				was := until()
				w.cut()
				time.Sleep(time.Minute)
				if r, err := g.Sync(t.Context(), 0); !errors.Is(err, ErrOffline) || r.Queued != 0 || !until().Equal(was) {
					t.Errorf("%v; %d are queued; until %v, was %v", err, r.Queued, until(), was)
				}
				w.mend()
			})
		})
	}
}

// What was on a relay, or what a receipt comes for in the same exchange, is not told to have
// never gone out.
func TestUnsentIsToldOfNothingElse(t *testing.T) {
	told := func(t *testing.T, r Report) {
		t.Helper()
		for _, e := range r.Events {
			if e.Kind == EventUnsent {
				t.Errorf("told: %v", e)
			}
		}
	}
	t.Run("ran out", func(t *testing.T) {
		inFolk(t, func(s *folk, k, g *wirePerson) {
			s.send(g, "K", "one")
			time.Sleep(80 * time.Hour)
			s.script(isFull)
			for range 2 {
				r, err := g.p.Sync(s.t.Context(), 0)
				if err != nil {
					t.Fatal(err)
				}
				told(t, r)
				time.Sleep(12 * 24 * time.Hour)
			}
			s.script(nil)
		})
	})
	t.Run("a receipt waits", func(t *testing.T) {
		inTown(t, func(t *testing.T, w *town) {
			k, g := w.couple()
			if _, err := k.SetChecked("G"); err != nil {
				t.Fatal(err)
			}
			w.tap = func(c net.Conn) net.Conn {
				return &tapped{Conn: c, went: func() error {
					w.cut()
					return net.ErrClosed
				}}
			}
			sent, err := g.Send(t.Context(), "K", "come", SendOptions{Until: time.Hour, Wait: 10 * time.Second})
			if !errors.Is(err, ErrOffline) {
				t.Fatal(err)
			}
			w.tap = nil
			w.mend()
			w.want(w.take(k), "come")
			time.Sleep(2 * time.Minute)
			w.take(k)
			time.Sleep(time.Hour)
			r, err := g.Sync(t.Context(), 0)
			if err != nil {
				t.Fatal(err)
			}
			told(t, r)
			w.wantState(g, StateDelivered, sent)
		})
	})
}

// A queue that is refused for a while makes no error of what does not read it; and a first
// text to who has joined meanwhile goes out.
func TestWhatIsPostponedElsewhereIsNoError(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		k, g := w.couple()
		for range 4 {
			c, err := dial(t.Context(), w.dial, w.address, 1)
			if err != nil {
				t.Fatal(err)
			}
			defer c.close()
			v := newVisit(k, c, w.address, new(Report))
			queues, err := v.readable()
			if err == nil {
				err = v.subscribe(t.Context(), queues[:1])
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if st, err := k.Cancel(t.Context(), w.say(k, "G", "x").ID); err != nil || st.State != StateCancelled {
			t.Errorf("cancel: %s, %v", st.State, err)
		}
		if _, err := g.Join(t.Context(), w.invite(k, "H"), "", "again"); err != nil {
			t.Fatal(err)
		}
		if sent, err := k.Send(t.Context(), "H", "the first", SendOptions{Wait: time.Minute}); err != nil || sent.State != StateOnRelay {
			t.Errorf("send: %s, %v", sent.State, err)
		}
		if _, err := k.Sync(t.Context(), 0); forAWhile(err) == nil {
			t.Errorf("sync: %v", err)
		}
	})
}
