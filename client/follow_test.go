package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"kin/protocol"
	"kin/relay"
)

// following is somebody who follows, on one connection.
type following struct {
	mu    sync.Mutex
	texts []string
	stop  context.CancelFunc
	ended chan error
}

func (w *town) follow(p *Profile) *following {
	f := &following{ended: make(chan error)}
	var ctx context.Context
	ctx, f.stop = context.WithCancel(w.t.Context())
	go func() {
		_, err := p.Receive(ctx, ReceiveOptions{Follow: true}, func(ms []Message) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			for _, m := range ms {
				f.texts = append(f.texts, m.Text+m.Note)
			}
			return nil
		})
		f.ended <- err
	}()
	return f
}

// end stops following and wants to have seen texts.
func (f *following) end(t *testing.T, texts ...string) {
	t.Helper()
	f.stop()
	if err := <-f.ended; err != nil {
		t.Error(err)
	}
	if !slices.Equal(f.texts, texts) {
		t.Errorf("shown: %q; want %q", f.texts, texts)
	}
}

// One who follows sees what comes for an invite that was made meanwhile.
func TestFollowsAnInviteMadeMeanwhile(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		k, g := w.couple()
		f := w.follow(k)
		time.Sleep(time.Minute)
		dials := len(w.dials)
		text, _, err := k.Invite(t.Context(), "H", 0)
		if err != nil {
			t.Fatal(err)
		}
		inv, err := protocol.ParseInvite(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g.Join(t.Context(), inv, "", "again"); err != nil {
			t.Fatal(err)
		}
		if _, err := g.Send(t.Context(), "again", "update", SendOptions{Wait: time.Minute}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		f.end(t, "update")
		if n := len(w.dials) - dials; n > 3 {
			t.Errorf("%d connections; the invite, the join and the text take one each", n)
		}
	})
}

// What is over disappears from the profile of one who follows on a connection that
// does not end.
func TestFollowerAges(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		_, g := w.couple()
		f := w.follow(g)
		time.Sleep(lookPause / 2)
		dials := len(w.dials)
		err := g.update(nil, func(w *work) error {
			contacts, err := w.all()
			if err != nil {
				return err
			}
			old := w.now.Add(-32 * 24 * time.Hour) // two days more than messages are kept
			return w.addRow(contacts[0], &row{ID: uuid.New(), In: true, Shown: true, Text: []byte("old"), Made: old, Received: old})
		})
		if err != nil {
			t.Fatal(err)
		}
		kept := func() (n int) {
			err := g.view(func(w *work) error {
				return eachRecord(w, tableMessage, func([]byte, *row) error { n++; return nil })
			})
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		if n := kept(); n != 1 {
			t.Fatalf("%d messages are kept, want 1", n)
		}
		time.Sleep(lookPause + time.Minute)
		synctest.Wait()
		if n := kept(); n != 0 {
			t.Errorf("%d messages are kept, want none", n)
		}
		if len(w.dials) != dials {
			t.Error("the connection ended")
		}
		f.end(t)
	})
}

// writeCounter counts what is written to a connection.
type writeCounter struct {
	net.Conn
	n *atomic.Int64
}

func (c writeCounter) Write(b []byte) (int, error) {
	c.n.Add(int64(len(b)))
	return c.Conn.Write(b)
}

// A relay that keeps envelopes in memory alone gets them once on each connection.
func TestMemoryIsFilledOnceAConnection(t *testing.T) {
	inTownWith(t, nil, relay.Config{KeysInRAM: true}, func(t *testing.T, w *town) {
		_, g := w.couple()
		sent, err := g.Send(t.Context(), "K", "update", SendOptions{Wait: time.Minute})
		if err != nil || w.state(g, sent) != StateOnRelayMemory {
			t.Fatal(w.state(g, sent), err)
		}
		var up atomic.Int64
		w.tap = func(c net.Conn) net.Conn { return writeCounter{c, &up} }
		f := w.follow(g)
		time.Sleep(30 * time.Second)
		first := up.Load()
		if first < protocol.EnvelopeSize {
			t.Errorf("%d bytes are sent when it connects: the relay may have lost the message", first)
		}
		time.Sleep(10 * time.Minute)
		if n := up.Load() - first; n > protocol.EnvelopeSize {
			t.Errorf("%d bytes are sent in ten minutes", n)
		}
		f.end(t)
	})
}

// What happens again while somebody follows counts up.
func TestReportsCountEvents(t *testing.T) {
	var total Report
	for range 3 {
		total.merge(&Report{Events: []Event{{"K", EventTried, 1}, {"L", EventTried, 2}}})
	}
	if want := []Event{{"K", EventTried, 3}, {"L", EventTried, 6}}; !slices.Equal(total.Events, want) {
		t.Errorf("%v, want %v", total.Events, want)
	}
}

// TestAFollowerIsNotRefusedForGood: it has more to say than the other's queue takes. They
// come, take all, answer, and go on taking: receipts fall due in between. Everything comes
// within minutes.
func TestAFollowerIsNotRefusedForGood(t *testing.T) {
	inTownWith(t, nil, relay.Config{Unread: 48, Urgent: 16}, func(t *testing.T, w *town) {
		k, g := w.couple()
		if _, err := g.SetChecked("K"); err != nil {
			t.Fatal(err)
		}
		const many = 48 - 16 + 30
		for i := range many {
			if _, err := g.Send(t.Context(), "K", fmt.Sprint(i), SendOptions{QueueOnly: true}); err != nil {
				t.Fatal(err)
			}
		}
		f := w.follow(g)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		got := w.take(k)
		for i := range 20 {
			if _, err := k.Send(t.Context(), "G", fmt.Sprint(i), SendOptions{Wait: time.Second}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Second)
		}
		for range 30 {
			if len(got) == many {
				break
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			got = append(got, w.take(k)...)
		}
		f.stop()
		<-f.ended
		for i, text := range got {
			if text != fmt.Sprint(i) {
				t.Fatalf("%q is the %dth", text, i)
			}
		}
		if len(got) != many {
			t.Errorf("%d of %d came", len(got), many)
		}
	})
}

// inTwoTowns runs f with somebody who talks with a caseworker at each of two relays, who
// call them G and other.
func inTwoTowns(t *testing.T, f func(t *testing.T, w *town, g, one, other *Profile)) {
	inTown(t, func(t *testing.T, w *town) {
		w.next = openTown(t, nil, relay.Config{}, "127.0.0.1:2")
		k, g := w.couple()
		k2, _ := w.next.couple()
		w.next.join(k2, g, "other")
		f(t, w, g, k, k2)
	})
}

// What comes from two relays at once is announced in turn (for the race detector).
func TestTwoRelaysAnnounceInTurn(t *testing.T) {
	inTwoTowns(t, func(t *testing.T, w *town, g, one, other *Profile) {
		w.say(one, "G", "from the one")
		w.say(other, "other", "from the other")
		told := 0
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		_, err := g.Receive(ctx, ReceiveOptions{Follow: true, Announce: func(n int, _ bool) { told = n }}, nil)
		if told != 2 || err != nil {
			t.Errorf("%d were announced, %v", told, err)
		}
	})
}

// What comes just after the one before was shown, in a conversation, is announced too: there
// are no more new ones than before, but another.
func TestWhatComesBehindWhatWasShownIsAnnounced(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		k, g := w.couple()
		w.say(k, "G", "one")
		var told []int
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		_, err := g.Receive(ctx, ReceiveOptions{Follow: true, Announce: func(n int, _ bool) {
			if told = append(told, n); len(told) > 1 {
				return
			}
			go func() {
				if _, err := g.ShowNew("K", func([]Message) error { return nil }); err != nil {
					t.Error(err)
				}
				w.say(k, "G", "two")
			}()
		}}, nil)
		if !slices.Equal(told, []int{1, 1}) || err != nil {
			t.Errorf("%v were announced, %v; want 1 and 1", told, err)
		}
	})
}

// A text that waits for an hour, as the relay asked, keeps nobody who follows from
// connecting anew.
func TestAWaitingTextDelaysNoFollower(t *testing.T) {
	inFolk(t, func(s *folk, k, g *wirePerson) {
		s.script(func(_ *liarSession, cmd protocol.Command) protocol.Answer {
			if c, ok := cmd.(*protocol.Put); ok {
				return &protocol.Error{Corr: c.Corr.Number(), Code: protocol.CodeRelayFull, Wait: 3600}
			}
			return nil
		})
		if _, err := g.p.Send(s.t.Context(), "K", "one", SendOptions{QueueOnly: true}); err != nil {
			t.Fatal(err)
		}
		var conns []net.Conn
		g.p.Dial = func(ctx context.Context, network, at string) (net.Conn, error) {
			c, err := s.liar.dial(ctx, network, at)
			conns = append(conns, c)
			return c, err
		}
		ctx, stop := context.WithTimeout(s.t.Context(), 3*time.Minute) // this relay sends no pings: after 150 s it counts as dead
		defer stop()
		time.AfterFunc(time.Minute, func() { conns[0].Close() })
		if _, err := g.p.Receive(ctx, ReceiveOptions{Follow: true}, func([]Message) error { return nil }); err != nil || len(conns) != 2 {
			t.Errorf("%d connections, %v; want one before it is cut, and one after", len(conns), err)
		}
	})
}

// A relay that was lost, or was not there at first, is connected to again while another
// is there all the time.
func TestALostRelayIsConnectedToAgain(t *testing.T) {
	inTwoTowns(t, func(t *testing.T, w *town, g, one, other *Profile) {
		w.next.cut()
		f := w.follow(g)
		time.Sleep(time.Second)
		dials := len(w.dials)
		for _, text := range []string{"at first", "lost"} {
			time.Sleep(5 * time.Minute)
			w.next.mend()
			w.say(other, "other", text)
			time.Sleep(2 * time.Minute)
			w.next.cut()
		}
		if n := len(w.dials) - dials; n > 0 {
			t.Errorf("the other connection was made anew %d times", n)
		}
		w.say(one, "G", "from the one")
		time.Sleep(time.Second)
		synctest.Wait()
		f.end(t, "at first", "lost", "from the one")
	})
}

// A relay that has another key all of a sudden keeps nobody from following another. It is
// told at the end, or at once if there is no other.
func TestAFalseRelayEndsNoOther(t *testing.T) {
	inTwoTowns(t, func(t *testing.T, w *town, g, one, _ *Profile) {
		w.next = openTown(t, nil, relay.Config{}, "127.0.0.1:2")
		f := w.follow(g)
		time.Sleep(time.Minute)
		w.say(one, "G", "update")
		time.Sleep(time.Second)
		synctest.Wait()
		f.stop()
		if err := <-f.ended; !errors.Is(err, protocol.ErrFingerprint) || !slices.Equal(f.texts, []string{"update"}) {
			t.Errorf("%v; shown: %q", err, f.texts)
		}
		g.Dial = w.next.dial
		if err := <-w.follow(g).ended; !errors.Is(err, protocol.ErrFingerprint) {
			t.Errorf("%v; want %v", err, protocol.ErrFingerprint)
		}
	})
}

// One who follows sees what another process on the profile begins at another relay.
func TestFollowsARelayThatIsBegunMeanwhile(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		w.next = openTown(t, nil, relay.Config{}, "127.0.0.1:2")
		_, g := w.couple()
		other, _ := w.next.couple()
		f := w.follow(g)
		time.Sleep(time.Minute)
		w.next.join(other, g, "other")
		w.say(other, "other", "update")
		time.Sleep(lookPause + time.Second)
		synctest.Wait()
		f.end(t, "update")
	})
}

// Who finds four others at a queue is told so, is shown what waits elsewhere, and reads it
// on the same connection once there is room.
func TestAFifthSubscriberIsNotDeaf(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		k, g := w.couple()
		if _, err := g.Join(t.Context(), w.invite(k, "H"), "", "again"); err != nil {
			t.Fatal(err)
		}
		w.take(k)
		var others []*conn
		for range 4 { // at one of the two queues
			c, err := dial(t.Context(), w.dial, w.address, 1)
			if err != nil {
				t.Fatal(err)
			}
			v := newVisit(k, c, w.address, new(Report))
			queues, err := v.readable()
			if err == nil {
				err = v.subscribe(t.Context(), queues[:1])
			}
			if err != nil || len(queues) != 2 {
				t.Fatal(len(queues), err)
			}
			others = append(others, c)
		}
		w.say(g, "K", "update")
		w.say(g, "again", "update")
		refused := func(err error) {
			t.Helper()
			if r := forAWhile(err); r == nil || r.Code != protocol.CodeSubscribers {
				t.Errorf("%v", err)
			}
		}
		shown := 0
		_, err := k.Receive(t.Context(), ReceiveOptions{}, func(ms []Message) error { shown += len(ms); return nil })
		if refused(err); shown != 1 {
			t.Errorf("%d are shown", shown)
		}
		_, err = k.Receive(t.Context(), ReceiveOptions{Wait: time.Minute}, func(ms []Message) error { shown += len(ms); return nil })
		if refused(err); shown != 1 {
			t.Errorf("%d are shown", shown)
		}
		_, err = k.Sync(t.Context(), 0)
		refused(err)
		f := w.follow(k)
		time.Sleep(time.Minute)
		dials := len(w.dials)
		for _, c := range others {
			c.close()
		}
		time.Sleep(subAgain + quietFor)
		synctest.Wait()
		f.end(t, "update")
		if len(w.dials) != dials {
			t.Error("it connected anew")
		}
	})
}

// A queue that the relay can't delete now keeps nobody from receiving, nor from following,
// and is deleted once it can.
func TestADelThatIsRefusedEndsNothing(t *testing.T) {
	inFolk(t, func(s *folk, k, g *wirePerson) {
		dels, begun := 0, time.Now()
		s.script(func(_ *liarSession, cmd protocol.Command) protocol.Answer {
			c, ok := cmd.(*protocol.Del)
			if !ok {
				return nil
			}
			if dels++; time.Since(begun) > 75*time.Second {
				return nil
			}
			return &protocol.Error{Corr: c.Corr.Number(), Code: protocol.CodeInternal, Wait: 30}
		})
		s.send(g, "K", "one")
		if err := k.p.Remove(s.t.Context(), "H"); forAWhile(err) == nil {
			t.Errorf("remove: %v", err)
		}
		dels = 0
		ctx, stop := context.WithTimeout(s.t.Context(), 2*time.Minute)
		defer stop()
		_, err := k.p.Receive(ctx, ReceiveOptions{Follow: true}, func(ms []Message) error { return s.show(k, ms) })
		if err != nil || !k.texts["one"] || dels != 4 {
			t.Errorf("follow: %v; shown: %v; %d times to be deleted", err, k.texts, dels)
		}
	})
}

// Who waits for a message, and never reaches a relay, is told so, and not that nothing is
// new; unless another relay had a message.
func TestWaitingOfflineIsNotNothingNew(t *testing.T) {
	inTwoTowns(t, func(t *testing.T, w *town, g, one, _ *Profile) {
		wait := func(want error, texts ...string) {
			t.Helper()
			var got []string
			_, err := g.Receive(t.Context(), ReceiveOptions{Wait: time.Minute}, func(ms []Message) error {
				for _, m := range ms {
					got = append(got, m.Text)
				}
				return nil
			})
			if !errors.Is(err, want) || !slices.Equal(got, texts) {
				t.Errorf("%v; shown: %q; want %v, %q", err, got, want, texts)
			}
		}
		wait(nil)
		w.next.cut()
		wait(ErrOffline)
		w.say(one, "G", "update")
		wait(nil, "update")
		w.cut()
		wait(ErrOffline)
		w.mend()
		w.next.mend()
		time.AfterFunc(30*time.Second, w.cut) // what was reached once is not offline
		wait(nil)
	})
}
