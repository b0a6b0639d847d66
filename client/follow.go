package client

import (
	"context"
	"errors"
	"time"

	"kin/internal/random"
	"kin/protocol"
)

// lookPause is after what time one who follows does again what time asks for, and looks
// for relays that the profile has begun to use.
const lookPause = time.Minute

// follower stays connected to relays, to each whatever becomes of the others.
type follower struct {
	p      *Profile
	report *Report
	came   func() error
	stays  map[protocol.Fingerprint]*stay
	under  int        // visits that are under way
	ended  chan *stay // visits that are not any more
}

// stay is how a follower fares with a relay.
type stay struct {
	under bool // a visit is under way, and has what follows
	read  bool // a visit took all that waited
	err   error
	pause time.Duration
	next  time.Time // of the next visit
}

// follow stays connected to every relay until the context ends. An error that connecting
// anew does not mend ends it; one that is a relay's own, once there is no other relay.
// unread is why a relay was never read, if one was not.
func (p *Profile) follow(ctx context.Context, report *Report, came func() error) (unread, err error) {
	if err := came(); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	f := &follower{p: p, report: report, came: came, stays: map[protocol.Fingerprint]*stay{}, ended: make(chan *stay)}
	err = f.run(ctx)
	stop()
	for range f.under {
		<-f.ended
	}
	for _, s := range f.stays {
		switch {
		case s.err == nil || errors.Is(err, s.err):
		case !passes(s.err):
			err = errors.Join(err, s.err)
		case !s.read:
			unread = errors.Join(unread, s.err)
		}
	}
	return unread, errors.Join(err, p.update(report, (*work).tellUnsent), p.finish(report))
}

func (f *follower) run(ctx context.Context) error {
	for ctx.Err() == nil {
		wait, err := f.begin(ctx)
		if err != nil {
			return err
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-t.C:
		case s := <-f.ended:
			if err := f.end(ctx, s); err != nil {
				return err
			}
		}
		t.Stop()
	}
	return nil
}

// begin visits each relay whose turn it is, and tells when it may be another's.
func (f *follower) begin(ctx context.Context) (wait time.Duration, err error) {
	relays, err := f.p.prepare(f.report)
	wait = lookPause
	for _, r := range relays {
		s := f.stays[r.address.Fingerprint]
		if s == nil {
			s = &stay{pause: time.Second}
			f.stays[r.address.Fingerprint] = s
		}
		if s.under {
			continue
		}
		if left := time.Until(s.next); left > 0 {
			wait = min(wait, left)
			continue
		}
		s.under = true
		f.under++
		go f.visit(ctx, r, s)
	}
	return wait, err
}

// visit stays at a relay until the connection is lost, and says how long to keep away.
func (f *follower) visit(ctx context.Context, r *relayWork, s *stay) {
	begun := time.Now()
	err := f.p.visit(ctx, r, &visitOptions{all: true, follow: true, came: f.came}, f.report)
	if r.read {
		s.read, s.err = true, nil
	}
	if s.err == nil || ctx.Err() == nil { // a visit that is called off says nothing of the relay
		s.err = err
	}
	if time.Since(begun) > time.Minute {
		s.pause = time.Second
	}
	s.next = time.Now().Add(s.pause/2 + random.Below(s.pause)) // what the relay asked to wait with waits for itself
	s.pause = min(2*s.pause, time.Minute)
	f.ended <- s
}

// end returns the error of a visit if the follower ends with it.
func (f *follower) end(ctx context.Context, s *stay) error {
	s.under = false
	f.under--
	if ctx.Err() != nil {
		return nil
	}
	if !passes(s.err) && (!ofRelay(s.err) || f.alone(s)) {
		return s.err
	}
	if err := f.came(); err != nil {
		return err
	}
	return f.p.update(nil, (*work).giveUpOld)
}

// alone tells whether there is no other relay that is, or can be, connected to.
func (f *follower) alone(s *stay) bool {
	for _, o := range f.stays {
		if o != s && (o.under || passes(o.err)) {
			return false
		}
	}
	return true
}

// passes tells whether an error may be over at the next try.
func passes(err error) bool { return errors.Is(err, ErrOffline) || forAWhile(err) != nil }

// forAWhile is the refusal that asks to wait, if err is one.
func forAWhile(err error) *protocol.Refusal {
	var refusal *protocol.Refusal
	if errors.As(err, &refusal) && refusal.Code.Temporary() {
		return refusal
	}
	return nil
}

// ofRelay tells whether an error is a relay's own doing, and says nothing about another.
func ofRelay(err error) bool {
	var refusal *protocol.Refusal
	return errors.Is(err, protocol.ErrFingerprint) || errors.Is(err, protocol.ErrVersion) || errors.As(err, &refusal)
}
