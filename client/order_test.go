package client

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"kin/protocol"
	"kin/relay"
)

// tapped is a connection whose next large piece in a direction (only what holds an
// envelope fills a buffer) sets off what a test does there.
type tapped struct {
	net.Conn
	came func()       // a MSG begins to arrive
	went func() error // the answer to a PUT begins to arrive; an error takes its place
	put  bool

	stalls bool // no MSG arrives, and nothing after it
}

const large = 4096 // both sides' buffers; a hello and every other command are smaller

func (c *tapped) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	for c.stalls && n >= large && err == nil {
		n, err = c.Conn.Read(make([]byte, large))
		n = max(n, large)
	}
	if n >= large && c.came != nil {
		c.came()
		c.came = nil
	}
	if n > 0 && c.put && c.went != nil {
		went := c.went
		c.went = nil
		if err := went(); err != nil {
			return 0, err
		}
	}
	return n, err
}

func (c *tapped) Write(b []byte) (int, error) {
	c.put = c.put || len(b) >= large
	return c.Conn.Write(b)
}

// What the profile could not store is not acknowledged: it is still at the relay, and
// comes when the disk works again.
func TestWhatCannotBeStoredIsNotAcknowledged(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		k, g := w.couple()
		records := filepath.Join(w.homes, "k", "records")
		aside := filepath.Join(w.homes, "aside")
		broken := false
		w.tap = func(c net.Conn) net.Conn {
			return &tapped{Conn: c, came: func() {
				broken = true
				if err := os.Rename(records, aside); err != nil {
					t.Error(err)
				}
			}}
		}
		ended := make(chan error)
		go func() {
			_, err := k.Receive(t.Context(), ReceiveOptions{Follow: true}, func([]Message) error { return nil })
			ended <- err
		}()
		synctest.Wait() // it is subscribed, and waits
		w.tap = nil
		if _, err := g.Send(t.Context(), "K", "update", SendOptions{Wait: time.Minute}); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; !broken || err == nil || errors.Is(err, ErrOffline) {
			t.Fatalf("the message came: %v; the error is %v", broken, err)
		}
		time.Sleep(time.Minute) // whatever was on its way has arrived
		if n := w.relay.Status().Envelopes; n != 1 {
			t.Errorf("%d envelopes at the relay; want the one that was not stored", n)
		}
		if err := os.Rename(aside, records); err != nil {
			t.Fatal(err)
		}
		if got := w.take(k); len(got) != 1 || got[0] != "update" {
			t.Errorf("%q", got)
		}
	})
}

// A PUT whose OK was lost is put again with the same message id and the same bytes:
// the relay has one envelope. What is in the outbox is what was sent.
func TestARetryPutsTheSameBytes(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		k, g := w.couple()
		outbox := func() (id protocol.MessageID, envelope []byte) {
			err := g.view(func(work *work) error {
				return eachRecord(work, tableOutbox, func(key []byte, o *op) error {
					if o.Message != nil {
						id, envelope = protocol.MessageID(key), o.Envelope
					}
					return nil
				})
			})
			if err != nil {
				t.Fatal(err)
			}
			return id, envelope
		}
		if _, err := g.Send(t.Context(), "K", "update", SendOptions{QueueOnly: true}); err != nil {
			t.Fatal(err)
		}
		id, envelope := outbox()
		lost := 0
		w.tap = func(c net.Conn) net.Conn {
			return &tapped{Conn: c, went: func() error {
				if lost++; lost > 3 {
					return nil
				}
				c.Close()
				return net.ErrClosed
			}}
		}
		if _, err := g.Sync(t.Context(), time.Hour); err != nil {
			t.Fatal(err)
		}
		if lost < 4 {
			t.Fatalf("%d answers were lost", lost)
		}
		if n := w.relay.Status().Envelopes; n != 1 {
			t.Errorf("%d envelopes at the relay after %d tries; want one", n, lost)
		}
		again, same := outbox()
		if len(envelope) != protocol.EnvelopeSize || again != id || !bytes.Equal(same, envelope) {
			t.Error("the outbox holds another envelope than the one that was sealed")
		}
		if got := w.take(k); len(got) != 1 || got[0] != "update" {
			t.Errorf("%q", got)
		}
	})
}

// A relay that has more, by its own word, and does not send it, is not "nothing new".
func TestAStalledRelayIsNotNothingNew(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		k, g := w.couple()
		if _, err := g.Send(t.Context(), "K", "update", SendOptions{Wait: time.Minute}); err != nil {
			t.Fatal(err)
		}
		w.tap = func(c net.Conn) net.Conn { return &tapped{Conn: c, stalls: true} }
		_, err := k.Receive(t.Context(), ReceiveOptions{}, func(ms []Message) error { t.Error(ms); return nil })
		if !errors.Is(err, ErrOffline) {
			t.Errorf("receive: %v", err)
		}
		w.tap = nil
		if got := w.take(k); len(got) != 1 || got[0] != "update" {
			t.Errorf("%q", got)
		}
	})
}

// What one relay had is shown while another still keeps the exchange from ending.
func TestAStalledRelayHoldsUpNoOther(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		w.next = openTown(t, nil, relay.Config{}, "127.0.0.1:2")
		k, g := w.couple()
		k2, _ := w.next.couple()
		w.next.join(k2, g, "other")
		for label, p := range map[string]*Profile{"G": k, "other": k2} {
			if _, err := p.Send(t.Context(), label, "update", SendOptions{Wait: time.Minute}); err != nil {
				t.Fatal(err)
			}
		}
		begun := time.Now()
		w.next.tap = func(c net.Conn) net.Conn { return &tapped{Conn: c, stalls: true} }
		var shown []time.Duration
		_, err := g.Receive(t.Context(), ReceiveOptions{}, func(ms []Message) error {
			for range ms {
				shown = append(shown, time.Since(begun))
			}
			return nil
		})
		if took := time.Since(begun); !errors.Is(err, ErrOffline) || len(shown) != 1 || shown[0] >= stallFor || took < stallFor {
			t.Errorf("shown after %v; ended after %v: %v", shown, took, err)
		}
		w.next.tap = nil
		if got := w.take(g); len(got) != 1 {
			t.Errorf("%q", got)
		}
	})
}

// A clock that was ahead, and is set right between two texts, turns nothing round.
func TestAClockThatIsSetBackTurnsNothingRound(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		k, g := w.couple()
		for _, text := range []string{"one", "two"} {
			if _, err := g.Send(t.Context(), "K", text, SendOptions{QueueOnly: true}); err != nil {
				t.Fatal(err)
			}
		}
		changeTexts(t, g, func(o *op) { o.Made = o.Made.Add(5 * time.Minute) })
		w.say(g, "K", "three")
		w.want(w.take(k), "one", "two", "three")
	})
}

// Nor does it make a text wait for longer than a relay may ask.
func TestAClockThatIsSetBackDelaysNothing(t *testing.T) {
	inFolk(t, func(s *folk, k, g *wirePerson) {
		s.script(isFull)
		s.send(g, "K", "one")
		changeTexts(t, g.p, func(o *op) { o.Retry = o.Retry.Add(24 * time.Hour) })
		puts := counts[*protocol.Put](s)
		if _, err := g.p.Sync(s.t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		if *puts != 1 {
			t.Errorf("%d puts", *puts)
		}
		s.receive(k)
		if !k.texts["one"] {
			t.Error("it did not come")
		}
	})
}

// changeTexts changes what is to be sent.
func changeTexts(t *testing.T, p *Profile, f func(*op)) {
	t.Helper()
	err := p.update(nil, func(w *work) error {
		var texts []*op
		err := eachRecord(w, tableOutbox, func(_ []byte, o *op) error {
			if o.Message != nil {
				texts = append(texts, o)
			}
			return nil
		})
		for _, o := range texts {
			f(o)
			err = errors.Join(err, w.put(tableOutbox, o.ID[:], o))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A relay that has lost a sender's key refuses a whole window: what follows does not
// bring the key first.
func TestAForgottenKeyTurnsNothingRound(t *testing.T) {
	inFolk(t, func(s *folk, k, g *wirePerson) {
		var puts int
		s.script(func(_ *liarSession, cmd protocol.Command) protocol.Answer {
			c, ok := cmd.(*protocol.Put)
			if ok {
				puts++
			}
			if ok && puts <= putWindow {
				return &protocol.Error{Corr: c.Corr.Number(), Code: protocol.CodeUnknownQueue}
			}
			return nil
		})
		var want, got []string
		for i := range 2 * putWindow {
			text := fmt.Sprint("text ", i)
			sent, err := g.p.Send(s.t.Context(), "K", text, SendOptions{QueueOnly: true})
			if err != nil {
				t.Fatal(err)
			}
			s.said[text] = &saying{id: sent.ID, from: g.name, to: k.name, until: time.Now().Add(DefaultUntil)}
			want = append(want, text)
		}
		for len(got) < len(want) && puts < 4*len(want) {
			if _, err := g.p.Sync(s.t.Context(), 0); err != nil {
				t.Fatal(err)
			}
			if _, err := k.p.Receive(s.t.Context(), ReceiveOptions{}, func(ms []Message) error {
				for _, m := range ms {
					got = append(got, m.Text)
				}
				return s.show(k, ms)
			}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		if !slices.Equal(got, want) {
			t.Errorf("shown: %q", got)
		}
	})
}

// A text that the relay asked to wait with waits for the next flush, if this one takes
// longer than that: what was sealed behind it does not overtake.
func TestALongFlushTurnsNothingRound(t *testing.T) {
	inTownWith(t, nil, relay.Config{Unread: 24, Urgent: 8}, func(t *testing.T, w *town) {
		k, g := w.couple()
		h, err := makeProfile(filepath.Join(w.homes, "h"), []byte("correct horse"), cheap, 30*24*time.Hour, &self{Name: "H"}, w.dial)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(h.Close)
		if _, err := h.Join(t.Context(), w.invite(k, "H"), "", "K"); err != nil {
			t.Fatal(err)
		}
		w.take(k)
		var want, got []string
		say := func(label, text string) {
			t.Helper()
			if _, err := k.Send(t.Context(), label, text, SendOptions{QueueOnly: true}); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 16 + 16 + 8 {
			want = append(want, fmt.Sprint(i))
			say("G", want[i])
		}
		time.Sleep(time.Minute)
		for i := range 32 {
			say("H", fmt.Sprint(i))
		}
		k.Dial = (&slowLine{bits: 9600, round: time.Second}).dialer(w.dial)
		done := make(chan error, 1)
		go func() {
			_, err := k.Sync(t.Context(), 0)
			done <- err
		}()
		for w.relay.Status().Envelopes < 16 {
			time.Sleep(time.Second)
		}
		time.Sleep(61 * time.Second)
		got = w.take(g)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		for range 10 {
			time.Sleep(2 * time.Minute)
			if _, err := k.Sync(t.Context(), 0); err != nil {
				t.Fatal(err)
			}
			got = append(got, w.take(g)...)
		}
		w.want(got, want...)
	})
}

// cutting is a line that ends at its so manieth envelope, when the answers to those before
// have come.
type cutting struct {
	net.Conn
	left int
}

func (c *cutting) Write(b []byte) (int, error) {
	if len(b) < large {
		return c.Conn.Write(b)
	}
	if c.left--; c.left < 0 {
		time.Sleep(10 * time.Second)
		c.Close()
		return 0, net.ErrClosed
	}
	return c.Conn.Write(b)
}

// A line that is cut within each window brings each time what was answered before.
func TestALineThatIsCutWithinEachWindowGetsOn(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		k, g := w.couple()
		var want []string
		for i := range 40 {
			want = append(want, fmt.Sprint(i))
			if _, err := g.Send(t.Context(), "K", want[i], SendOptions{QueueOnly: true}); err != nil {
				t.Fatal(err)
			}
		}
		w.tap = func(c net.Conn) net.Conn { return &cutting{c, 12} }
		if r, err := g.Sync(t.Context(), time.Hour); err != nil || r.Queued > 0 {
			t.Errorf("%d are queued, %v", r.Queued, err)
		}
		w.tap = nil
		w.want(w.take(k), want...)
	})
}

// A full queue refuses what one who follows says; they take it back; the other empties the
// queue: a window of texts comes in order.
func TestAFollowerWhoTookBackSendsInOrder(t *testing.T) {
	inTownWith(t, nil, relay.Config{Unread: 6, Urgent: 1}, func(t *testing.T, w *town) {
		k, g := w.couple()
		f := w.follow(g)
		say := func(text string) Sent {
			t.Helper()
			sent, err := g.Send(t.Context(), "K", text, SendOptions{QueueOnly: true})
			if err != nil {
				t.Fatal(err)
			}
			return sent
		}
		for i := range 5 {
			say(fmt.Sprint(i))
		}
		time.Sleep(10 * time.Second)
		full := say("one too many")
		time.Sleep(10 * time.Second) // they put it, and are refused
		if _, err := g.Cancel(t.Context(), full.ID); err != nil {
			t.Fatal(err)
		}
		w.take(k)
		time.Sleep(2 * time.Minute)
		w.take(k)
		var want, got []string
		for i := range 5 {
			want = append(want, fmt.Sprint("text ", i))
			say(want[i])
		}
		for range 10 {
			time.Sleep(2 * time.Second)
			got = append(got, w.take(k)...)
		}
		if got = slices.DeleteFunc(got, func(text string) bool { return text == string(NoteTakenBack) }); !slices.Equal(got, want) {
			t.Errorf("%q; want %q", got, want)
		}
		f.stop()
		<-f.ended
	})
}
