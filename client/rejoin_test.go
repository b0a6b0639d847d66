package client

import (
	"errors"
	"testing"
	"time"

	"kin/protocol"
)

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
		s.receive(g)
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
		s.script(losesFirst)
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
