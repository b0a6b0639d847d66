package client

import (
	"bytes"
	"errors"
	"net"
	"os"
	"path/filepath"
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
