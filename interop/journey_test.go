package interop

import (
	"fmt"
	"strings"
	"testing"
)

var kindOf = map[bool]string{false: "Go", true: "JS"}

// TestJourneys takes the real relay, the real kin and the second implementation
// through what people do, with each in each role.
func TestJourneys(t *testing.T) {
	t.Run("journeys", func(t *testing.T) {
		for _, who := range []struct{ host, guest bool }{{true, false}, {false, true}, {true, true}} {
			name := fmt.Sprintf("%s invites, %s joins", kindOf[who.host], kindOf[who.guest])
			t.Run(name, func(t *testing.T) { t.Parallel(); journey(t, who.host, who.guest) })
			if !who.host || !who.guest {
				t.Run(name+", receipts alone", func(t *testing.T) { t.Parallel(); alone(t, who.host, who.guest) })
			}
			t.Run(name+", an old copy", func(t *testing.T) { t.Parallel(); restored(t, who.host, who.guest) })
			if who.guest {
				t.Run(name+", before the flight", func(t *testing.T) { t.Parallel(); backwards(t, who.host) })
				t.Run(name+", a full queue", func(t *testing.T) { t.Parallel(); full(t, who.host) })
			}
		}
	})
	t.Logf("%d commands, %d invites taken; %d texts of %d bytes received in at least %d envelopes; %d shown as delivered after a receipt, %d of them after one that went alone",
		ran.commands.Load(), ran.invites.Load(), ran.texts.Load(), ran.bytes.Load(), ran.parts.Load(), ran.delivered.Load(), ran.alone.Load())
	t.Logf("relay killed %d times; %d answers cut off behind an envelope; %d envelopes put again; %d taken back; %d held before their flight; %d told to wait; %d gaps shown; %d old copies stopped; %d pairs of equal digits",
		ran.kills.Load(), ran.cutOff.Load(), ran.repeated.Load(), ran.takenBack.Load(), ran.held.Load(), ran.waited.Load(), ran.gaps.Load(), ran.stopped.Load(), ran.digits.Load())
}

// joined are a host who has invited and a guest who has joined; the host has not
// looked yet.
func joined(t *testing.T, r *relay, hostJS, guestJS bool) (host, guest *peer) {
	host, guest = newPeer(t, hostJS), newPeer(t, guestJS)
	host.run("init", "--relay", r.address, "--grant", r.grant, "--name", "미나")
	guest.run("join", host.run("invite", "--for", "K7")[0], "--name", "Jun")
	ran.invites.Add(1)
	return host, guest
}

func journey(t *testing.T, hostJS, guestJS bool) {
	r := startRelay(t)
	host, guest := joined(t, r, hostJS, guestJS)

	// Two updates before the host has ever looked; the relay is killed behind its OK.
	first := guest.send("미나", "They are at the garrison.")
	second := guest.send("미나", "오늘 밤에 갑니다. \U0001F56F")
	r.restart()
	host.receive("They are at the garrison.", "오늘 밤에 갑니다. \U0001F56F")
	host.receive()
	guest.state(first, "on_relay")

	// The answer carries the receipts.
	answer := host.send("K7", "알겠습니다.")
	host.state(answer, "on_relay")
	guest.receive("알겠습니다.")
	guest.state(first, "delivered")
	guest.state(second, "delivered")

	if a, b := host.digits("K7"), guest.digits("미나"); a != b {
		t.Fatalf("digits %s and %s", a, b)
	}
	ran.digits.Add(1)

	// Long texts, in pieces that split characters.
	long := strings.Repeat("국경 도시 and beyond. ", 900)
	longest := strings.Repeat("가나다", 64*1400/9)
	up := guest.send("미나", long)
	host.receive(long)
	host.state(answer, "delivered")
	down := host.send("K7", longest)
	guest.receive(longest)
	guest.state(up, "delivered")

	// Sent while the relay is away: it stays, and goes out once.
	r.kill()
	if _, code := guest.try("send", "미나", "while it was away", "--wait", "0s"); code != 3 {
		t.Fatalf("exit %d; want 3: offline", code)
	}
	r.restart()
	guest.run("sync")
	host.receive("while it was away")
	host.state(down, "delivered")

	// The relay has taken an envelope, and its OK does not come: the same bytes under
	// the same id are one envelope.
	for _, s := range []struct {
		from, to      *peer
		contact, text string
	}{{guest, host, "미나", "once, from the guest"}, {host, guest, "K7", "once, from the host"}} {
		s.to.receive() // what it has read may come again after the relay's death
		before := s.to.duplicates()
		r.cut.Store(true)
		if _, code := s.from.try("send", s.contact, s.text, "--wait", "0s"); code != 3 {
			t.Fatalf("exit %d; want 3: no answer", code)
		}
		r.cut.Store(false)
		s.from.run("sync")
		ran.repeated.Add(1)
		s.to.receive(s.text)
		s.to.receive()
		if n := s.to.duplicates() - before; n > 0 {
			t.Fatalf("%d envelopes came twice", n)
		}
	}

	// Taken back.
	for _, s := range []struct {
		from, to *peer
		contact  string
	}{{guest, host, "미나"}, {host, guest, "K7"}} {
		wrong := s.from.send(s.contact, "wrong")
		s.from.run("cancel", wrong)
		s.from.send(s.contact, "right")
		s.to.receive("[taken_back]", "right")
		s.from.state(wrong, "cancelled")
	}

	// What only the second implementation can be made to do.
	for _, s := range []struct {
		from, to       *peer
		contact, other string
	}{{guest, host, "미나", "K7"}, {host, guest, "K7", "미나"}} {
		if !s.from.js {
			continue
		}
		// Put again after it was collected: not shown again, and confirmed again.
		again := s.from.send(s.contact, "again")
		s.from.run("sync", "--again")
		s.to.receive("again")
		s.from.run("sync", "--again")
		ran.repeated.Add(2)
		s.to.receive()
		s.to.send(s.other, "ok")
		s.from.receive("ok")
		s.from.state(again, "delivered")
		// One is lost: the next shows the gap.
		s.from.run("lose", s.from.send(s.contact, "lost", "--queue-only"))
		s.from.send(s.contact, "after a gap")
		s.to.receive("[gap 1]", "after a gap")
	}
	host.unharmed()
	guest.unharmed()
}

// alone waits for receipts that go without a text: within a minute if the identity
// is checked.
func alone(t *testing.T, hostJS, guestJS bool) {
	r := startRelay(t)
	host, guest := joined(t, r, hostJS, guestJS)
	host.receive()
	host.run("check", "K7", "--ok")
	guest.run("check", "미나", "--ok")
	one, two := guest.send("미나", "one"), host.send("K7", "two")
	host.receive("one")
	guest.receive("two")

	waited := make(chan bool)
	go func() { host.try("receive", "--wait", "75s"); waited <- true }()
	guest.try("receive", "--wait", "75s")
	<-waited
	guest.state(one, "delivered")
	host.state(two, "delivered")
	ran.alone.Add(2)

	// The control envelopes are no gap.
	guest.send("미나", "three")
	host.receive("three")
	host.send("K7", "four")
	guest.receive("four")
	host.unharmed()
	guest.unharmed()
}

// backwards has messages come before their flight: they are held, then opened.
func backwards(t *testing.T, hostJS bool) {
	r := startRelay(t)
	host, guest := newPeer(t, hostJS), newPeer(t, true)
	host.run("init", "--relay", r.address, "--grant", r.grant, "--name", "미나")
	guest.run("join", host.run("invite", "--for", "K7")[0], "--queue-only")
	ran.invites.Add(1)
	guest.send("미나", "one", "--queue-only")
	last := guest.send("미나", "two", "--queue-only")
	guest.run("sync", "--backwards")
	ran.held.Add(2)
	host.receive("two", "one")
	host.send("K7", "both are here")
	guest.receive("both are here")
	guest.state(last, "delivered")
	host.unharmed()
}

// full has the guest send more than the queue takes: the relay asks to wait, and takes the
// rest on the same connection, since that says that its client has heard so.
func full(t *testing.T, hostJS bool) {
	r := startRelay(t)
	host, guest := joined(t, r, hostJS, true)
	host.receive()
	one, two := strings.Repeat("가나다", 64*1400/9), strings.Repeat("라마바", 60*1400/9)
	guest.send("미나", one)
	last := guest.send("미나", two, "--queue-only")

	waited := make(chan bool)
	go func() { guest.try("receive", "--wait", "75s"); close(waited) }()
	for guest.waits() == 0 {
		select {
		case <-waited:
			t.Fatal("a queue takes 128 envelopes")
		default:
		}
	}
	ran.waited.Add(1)
	host.receive(one)
	<-waited
	guest.state(last, "on_relay")
	host.receive(two)
	host.send("K7", "both are here")
	host.send("K7", "64 receipts go with a text") // and there are 125, with the flight's
	guest.receive("both are here", "64 receipts go with a text")
	guest.state(last, "delivered")
	host.unharmed()
	guest.unharmed()
}

// restored has the guest go on with an old copy of their profile: it stops, and
// nothing of the session is read or sent.
func restored(t *testing.T, hostJS, guestJS bool) {
	r := startRelay(t)
	host, guest := joined(t, r, hostJS, guestJS)
	host.receive()
	host.send("K7", "one")
	guest.receive("one")
	old := guest.copied()
	guest.send("미나", "two")
	host.receive("two")
	host.send("K7", "three")
	guest.receive("three")
	guest.send("미나", "four")
	host.receive("four")
	host.send("K7", "five")

	lines, code := old.try("receive", "--json")
	if code != 6 {
		t.Fatalf("exit %d; want 6", code)
	}
	more, _ := old.try("receive", "--json")
	if read := strings.Join(append(lines, more...), ""); strings.Contains(read, `"message","`) || strings.Contains(read, "five") {
		t.Fatalf("a session that has stopped reads %q", read)
	}
	// What the copy did not read is there for the newer profile.
	guest.receive("five")
	ran.stopped.Add(1)
	host.unharmed()
	guest.unharmed()
}
