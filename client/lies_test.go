package client

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"kin/protocol"
)

// inFolk runs f with a caseworker, two guests, and a relay that tells the lies of its
// script alone.
func inFolk(t *testing.T, f func(s *folk, k, g *wirePerson)) {
	made := makeFolk(t, t.TempDir())
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s, err := made.begin(t, dir, 0)
		if err != nil {
			t.Fatal(err)
		}
		f(s, s.people[0], s.people[1])
		if err := s.end(); err != nil {
			t.Error(err)
		}
	})
}

func (s *folk) script(f func(*liarSession, protocol.Command) protocol.Answer) {
	s.liar.mu.Lock()
	defer s.liar.mu.Unlock()
	s.liar.script = f
}

// losesFirst says OK to each FIRST, and keeps nothing of it.
func losesFirst(_ *liarSession, cmd protocol.Command) protocol.Answer {
	if c, ok := cmd.(*protocol.First); ok {
		return &protocol.OK{Corr: c.Corr.Number()}
	}
	return nil
}

// isFull asks each PUT to wait.
func isFull(_ *liarSession, cmd protocol.Command) protocol.Answer {
	if c, ok := cmd.(*protocol.Put); ok {
		return &protocol.Error{Corr: c.Corr.Number(), Code: protocol.CodeQueueFull, Wait: 60}
	}
	return nil
}

// counts has the relay be honest, and counts commands of a type from then on.
func counts[C protocol.Command](s *folk) *int {
	n := new(int)
	s.script(func(_ *liarSession, cmd protocol.Command) protocol.Answer {
		if _, ok := cmd.(C); ok {
			*n++
		}
		return nil
	})
	return n
}

func (s *folk) send(p *wirePerson, label, text string) {
	now := time.Now()
	sent, err := p.p.Send(s.t.Context(), label, text, SendOptions{})
	if err != nil && !s.allowed(err) {
		s.wrong("%s sends: %w", p.name, err)
	}
	s.said[text] = &saying{id: sent.ID, from: p.name, to: p.others[label], until: now.Add(DefaultUntil)}
}

// A relay that said OK to a queue's first envelope, and has forgotten who may write
// there, is told again.
func TestForgottenSenderIsRegisteredAgain(t *testing.T) {
	inFolk(t, func(s *folk, k, g *wirePerson) {
		s.script(losesFirst)
		s.send(k, "G", "one")
		s.script(nil)
		s.send(k, "G", "two")
		time.Sleep(time.Minute)
		s.receive(k)
		s.receive(g)
		if !g.texts["two"] || g.texts["one"] {
			t.Errorf("shown: %v", g.texts)
		}
		time.Sleep(73 * time.Hour) // what was said to be there is put again
		s.receive(k)
		s.receive(g)
		if !g.texts["one"] {
			t.Errorf("shown: %v", g.texts)
		}
	})
}

// A first flight that the relay said it has, and has not, is put again before its class has
// run out: until it comes nothing that the guest says can be opened.
func TestALostFlightIsPutAgain(t *testing.T) {
	inFolk(t, func(s *folk, k, g *wirePerson) {
		s.script(losesFirst)
		s.rejoin()
		s.script(nil)
		s.accept(g)
		s.send(g, "K", "one")
		s.receive(k)
		if k.texts["one"] {
			t.Fatal("it came without the flight")
		}
		time.Sleep(73 * time.Hour)
		s.receive(g)
		s.receive(k)
		if !k.texts["one"] {
			t.Error("the flight was not put again")
		}
	})
}

// A relay that asks for a wait of 136 years is asked again within the hour.
func TestEndlessWaitEnds(t *testing.T) {
	inFolk(t, func(s *folk, k, g *wirePerson) {
		s.script(func(_ *liarSession, cmd protocol.Command) protocol.Answer {
			if c, ok := cmd.(*protocol.First); ok {
				return &protocol.Error{Corr: c.Corr.Number(), Code: protocol.CodeRelayFull, Wait: 1<<32 - 1}
			}
			return nil
		})
		s.send(k, "G", "one")
		s.script(nil)
		time.Sleep(time.Hour)
		s.receive(k)
		s.receive(g)
		if !g.texts["one"] {
			t.Error("it was not put again")
		}
	})
}

// A MSG for a handle that was never given ends the connection, as any other breach
// of the protocol does: who follows connects anew.
func TestMessageForUnknownHandleEndsTheConnection(t *testing.T) {
	inFolk(t, func(s *folk, k, g *wirePerson) {
		s.script(func(l *liarSession, cmd protocol.Command) protocol.Answer {
			if _, ok := cmd.(*protocol.Sub); ok {
				l.write(&protocol.Msg{Handle: 999, Envelope: make([]byte, protocol.EnvelopeSize)})
			}
			return nil
		})
		s.send(k, "G", "one")
		_, err := g.p.Receive(s.t.Context(), ReceiveOptions{}, func(ms []Message) error { return s.show(g, ms) })
		if !errors.Is(err, ErrOffline) {
			t.Errorf("%v, should be %v", err, ErrOffline)
		}
		s.script(nil)
		s.receive(g)
		if !g.texts["one"] {
			t.Error("it did not come on the next connection")
		}
	})
}

// A text whose time on the relay is over, and that is refused when it is put again, is on
// no relay: it is queued, and the device can't be disconnected.
func TestWhatRanOutAndIsRefusedIsQueued(t *testing.T) {
	inFolk(t, func(s *folk, k, g *wirePerson) {
		s.send(g, "K", "one")
		time.Sleep(80 * time.Hour)
		s.script(isFull)
		r, err := g.p.Sync(s.t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		if st, err := g.p.Status(); err != nil || st[0].State != StateQueued || r.Queued == 0 {
			t.Errorf("%s, %v; %d are queued", st[0].State, err, r.Queued)
		}
		s.script(nil)
	})
}
