package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"kin/client/ratchet"
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

// Who makes an invite chooses the relay that it names, and no other: the guest's device would
// connect there for as long as the contact lives.
func TestAnInviteChoosesNoOtherRelay(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		_, g := w.couple()
		text, err := w.relay.NewGrant(2, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		grant, err := protocol.ParseGrant(text)
		if err != nil {
			t.Fatal(err)
		}
		keys, err := ratchet.NewHostKeys()
		if err != nil {
			t.Fatal(err)
		}
		c, err := dial(t.Context(), w.dial, w.address, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer c.close()
		tickets, in := []protocol.ID{newTicket(), newTicket()}, inQueue{Key: newKey()}
		if err := errors.Join(c.issue(t.Context(), grant, tickets), c.makeQueue(t.Context(), tickets[0], &in)); err != nil {
			t.Fatal(err)
		}
		elsewhere := protocol.Address{Hosts: []protocol.Host{{Name: "127.0.0.1:2"}}, Fingerprint: protocol.Fingerprint{9}}
		b, err := keys.Bundle(w.address.Fingerprint, in.Sender, marshalMeta(&items{tickets: tickets[1:], relays: []protocol.Address{elsewhere}}))
		if err != nil {
			t.Fatal(err)
		}
		secrets := ratchet.DeriveInvite(b.Hash())
		if err := c.offer(t.Context(), in, secrets.Claim, 24, secrets.Location, ratchet.SealBundle(b)); err != nil {
			t.Fatal(err)
		}
		g.Dial = func(ctx context.Context, network, at string) (net.Conn, error) {
			if at != w.address.Hosts[0].Name {
				t.Errorf("the guest connects to %s", at)
			}
			return w.dial(ctx, network, at)
		}
		if _, err := g.Join(t.Context(), protocol.Invite{Relay: w.address, Hash: b.Hash()}, "", "other"); err != nil {
			t.Error(err)
		}
	})
}
