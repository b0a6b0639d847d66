package client

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"kin/protocol"
)

// isRefused tells whether an error is that refusal, and no other.
func isRefused(err error, code protocol.Code) bool {
	var refusal *protocol.Refusal
	return errors.As(err, &refusal) && refusal.Code == code && !passes(err)
}

// What a relay refuses for good, once its sender's key was given again, is said to who
// sends, and put by one who follows once an hour: here, the contact has removed them. It
// stays queued, and what is behind it waits too.
func TestWhatIsRefusedForGoodIsPutOnceAnHour(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		k, g := w.couple()
		if err := g.Remove(t.Context(), "K"); err != nil {
			t.Fatal(err)
		}
		for _, wait := range []time.Duration{0, time.Minute} {
			begun := time.Now()
			sent, err := k.Send(t.Context(), "G", "hello", SendOptions{Wait: wait})
			if !isRefused(err, protocol.CodeUnknownQueue) || sent.State != StateQueued {
				t.Errorf("%s: %v", sent.State, err)
			}
			if took := time.Since(begun); took >= time.Minute {
				t.Errorf("it was tried for %v", took)
			}
		}
		var up atomic.Int64
		w.tap = func(c net.Conn) net.Conn { return writeCounter{c, &up} }
		f := w.follow(k)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		f.end(t)
		if n := up.Load(); n > protocol.EnvelopeSize {
			t.Errorf("%d bytes were sent in ten minutes", n)
		}
		time.Sleep(50 * time.Minute)
		for _, puts := range []int64{1, 0} {
			up.Store(0)
			if r, err := k.Sync(t.Context(), 0); err != nil || r.Queued != 2 {
				t.Errorf("%d queued, %v", r.Queued, err)
			}
			if n := up.Load() / protocol.EnvelopeSize; n != puts {
				t.Errorf("%d envelopes were sent; want %d", n, puts)
			}
		}
	})
}

// What was refused for good says nothing of a relay that can't be reached now; and it is
// tried with the first connection.
func TestAnEarlierRefusalIsNoAnswer(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		k, g := w.couple()
		if err := g.Remove(t.Context(), "K"); err != nil {
			t.Fatal(err)
		}
		if _, err := k.Send(t.Context(), "G", "one", SendOptions{}); !isRefused(err, protocol.CodeUnknownQueue) {
			t.Fatal(err)
		}
		w.cut()
		sent, err := k.Send(t.Context(), "G", "two", SendOptions{})
		if !errors.Is(err, ErrOffline) || sent.State != StateQueued {
			t.Errorf("%s: %v", sent.State, err)
		}
		time.AfterFunc(time.Minute, w.mend)
		if _, err := k.Send(t.Context(), "G", "three", SendOptions{Wait: 5 * time.Minute}); !isRefused(err, protocol.CodeUnknownQueue) {
			t.Error(err)
		}
	})
}

// A relay's refusal is said, though another relay can't be reached in the same try.
func TestARefusalIsSaidThoughAnotherRelayIsGone(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		k, g := w.couple()
		if err := g.Remove(t.Context(), "K"); err != nil {
			t.Fatal(err)
		}
		gone := protocol.Address{Hosts: []protocol.Host{{Name: "127.0.0.1:9"}}}
		err := k.update(nil, func(c *work) error { return c.dropQueue(inQueue{Relay: gone, Key: newKey(), Receiver: newTicket()}) })
		if err != nil {
			t.Fatal(err)
		}
		k.Dial = func(ctx context.Context, network, at string) (net.Conn, error) {
			if at == gone.Hosts[0].Name {
				return nil, errors.New("no such host")
			}
			return w.dial(ctx, network, at)
		}
		sent, err := k.Send(t.Context(), "G", "hello", SendOptions{Wait: 10 * time.Second})
		if !isRefused(err, protocol.CodeUnknownQueue) || sent.State != StateQueued {
			t.Errorf("%s: %v", sent.State, err)
		}
	})
}

// A receipt that nobody reads any more is put twice, with the sender's key again, and then
// no more.
func TestAReceiptThatIsRefusedForGoodIsDropped(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		k, g := w.couple()
		w.say(k, "G", "hello") // with the sender's key
		w.say(g, "K", "hello")
		w.take(k)
		if err := g.Remove(t.Context(), "K"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour) // it is due
		var up atomic.Int64
		w.tap = func(c net.Conn) net.Conn { return writeCounter{c, &up} }
		f := w.follow(k)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		f.end(t)
		if n := up.Load() / protocol.EnvelopeSize; n != 2 {
			t.Errorf("%d envelopes were sent", n)
		}
		if r, err := k.Sync(t.Context(), 0); err != nil || r.Queued != 0 {
			t.Errorf("%d queued, %v", r.Queued, err)
		}
	})
}

// What was refused for good is tried by who sends something to that contact, and once it is
// taken all comes in order.
func TestWhatWasRefusedForGoodGoesOutInOrder(t *testing.T) {
	inFolk(t, func(s *folk, k, g *wirePerson) {
		s.script(func(_ *liarSession, cmd protocol.Command) protocol.Answer {
			switch c := cmd.(type) {
			case *protocol.Put:
				return &protocol.Error{Corr: c.Corr.Number(), Code: protocol.CodeUnknownQueue}
			case *protocol.First:
				return &protocol.Error{Corr: c.Corr.Number(), Code: protocol.CodeUnknownQueue}
			}
			return nil
		})
		for _, text := range []string{"one", "two"} {
			if sent, err := g.p.Send(s.t.Context(), "K", text, SendOptions{}); !isRefused(err, protocol.CodeUnknownQueue) {
				t.Fatal(sent.State, err)
			}
		}
		firsts := counts[*protocol.First](s)
		if r, err := g.p.Sync(s.t.Context(), 0); err != nil || r.Queued != 2 || *firsts != 0 {
			t.Errorf("%d queued, %v, after %d tries", r.Queued, err, *firsts)
		}
		if sent, err := g.p.Send(s.t.Context(), "K", "three", SendOptions{}); err != nil {
			t.Fatal(sent.State, err)
		}
		var got []string
		if _, err := k.p.Receive(s.t.Context(), ReceiveOptions{}, func(ms []Message) error {
			for _, m := range ms {
				got = append(got, m.Text)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if len(got) != 3 || got[0] != "one" || got[1] != "two" || got[2] != "three" {
			t.Errorf("%q", got)
		}
	})
}
