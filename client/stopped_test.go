package client

import (
	"errors"
	"testing"
	"time"

	"kin/relay"
)

// oneRoom is a relay whose queues hold one message that is not urgent.
var oneRoom = relay.Config{Unread: 17, Urgent: 16}

// sendWaiting sends two texts, of which the relay has no room for the second yet.
func (w *town) sendWaiting(g *Profile) (first, second Sent) {
	w.t.Helper()
	first, err := g.Send(w.t.Context(), "K", "first", SendOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	second, err = g.Send(w.t.Context(), "K", "second", SendOptions{})
	if err == nil || second.State != StateQueued {
		w.t.Fatalf("%s, %v", second.State, err)
	}
	return first, second
}

// again is a new invite for the guest, who is known.
func (w *town) again(k, g *Profile) {
	w.t.Helper()
	if _, err := g.Join(w.t.Context(), w.invite(k, "G"), "", "K"); err != nil {
		w.t.Fatal(err)
	}
	if _, err := g.Accept("K"); err != nil {
		w.t.Fatal(err)
	}
}

// A text that the relay had no room for goes out though there is a newer session meanwhile,
// and one that was on the relay can still be taken back.
func TestWaitingTextGoesOutInAReplacedSession(t *testing.T) {
	inTownWith(t, nil, oneRoom, func(t *testing.T, w *town) {
		k, g := w.couple()
		first, _ := w.sendWaiting(g)
		w.again(k, g)
		w.take(g)
		if _, err := g.Cancel(t.Context(), first.ID); err != nil {
			t.Fatal(err)
		}
		if got := w.take(k); len(got) > 0 { // the new session's flight, which took all the room there was
			t.Fatalf("%q; want nothing", got)
		}
		time.Sleep(time.Hour)
		if _, err := g.Sync(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		if got := w.take(k); len(got) != 1 || got[0] != "second" {
			t.Fatalf("%q; want the second", got)
		}
	})
}

// What a stopped session had not sent can't go out any more: nobody waits for it, and
// it is told.
func TestTextOfAStoppedSessionIsNotWaitedFor(t *testing.T) {
	inTownWith(t, nil, oneRoom, func(t *testing.T, w *town) {
		k, g := w.couple()
		_, second := w.sendWaiting(g)
		restored := w.copyOf(g, "g")
		w.take(k)
		if _, err := g.Cancel(t.Context(), second.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := g.Send(t.Context(), "K", "third", SendOptions{}); err != nil {
			t.Fatal(err)
		}
		w.take(k)
		if _, err := k.Send(t.Context(), "G", "for the newer profile", SendOptions{}); err != nil {
			t.Fatal(err)
		}
		old := restored()
		status := func(wantStopped bool) {
			t.Helper()
			all, err := old.Status()
			if err != nil {
				t.Fatal(err)
			}
			for _, st := range all {
				if st.ID == second.ID {
					if st.State != StateQueued || st.Stopped != wantStopped {
						t.Fatalf("%s, stopped: %v", st.State, st.Stopped)
					}
					return
				}
			}
			t.Fatal("no status")
		}
		status(false)
		begun := time.Now()
		for range 2 {
			if r, err := old.Sync(t.Context(), 24*time.Hour); !errors.Is(err, ErrStopped) || r.Queued > 0 {
				t.Fatalf("%d queued, %v", r.Queued, err)
			}
			status(true)
		}
		w.again(k, old)
		r, err := old.Sync(t.Context(), 24*time.Hour)
		if err != nil || r.Queued > 0 {
			t.Fatalf("%d queued, %v", r.Queued, err)
		}
		status(true)
		if took := time.Since(begun); took > time.Minute {
			t.Errorf("waited for %v", took)
		}
	})
}

// What a stopped session has on the relay can still be taken back, and is, as soon as the
// relay can be reached.
func TestSyncTakesBackWhatAStoppedSessionSent(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		k, g := w.couple()
		restored := w.copyOf(g, "g")
		for _, text := range []string{"newer", "newest"} {
			if _, err := g.Send(t.Context(), "K", text, SendOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		w.take(k)
		if _, err := k.Send(t.Context(), "G", "for the newer profile", SendOptions{}); err != nil {
			t.Fatal(err)
		}
		old := restored()
		late, err := old.Send(t.Context(), "K", "late", SendOptions{})
		if err != nil || late.State != StateOnRelay {
			t.Fatal(late.State, err)
		}
		if _, err := old.Sync(t.Context(), 0); !errors.Is(err, ErrStopped) {
			t.Fatalf("%v; want %v", err, ErrStopped)
		}
		w.cut()
		if _, err := old.Cancel(t.Context(), late.ID); err == nil {
			t.Fatal("taken back without a network")
		}
		if r, err := old.Sync(t.Context(), 0); !errors.Is(err, ErrOffline) || r.Queued != 1 {
			t.Fatalf("%d wait, %v; want the one that takes back", r.Queued, err)
		}
		go func() {
			time.Sleep(time.Minute)
			w.mend()
		}()
		if _, err := old.Sync(t.Context(), time.Hour); !errors.Is(err, ErrStopped) {
			t.Fatalf("%v; want %v", err, ErrStopped)
		}
		if got := w.take(k); len(got) > 0 {
			t.Errorf("%q came, though it was taken back", got)
		}
	})
}
