package relay

import (
	"errors"
	"testing"
	"time"

	"kin/protocol"
	"kin/relay/spool"
)

// TestAnInviteThatAClockAheadEndedHasExpired: its blob is gone when the clock is right again.
func TestAnInviteThatAClockAheadEndedHasExpired(t *testing.T) {
	s := newStand(t, nil)
	p := s.dial()
	b := s.bare(p)
	s.want(p.code(p.offerCmd(b, 48, protocol.ID{4}, sealed(8))), protocol.CodeOK)
	if err := s.relay.sweepOnce(time.Now().Add(8 * 24 * time.Hour)); err != nil {
		t.Fatal(err)
	}
	s.want(p.code(&protocol.Fetch{Corr: p.corr(), Location: protocol.ID{4}}), 10) // invite expired
	if sub := p.sub(b); sub.Invite != 3 {                                         // expired
		t.Errorf("its host is told %d", sub.Invite)
	}
}

// TestAClockBefore2024GivesNoLife: whatever was given one would be over when the clock is
// right, so everybody is asked to wait.
func TestAClockBefore2024GivesNoLife(t *testing.T) {
	inBubbleAfter(t, 23*365*24*time.Hour, func(s *stand, p *peer) { // December 2022
		if _, err := s.relay.NewGrant(1, time.Hour); !errors.Is(err, spool.ErrClock) {
			t.Errorf("a grant: %v", err)
		}
		if grant, err := s.relay.FirstGrant(1, time.Hour); grant != "" || err != nil { // made at a later start
			t.Errorf("the first grant: %q, %v", grant, err)
		}
		b := &box{receiver: protocol.ID{1}, sender: protocol.ID{2}, rkey: newKey(t), skey: newKey(t)}
		q := &queue{Receiver: hashOf(b.receiver), Sender: hashOf(b.sender), Key: [32]byte(b.rkey.PublicKey().Bytes())}
		q.SenderKey = (*[32]byte)(b.skey.PublicKey().Bytes())
		s.relay.store.mu.Lock()
		err := s.relay.store.change(q, q)
		s.relay.store.mu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []protocol.Command{
			&protocol.Issue{Corr: p.corr(), Hashes: [][32]byte{{1}}}, p.offerCmd(b, 48, protocol.ID{3}, sealed(1)), p.putCmd(b, 1, sealed(1)),
		} {
			if code := p.code(c); code != 17 { // the relay failed, nothing was accepted: wait
				t.Errorf("%T: %v", c, code)
			}
		}
	})
}
