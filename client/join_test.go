package client

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"kin/protocol"
	"kin/relay"
)

// A join that the relay refuses says nothing of another, on whose way that is met: the
// one is told, the other is done.
func TestAJoinMeetsAnotherThatIsRefused(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		k, g := w.couple()
		first, second := w.invite(k, "first"), w.invite(k, "second")
		c, err := dial(t.Context(), w.dial, w.address, 0)
		if err != nil {
			t.Fatal(err)
		}
		who, err := g.fetchInvite(t.Context(), c, first, "", "one")
		if err == nil {
			err = g.makeFlight(t.Context(), c, *who) // and there the network goes
		}
		c.close()
		if err != nil {
			t.Fatal(err)
		}
		if err := k.RevokeInvite(t.Context(), "first"); err != nil {
			t.Fatal(err)
		}
		if joined, err := g.Join(t.Context(), second, "", "two"); err != nil || joined.Label != "two" {
			t.Fatalf("%q, %v", joined.Label, err)
		}
		if got, want := g.Overheard(), []Event{{"one", EventRefused, 1}}; !slices.Equal(got, want) {
			t.Errorf("%v; want %v", got, want)
		}
	})
}

// A flight whose class ran out is put again behind what the guest has said since, which
// may be a text of 64 pieces: all of it must be taken before the flight comes.
func TestAFlightThatIsPutAgainBehindALongTextArrives(t *testing.T) {
	inTownWith(t, nil, relay.Config{MaxTTL: 24 * time.Hour}, func(t *testing.T, w *town) {
		k, _ := w.couple()
		g, err := makeProfile(filepath.Join(w.homes, "h"), []byte("correct horse"), cheap, 30*24*time.Hour, &self{Name: "H"}, w.dial)
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		if _, err := g.Join(t.Context(), w.invite(k, "H"), "", ""); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Hour)
		long := strings.Repeat("s", 64*1400)
		if _, err := g.Send(t.Context(), "K", long, SendOptions{TTL: 14 * 24 * time.Hour, Wait: time.Minute}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(6 * time.Hour)
		if _, err := g.Sync(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		if got := w.take(k); !slices.Contains(got, long) {
			t.Errorf("of %d texts none is the long one", len(got))
		}
	})
}

// A join whose last commit fails has been heard of: the profile says so, and goes on. One
// that was refused leaves a profile that nobody has heard of.
func TestAJoinWhoseLastCommitFailsIsKnown(t *testing.T) {
	inFolk(t, func(s *folk, k, _ *wirePerson) {
		dir := filepath.Join(t.TempDir(), "j")
		g, err := makeProfile(dir, []byte("x"), cheap, 30*24*time.Hour, &self{Name: "J"}, s.liar.dial)
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		var inv [2]protocol.Invite
		for i := range inv {
			token, _, err := k.p.Invite(s.t.Context(), fmt.Sprint("J", i), 0)
			if err == nil {
				inv[i], err = protocol.ParseInvite(token)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		known := func(want bool) {
			t.Helper()
			if known, err := g.IsKnown(); err != nil || known != want {
				t.Errorf("known %t, %v; want %t", known, err, want)
			}
		}
		s.script(func(_ *liarSession, cmd protocol.Command) protocol.Answer {
			if c, ok := cmd.(*protocol.First); ok {
				return &protocol.Error{Corr: c.Corr.Number(), Code: protocol.CodeUsed}
			}
			return nil
		})
		if _, err := g.Join(s.t.Context(), inv[0], "", ""); !errors.Is(err, ErrInviteState) {
			t.Fatal(err)
		}
		known(false)
		records := filepath.Join(dir, "records")
		s.script(func(_ *liarSession, cmd protocol.Command) protocol.Answer {
			if _, ok := cmd.(*protocol.First); ok {
				if err := os.Rename(records, records+".away"); err != nil {
					t.Error(err)
				}
			}
			return nil
		})
		if _, err := g.Join(s.t.Context(), inv[1], "", ""); err == nil || passes(err) {
			t.Fatal(err)
		}
		s.script(nil)
		if err := os.Rename(records+".away", records); err != nil {
			t.Fatal(err)
		}
		known(true)
		if c, err := g.Join(s.t.Context(), inv[1], "", ""); err != nil || !c.Joined {
			t.Errorf("%+v, %v", c, err)
		}
	})
}
