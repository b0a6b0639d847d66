package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kin/client/vault"
	"kin/protocol"
	"kin/relay"
)

const townHost = "relay.example"

// cheap is what a passphrase costs where it is not what is tested.
var cheap = vault.Params{MemoryKiB: vault.MinMemoryKiB, Time: 1, Threads: 1}

// town is a relay and a network in RAM, in a bubble whose clock moves when everybody
// waits. A real clock is only asked where the bubble begins.
type town struct {
	t       *testing.T
	relay   *relay.Relay
	address protocol.Address

	mu    sync.Mutex
	down  bool
	conns chan net.Conn
	open  []net.Conn
	dials []time.Time
	tap   func(net.Conn) net.Conn // put around the client's end, if set
	next  *town                   // whose relay has another address, if there is one
	homes string                  // the couple's profiles are k and g in it
}

// inTown runs f in a bubble that begins now.
func inTown(t *testing.T, f func(*testing.T, *town)) { inTownWith(t, nil, relay.Config{}, f) }

// inTownWith is inTown with TLS in front of the relay, if c is set, and with the
// relay's settings.
func inTownWith(t *testing.T, c *tls.Config, cfg relay.Config, f func(*testing.T, *town)) {
	real := time.Now().Truncate(time.Hour) // receipts are due at a full hour
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(real)) // a bubble begins in 2000
		f(t, openTown(t, c, cfg, "127.0.0.1:1"))
	})
}

// openTown opens a relay at an address, until the bubble's test ends.
func openTown(t *testing.T, c *tls.Config, cfg relay.Config, at string) *town {
	w := &town{t: t, conns: make(chan net.Conn)}
	cfg.Dir = t.TempDir()
	var err error
	if w.relay, err = relay.Open(cfg); err != nil {
		t.Fatal(err)
	}
	w.address = protocol.Address{Hosts: []protocol.Host{{Name: at}}, Fingerprint: w.relay.Fingerprint()}
	server := &http.Server{Handler: w.relay, TLSConfig: c}
	if c != nil {
		w.address.Hosts = []protocol.Host{{Name: townHost, TLS: true}}
		go server.ServeTLS(w, "", "")
	} else {
		go server.Serve(w)
	}
	t.Cleanup(func() {
		w.cut()
		server.Close()
		if err := w.relay.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return w
}

// Accept, Close and Addr make the town a net.Listener.
func (w *town) Accept() (net.Conn, error) {
	c, ok := <-w.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (w *town) Close() error   { close(w.conns); return nil }
func (w *town) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

func (w *town) dial(ctx context.Context, network, at string) (net.Conn, error) {
	if w.next != nil && at != w.address.Hosts[0].Name {
		return w.next.dial(ctx, network, at)
	}
	w.mu.Lock()
	w.dials = append(w.dials, time.Now())
	down := w.down
	w.mu.Unlock()
	if down {
		return nil, errors.New("no network")
	}
	near, far := net.Pipe()
	select {
	case w.conns <- far:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open = append(w.open, near)
	if w.tap != nil {
		return w.tap(near), nil
	}
	return near, nil
}

// cut takes the network away; mend brings it back.
func (w *town) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = true
	for _, c := range w.open {
		c.Close()
	}
	w.open = nil
}

func (w *town) mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = false
}

// couple is a caseworker and a guest who has joined.
func (w *town) couple() (k, g *Profile) {
	w.t.Helper()
	text, err := w.relay.NewGrant(100, 30*24*time.Hour)
	if err != nil {
		w.t.Fatal(err)
	}
	grant, err := protocol.ParseGrant(text)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx := w.t.Context()
	w.homes = w.t.TempDir()
	k, err = create(ctx, filepath.Join(w.homes, "k"), []byte("correct horse"), cheap,
		Setup{Name: "K", Relay: w.address, Grant: grant, Keep: 30 * 24 * time.Hour}, w.dial)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(k.Close)
	g, err = makeProfile(filepath.Join(w.homes, "g"), []byte("correct horse"), cheap, 30*24*time.Hour, &self{Name: "G"}, w.dial)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(g.Close)
	w.join(k, g, "G")
	return k, g
}

// invite is a caseworker's invite for a label.
func (w *town) invite(k *Profile, label string) protocol.Invite {
	w.t.Helper()
	token, _, err := k.Invite(w.t.Context(), label, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	inv, err := protocol.ParseInvite(token)
	if err != nil {
		w.t.Fatal(err)
	}
	return inv
}

// join has a guest join a caseworker, who calls them by a label.
func (w *town) join(k, g *Profile, label string) {
	w.t.Helper()
	if _, err := g.Join(w.t.Context(), w.invite(k, label), "", ""); err != nil {
		w.t.Fatal(err)
	}
	w.take(k)
}

// take receives once, and returns the texts.
func (w *town) take(p *Profile) (texts []string) {
	w.t.Helper()
	_, err := p.Receive(w.t.Context(), ReceiveOptions{}, func(ms []Message) error {
		for _, m := range ms {
			texts = append(texts, m.Text+m.Note)
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return texts
}

func (w *town) state(p *Profile, s Sent) State {
	w.t.Helper()
	all, err := p.Status()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, st := range all {
		if st.ID == s.ID {
			return st.State
		}
	}
	w.t.Fatal("no status")
	return ""
}

func TestBackOff(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		_, g := w.couple()
		w.cut()
		if _, err := g.Send(t.Context(), "K", "update", SendOptions{QueueOnly: true}); err != nil {
			t.Fatal(err)
		}
		w.dials = nil
		begun := time.Now()
		if _, err := g.Sync(t.Context(), 20*time.Minute); !errors.Is(err, ErrOffline) {
			t.Fatal(err)
		}
		if took := time.Since(begun); took > 20*time.Minute || took < 18*time.Minute {
			t.Errorf("gave up after %v of 20 minutes", took)
		}
		pause := time.Second
		for i := 1; i < len(w.dials); i++ {
			if gap := w.dials[i].Sub(w.dials[i-1]); gap < pause/2 || gap >= pause*3/2 {
				t.Errorf("pause %d is %v; want %v, more or less a half", i, gap, pause)
			}
			pause = min(2*pause, time.Minute)
		}
		if n := len(w.dials); n < 15 || n > 45 {
			t.Errorf("%d tries in 20 minutes", n)
		}
	})
}

func TestReconnects(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		k, g := w.couple()
		ctx, stop := context.WithCancel(t.Context())
		var mu sync.Mutex
		var shown []string
		var at time.Time
		ended := make(chan error)
		go func() {
			_, err := k.Receive(ctx, ReceiveOptions{Follow: true}, func(ms []Message) error {
				mu.Lock()
				defer mu.Unlock()
				for _, m := range ms {
					shown, at = append(shown, m.Text+m.Note), time.Now()
				}
				return nil
			})
			ended <- err
		}()
		say := func(text string) {
			t.Helper()
			if _, err := g.Send(t.Context(), "K", text, SendOptions{Wait: time.Hour}); err != nil {
				t.Fatal(err)
			}
		}
		say("one")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		w.cut()
		time.Sleep(30 * time.Minute)
		w.mend()
		back := time.Now()
		say("two")
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		mu.Lock()
		if !slices.Equal(shown, []string{"one", "two"}) {
			t.Errorf("shown: %q", shown)
		}
		if late := at.Sub(back); late > 91*time.Second {
			t.Errorf("shown %v after the network was back", late)
		}
		mu.Unlock()
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// A message whose life on the relay ran out unread is put again, until its deadline;
// then it is shown as expired, and never as delivered.
func TestLifeOnTheRelayRunsOut(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		k, g := w.couple()
		kept, err := g.Send(t.Context(), "K", "kept", SendOptions{TTL: time.Hour, Wait: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		brief, err := g.Send(t.Context(), "K", "brief", SendOptions{TTL: time.Hour, Until: time.Hour, Wait: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		if s := w.relay.Status(); s.Envelopes != 2 {
			t.Fatalf("%d messages on the relay", s.Envelopes)
		}
		time.Sleep(4 * time.Hour)
		synctest.Wait()
		if s := w.relay.Status(); s.Envelopes != 0 {
			t.Fatalf("%d messages on the relay, four hours after they were put for one", s.Envelopes)
		}
		if s := w.state(g, brief); s != StateExpiredUnread {
			t.Errorf("brief is %s", s)
		}
		if got := w.take(k); len(got) != 0 {
			t.Fatalf("%q", got)
		}
		if _, err := g.Sync(t.Context(), time.Minute); err != nil {
			t.Fatal(err)
		}
		got := w.take(k)
		if len(got) != 1 || got[0] != "kept" {
			t.Fatalf("%q; want what was put again", got)
		}
		for range 2 { // the receipt goes out within the hour, unchecked as they are
			time.Sleep(time.Hour)
			w.take(k)
		}
		w.take(g)
		if s := w.state(g, kept); s != StateDelivered {
			t.Errorf("kept is %s", s)
		}
		if s := w.state(g, brief); s != StateExpiredUnread {
			t.Errorf("brief is %s", s)
		}
	})
}

// An invite that expired is refused for good, and makes no contact.
func TestExpiredInvite(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		k, g := w.couple()
		token, _, err := k.Invite(t.Context(), "H", 2*time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		inv, err := protocol.ParseInvite(token)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(4 * time.Hour)
		synctest.Wait()
		var refused *InviteRefusedError
		if _, err := g.Join(t.Context(), inv, "", "again"); !errors.As(err, &refused) || refused.State != "expired" {
			t.Errorf("joined an expired invite: %v", err)
		}
		contacts, err := g.Contacts()
		if err != nil || len(contacts) != 1 {
			t.Errorf("%d contacts, %v", len(contacts), err)
		}
		w.take(k)
		infos, err := k.Invites(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range infos {
			if i.Label == "H" && i.State != "expired" {
				t.Errorf("its maker sees it as %s", i.State)
			}
		}
	})
}

// What several contacts sent is collected in one commit, at one time: each contact's
// messages are shown in their order nevertheless.
func TestShownInOrderBesideOthers(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		k, g := w.couple()
		h, err := makeProfile(filepath.Join(w.t.TempDir(), "h"), []byte("correct horse"), cheap, 30*24*time.Hour, &self{Name: "H"}, w.dial)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(h.Close)
		if _, err := h.Join(t.Context(), w.invite(k, "H"), "", "K"); err != nil {
			t.Fatal(err)
		}
		const each = 12
		for n := range each {
			for name, p := range map[string]*Profile{"G": g, "H": h} {
				if _, err := p.Send(t.Context(), "K", fmt.Sprintf("%s%02d", name, n), SendOptions{Wait: time.Minute}); err != nil {
					t.Fatal(err)
				}
			}
		}
		got := w.take(k)
		if len(got) != 2*each {
			t.Fatalf("%d messages of %d", len(got), 2*each)
		}
		last := map[byte]string{}
		for _, text := range got {
			if text < last[text[0]] {
				t.Fatalf("shown in this order: %q", got)
			}
			last[text[0]] = text
		}
	})
}

// What the relay asked to wait with is not overtaken by what was sent after it.
func TestRefusedIsNotOvertaken(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		k, g := w.couple()
		say := func(n int, o SendOptions) {
			t.Helper()
			if _, err := g.Send(t.Context(), "K", fmt.Sprintf("%03d", n), o); err != nil && !errors.Is(err, ErrOffline) {
				t.Fatal(err)
			}
		}
		n := 0
		for ; n < 116; n++ { // a queue holds 112
			say(n, SendOptions{QueueOnly: true})
		}
		if _, err := g.Sync(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		got := w.take(k)
		if len(got) == n || len(got) == 0 {
			t.Fatalf("%d of %d fit", len(got), n)
		}
		say(n, SendOptions{})
		for len(got) <= n {
			time.Sleep(time.Minute)
			if _, err := g.Sync(t.Context(), time.Hour); err != nil {
				t.Fatal(err)
			}
			more := w.take(k)
			if len(more) == 0 {
				t.Fatalf("%d of %d came", len(got), n+1)
			}
			got = append(got, more...)
		}
		if !slices.IsSorted(got) {
			t.Errorf("shown in this order: %q", got)
		}
	})
}

// A text lives on the relay for as long as was asked, though a moment passes between its
// sealing and its PUT, and on a relay whose epoch is longer than that.
func TestALifeThatIsAClass(t *testing.T) {
	for _, c := range []struct{ until, epoch, after time.Duration }{
		{time.Hour, time.Hour, 10 * time.Second},
		{6 * time.Hour, time.Hour, 5 * time.Hour},
		{24 * time.Hour, time.Hour, 23 * time.Hour},
		{72 * time.Hour, time.Hour, 71 * time.Hour},
		{time.Hour, 2 * time.Hour, 30 * time.Minute},
	} {
		t.Run(fmt.Sprint(c.until, " of ", c.epoch), func(t *testing.T) {
			inTownWith(t, nil, relay.Config{Epoch: c.epoch}, func(t *testing.T, w *town) {
				k, g := w.couple()
				g.Dial = (&slowLine{bits: 10_000_000, round: 40 * time.Millisecond}).dialer(w.dial)
				if sent, err := g.Send(t.Context(), "K", "update", SendOptions{Until: c.until, Wait: time.Minute}); err != nil || sent.State != StateOnRelay {
					t.Fatal(sent.State, err)
				}
				time.Sleep(c.after)
				synctest.Wait()
				w.want(w.take(k), "update")
			})
		})
	}
}

// A send that waits for longer than its text lives does not end well.
func TestASendThatRanOutIsNoSuccess(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		_, g := w.couple()
		w.cut()
		sent, err := g.Send(t.Context(), "K", "brief", SendOptions{Until: time.Hour, Wait: 2 * time.Hour})
		if !errors.Is(err, ErrOffline) || sent.State != StateExpiredUnread {
			t.Errorf("%s, %v", sent.State, err)
		}
	})
}
