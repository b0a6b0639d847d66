// Package kin_test drives the whole path: real profiles, a real relay, real
// websockets on loopback.
package kin_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kin/client"
	"kin/protocol"
	"kin/relay"
)

var passphrase = []byte("correct horse battery")

// host runs a relay in this process, on one port for as long as the test runs.
type host struct {
	t      testing.TB
	dir    string
	listen string
	relay  *relay.Relay
	server *http.Server
}

func startRelay(t *testing.T) *host {
	h := &host{t: t, dir: t.TempDir(), listen: "127.0.0.1:0"}
	h.start()
	t.Cleanup(h.stop)
	return h
}

func (h *host) start() {
	r, err := relay.Open(relay.Config{Dir: h.dir})
	if err != nil {
		h.t.Fatal(err)
	}
	l, err := net.Listen("tcp", h.listen)
	if err != nil {
		h.t.Fatal(err)
	}
	h.listen, h.relay, h.server = l.Addr().String(), r, &http.Server{Handler: r}
	go h.server.Serve(l)
}

func (h *host) stop() {
	if h.server == nil {
		return
	}
	h.server.Close()
	if err := h.relay.Shutdown(context.Background()); err != nil {
		h.t.Error(err)
	}
	h.server = nil
}

func (h *host) address() protocol.Address {
	return protocol.Address{Hosts: []protocol.Host{{Name: h.listen}}, Fingerprint: h.relay.Fingerprint()}
}

func (h *host) caseworker(name string) *client.Profile {
	return h.caseworkerIn(filepath.Join(h.t.TempDir(), "p"), name)
}

func (h *host) caseworkerIn(dir, name string) *client.Profile {
	text, err := h.relay.NewGrant(100, 24*time.Hour)
	if err != nil {
		h.t.Fatal(err)
	}
	grant, err := protocol.ParseGrant(text)
	if err != nil {
		h.t.Fatal(err)
	}
	p, err := client.Create(h.t.Context(), dir, passphrase, client.Setup{Name: name, Relay: h.address(), Grant: grant, Keep: 30 * 24 * time.Hour})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(p.Close)
	return p
}

func guest(t testing.TB, name string) *client.Profile {
	p, err := client.CreateGuest(t.Context(), filepath.Join(t.TempDir(), "p"), passphrase, name, 30*24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// invited makes an invite and has the guest join with it.
func invited(t testing.TB, h, g *client.Profile, label string) {
	t.Helper()
	token, _, err := h.Invite(t.Context(), label, 0)
	if err != nil {
		t.Fatal("invite:", err)
	}
	inv, err := protocol.ParseInvite(token)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.Join(t.Context(), inv, "", ""); err != nil {
		t.Fatal("join:", err)
	}
}

func send(t *testing.T, p *client.Profile, label, text string) client.Sent {
	t.Helper()
	s, err := p.Send(t.Context(), label, text, client.SendOptions{Wait: 10 * time.Second})
	if err != nil {
		t.Fatalf("send: %v (%s)", err, s.State)
	}
	return s
}

// receive returns the texts that are new.
func receive(t *testing.T, p *client.Profile) (texts []string, r client.Report) {
	t.Helper()
	r, err := p.Receive(t.Context(), client.ReceiveOptions{}, func(ms []client.Message) error {
		for _, m := range ms {
			texts = append(texts, m.Text+m.Note)
			if m.Gap > 0 {
				texts[len(texts)-1] += " (gap)"
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal("receive:", err)
	}
	return texts, r
}

func wantTexts(t *testing.T, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Fatalf("received %q; want %q", got, want)
	}
}

func state(t *testing.T, p *client.Profile, s client.Sent) client.State {
	t.Helper()
	all, err := p.Status()
	if err != nil {
		t.Fatal(err)
	}
	for _, st := range all {
		if st.ID == s.ID {
			return st.State
		}
	}
	t.Fatal("no status of the message")
	return ""
}

func TestWholePath(t *testing.T) {
	h := startRelay(t)
	k, g := h.caseworker("Mina"), guest(t, "Jun")
	invited(t, k, g, "K7")

	// An update before the host has ever looked; the relay restarts behind its OK.
	first := send(t, g, "Mina", "They are at the garrison. 오늘 밤.")
	if first.State != client.StateOnRelay {
		t.Fatal(first.State)
	}
	h.stop()
	h.start()
	texts, r := receive(t, k)
	wantTexts(t, texts, "They are at the garrison. 오늘 밤.")
	if len(r.Joined) != 1 {
		t.Errorf("joined %v", r.Joined)
	}
	texts, _ = receive(t, k)
	wantTexts(t, texts)
	if st := state(t, g, first); st != client.StateOnRelay {
		t.Errorf("before any receipt the state is %s", st)
	}

	// The answer carries the receipt.
	answer := send(t, k, "K7", "Understood.")
	texts, _ = receive(t, g)
	wantTexts(t, texts, "Understood.")
	if st := state(t, g, first); st != client.StateDelivered {
		t.Errorf("after the receipt the state is %s", st)
	}
	if st := state(t, k, answer); st != client.StateOnRelay {
		t.Errorf("the answer, without a receipt, is %s", st)
	}

	dk, _, err := k.Digits("K7")
	if err != nil {
		t.Fatal(err)
	}
	dg, _, err := g.Digits("Mina")
	if err != nil || dk != dg || len(dk) != 71 {
		t.Fatalf("digits %q and %q, %v", dk, dg, err)
	}
}

func TestLongTextComesInPieces(t *testing.T) {
	h := startRelay(t)
	k, g := h.caseworker(""), guest(t, "")
	invited(t, k, g, "K7")
	long := strings.Repeat("조선말 and English. ", 800)
	send(t, g, "contact-1", long)
	texts, _ := receive(t, k)
	wantTexts(t, texts, long)
}

func TestOfflineSendStaysQueuedAndGoesOut(t *testing.T) {
	h := startRelay(t)
	k, g := h.caseworker("Mina"), guest(t, "")
	invited(t, k, g, "K7")
	h.stop()
	s, err := g.Send(t.Context(), "Mina", "one", client.SendOptions{})
	if !errors.Is(err, client.ErrOffline) || s.State != client.StateQueued {
		t.Fatalf("%v, %v", s.State, err)
	}
	h.start()
	if r, err := g.Sync(t.Context(), 0); err != nil || r.Queued != 0 {
		t.Fatalf("sync: %+v, %v", r, err)
	}
	texts, _ := receive(t, k)
	wantTexts(t, texts, "one")
}

func TestManyContactsBothWays(t *testing.T) {
	h := startRelay(t)
	k := h.caseworker("Mina")
	labels := []string{"A", "B", "C"}
	guests := map[string]*client.Profile{}
	for _, l := range labels {
		guests[l] = guest(t, "guest of "+l)
		invited(t, k, guests[l], l)
	}
	for round := range 3 {
		for _, l := range labels {
			for n := range 3 {
				send(t, guests[l], "Mina", strings.Repeat(l, n+1+round))
			}
		}
		texts, _ := receive(t, k)
		if len(texts) != 9 {
			t.Fatalf("round %d: %d messages", round, len(texts))
		}
		for _, l := range labels {
			send(t, k, l, "to "+l)
			texts, _ := receive(t, guests[l])
			wantTexts(t, texts, "to "+l)
		}
	}
}

func TestCancelIsShownAsTakenBack(t *testing.T) {
	h := startRelay(t)
	k, g := h.caseworker("Mina"), guest(t, "")
	invited(t, k, g, "K7")
	receive(t, k)
	wrong := send(t, g, "Mina", "wrong")
	if st, err := g.Cancel(t.Context(), wrong.ID); err != nil || st.State != client.StateCancelled {
		t.Fatal(st.State, err)
	}
	send(t, g, "Mina", "right")
	texts, _ := receive(t, k)
	wantTexts(t, texts, client.NoteTakenBack, "right")
}

// The receipts that a cancelled message carried go with the next one.
func TestCancelledMessageLosesNoReceipts(t *testing.T) {
	h := startRelay(t)
	k, g := h.caseworker("Mina"), guest(t, "")
	invited(t, k, g, "K7")
	update := send(t, g, "Mina", "one")
	receive(t, k)
	wrong := send(t, k, "K7", "wrong")
	if st, err := k.Cancel(t.Context(), wrong.ID); err != nil || st.State != client.StateCancelled {
		t.Fatal(st.State, err)
	}
	send(t, k, "K7", "right")
	texts, _ := receive(t, g)
	wantTexts(t, texts, client.NoteTakenBack, "right")
	if st := state(t, g, update); st != client.StateDelivered {
		t.Errorf("the message is %s: its receipt was in what was taken back", st)
	}
}
