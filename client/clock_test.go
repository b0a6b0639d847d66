package client

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

const day = 24 * time.Hour

// atAnotherTime has a profile do what time asks for in its outbox, by a wrong clock.
func atAnotherTime(t *testing.T, p *Profile, by time.Duration) (r Report) {
	t.Helper()
	err := p.update(&r, func(w *work) error {
		w.now = w.now.Add(by)
		return errors.Join(w.ageOutbox(), w.tellUnsent())
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// tells looks whether a report tells that a text to K expired here.
func (w *town) tells(r Report, want bool) {
	w.t.Helper()
	if got := slices.Equal(r.Events, []Event{{"K", EventUnsent, 1}}); got != want || !got && len(r.Events) > 0 {
		w.t.Errorf("told: %v; want it told that a text did not go out: %v", r.Events, want)
	}
}

// A text that has not gone out when the clock is ahead for a while goes out when it is right;
// what was given up is told, once, and does not stay queued.
func TestAClockThatWasAheadLosesNoText(t *testing.T) {
	for name, c := range map[string]struct {
		ahead time.Duration
		state State
	}{"three weeks": {21 * day, StateOnRelay}, "a year": {365 * day, StateExpiredUnread}} {
		t.Run(name, func(t *testing.T) {
			inTown(t, func(t *testing.T, w *town) {
				k, g := w.couple()
				text := strings.Repeat("x", 2000)
				sent, err := g.Send(t.Context(), "K", text, SendOptions{QueueOnly: true})
				if err != nil {
					t.Fatal(err)
				}
				w.tells(atAnotherTime(t, g, c.ahead), true)
				w.tells(atAnotherTime(t, g, c.ahead), false)
				w.mustSync(g)
				w.wantState(g, c.state, sent)
				if got := w.take(k); slices.Equal(got, []string{text}) != (c.state == StateOnRelay) {
					t.Errorf("%.40q came", got)
				}
			})
		})
	}
}

// A text that expires before it went out, or was written while the clock was behind, is told
// by the next command, once.
func TestATextThatNeverWentOutIsTold(t *testing.T) {
	for name, c := range map[string]struct{ behind, after time.Duration }{
		"expired": {0, 14 * day}, "weeks behind": {21 * day, 0}, "years behind": {3 * 365 * day, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inTown(t, func(t *testing.T, w *town) {
				_, g := w.couple()
				err := g.update(nil, func(w *work) error {
					w.now = w.now.Add(-c.behind)
					c, err := w.find("K")
					if err == nil {
						_, err = w.compose(c, split("update"), SendOptions{TTL: DefaultTTL, Until: DefaultUntil})
					}
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(c.after)
				for _, told := range []bool{true, false} {
					r, err := g.Sync(t.Context(), 0)
					if err != nil || r.Queued > 0 {
						t.Errorf("%d queued, %v", r.Queued, err)
					}
					w.tells(r, told)
				}
				all, err := g.Status() // of years ago nothing is kept
				if err != nil || len(all) > 0 && all[0].State != StateExpiredUnread || len(all) == 0 && c.behind < 30*day {
					t.Errorf("%+v, %v", all, err)
				}
			})
		})
	}
}

// A receipt that became due while the clock was ahead is due, and a relay that took a text
// then is not taken to have it for longer than it can.
func TestAClockThatWasAheadDelaysNothing(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		k, g := w.couple()
		sent := w.say(g, "K", "update")
		changeTexts(t, g, func(o *op) { o.Until = o.Until.Add(60 * day) })
		prepare(t, g)
		for _, o := range outboxOf(t, g) {
			if o.Message != nil && o.Until.After(time.Now()) {
				t.Errorf("the relay is taken to have it until %v", o.Until)
			}
		}
		w.take(k)
		err := k.change("G", func(w *work, c *contact) error {
			for i := range c.Session.Due {
				c.Session.Due[i].At = c.Session.Due[i].At.Add(60 * day)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		w.take(k)
		w.take(g)
		w.wantState(g, StateDelivered, sent)
	})
}

// A stranger's receipt waits for the hour, also if the clock goes back a little meanwhile.
func TestAStrangersReceiptWaitsForTheHour(t *testing.T) {
	now := time.Date(2030, 1, 1, 10, 0, 0, 5e8, time.UTC)
	s := &session{}
	s.owe(&work{now: now}, &contact{}, receipt{Seq: 1})
	for _, at := range []time.Duration{-time.Minute, -time.Second, 0, 59 * time.Minute} {
		if s.isDue(now.Add(at)) {
			t.Errorf("due %v later", at)
		}
	}
	if !s.isDue(now.Add(time.Hour)) {
		t.Error("not due after the hour")
	}
}
