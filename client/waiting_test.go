package client

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"kin/protocol"
	"kin/relay"
)

// slowest, in bits a second with round trips of a second, is what the targets are for.
const slowest = 32000

// What people wait for, on lines of several speeds, with TLS 1.3 and a certificate
// chain of 4,000 bytes: from cold, and so each on a connection of its own. The time is
// the bubble's: what the line takes, and nothing for computing. -v prints the table.
func TestWhatPeopleWaitFor(t *testing.T) {
	c, root := certificates(t, townHost)
	t.Setenv("SSL_CERT_FILE", root)
	t.Log("line | what | bytes up | bytes down | round trips | seconds")
	for _, l := range []*slowLine{{bits: 9600, round: 2 * time.Second}, {bits: slowest, round: time.Second},
		{bits: 256000, round: 300 * time.Millisecond}, {bits: 10000000, round: 40 * time.Millisecond}} {
		inTownWith(t, c, relay.Config{}, func(t *testing.T, w *town) { w.waiting(l) })
	}
}

func (w *town) waiting(l *slowLine) {
	t := w.t
	k, g := w.couple()
	slow := func(p *Profile) { p.Dial = l.dialer(w.dial) }
	name := fmt.Sprintf("%g kbit/s, %v", float64(l.bits)/1000, l.round)
	row := func(what string, took time.Duration) {
		time.Sleep(time.Minute) // what is still on the line arrives
		up, down, turns := l.usage()
		trips := fmt.Sprint(turns)
		if turns > 10 {
			trips = "many"
		}
		t.Logf("%s | %s | %d | %d | %s | %.1f", name, what, up, down, trips, took.Seconds())
	}

	token, _, err := k.Invite(t.Context(), "H", 0)
	if err != nil {
		t.Fatal(err)
	}
	inv, err := protocol.ParseInvite(token)
	if err != nil {
		t.Fatal(err)
	}
	h, err := makeProfile(filepath.Join(t.TempDir(), "h"), []byte("correct horse"), cheap, 30*24*time.Hour, &self{Name: "H"}, w.dial)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	slow(h)
	begun := time.Now()
	if _, err := h.Join(t.Context(), inv, "", ""); err != nil {
		t.Fatal(err)
	}
	row("join", time.Since(begun))
	w.take(k)
	time.Sleep(time.Minute)

	slow(g)
	begun = time.Now()
	var onRelay time.Duration
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		for w.relay.Status().Envelopes == 0 {
			time.Sleep(50 * time.Millisecond)
		}
		onRelay = time.Since(begun)
	}()
	if _, err := g.Send(t.Context(), "K", "They are at the garrison. Nine people.", SendOptions{Wait: 10 * time.Second}); err != nil {
		t.Fatal(err)
	}
	<-watched
	row("send", time.Since(begun))
	t.Logf("%s | the update is on the relay | | | | %.1f", name, onRelay.Seconds())
	if l.bits == slowest && onRelay > 10*time.Second {
		t.Errorf("an update is on the relay after %v; want 10 s", onRelay)
	}

	slow(k)
	begun = time.Now()
	if got := w.take(k); len(got) != 1 {
		t.Fatalf("%q", got)
	}
	row("receive one", time.Since(begun))

	begun = time.Now()
	w.take(k)
	row("receive none", time.Since(begun))
	if testing.Short() { // as under the race detector
		return
	}
	if l.bits < slowest {
		w.waitingForMany(l, k, g, 3*protocol.Window, row)
	} else if l.bits == slowest {
		w.waitingForMany(l, k, g, 128, row)
	}
}

// waitingForMany is a caseworker who comes back, at last to a full queue.
func (w *town) waitingForMany(l *slowLine, k, g *Profile, many int, row func(string, time.Duration)) {
	t := w.t
	g.Dial = w.dial
	for i := range many {
		if _, err := g.Send(t.Context(), "K", fmt.Sprint(i), SendOptions{Urgent: i >= many-16, Wait: time.Hour}); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(time.Minute)
	l.usage()
	begun := time.Now()
	if got := w.take(k); len(got) != many {
		t.Fatalf("%d messages of %d", len(got), many)
	}
	took := time.Since(begun)
	row(fmt.Sprintf("receive %d", many), took)
	bytes := time.Duration(many*protocol.EnvelopeSize*8) * time.Second / time.Duration(l.bits)
	t.Logf("the same, in the time that their bytes alone take: %.2f", took.Seconds()/bytes.Seconds())
	if took > 4*bytes {
		t.Errorf("%d messages took %v; their bytes take %v", many, took, bytes)
	}
}
