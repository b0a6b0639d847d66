package spool

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"kin/internal/disk/disktest"
)

// jumps are how wrong a clock may be.
var jumps = []time.Duration{0, time.Minute, time.Hour, 24 * time.Hour, 14 * 24 * time.Hour, 30 * 24 * time.Hour, 365 * 24 * time.Hour, 10 * 365 * 24 * time.Hour}

// at runs f where it is so late, on a bubble's clock.
func at(t *testing.T, when time.Time, f func(t *testing.T)) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(when))
		f(t)
	})
}

// TestClockJumps: a relay is started again with a clock that is wrong, sweeps, and is started
// once more with the right one. No envelope is expired earlier than it should by more than
// the jump; before 2024 none is; and after a sweep by the right clock none is there whose time is over, nor its
// epoch's key.
func TestClockJumps(t *testing.T) {
	right := time.Date(2026, 3, 1, 12, 30, 0, 0, time.UTC)
	lives := []time.Duration{0, time.Hour, 2 * time.Hour, 23 * time.Hour, 72 * time.Hour, 13 * 24 * time.Hour, 336 * time.Hour}
	kept, expired := 0, 0
	for _, jump := range jumps {
		for _, sign := range []time.Duration{1, -1} {
			wrong := right.Add(sign * jump)
			if jump > 9*365*24*time.Hour && sign < 0 {
				wrong = time.Date(2000, 1, 1, 0, 30, 0, 0, time.UTC) // as early as a bubble's clock can be
			}
			w := newWorld(rand.New(rand.NewPCG(1, 8)), disktest.New())
			open := func(t *testing.T) {
				t.Helper()
				if err := w.open(); err != nil {
					t.Fatal(err)
				}
			}
			at(t, right, func(t *testing.T) {
				open(t)
				for i, life := range lives {
					p := &promised{Put: envelope(byte(i))}
					p.Expiry = EpochOf(right.Add(life), time.Hour)
					w.put = append(w.put, p)
					w.spool.Put(QueueID{}, Put{p.ID, p.Expiry, false, bytes.Clone(p.Body), w.spool.Told()}, func(err error) {
						if err != nil {
							t.Error(err)
						}
					})
				}
				w.spool.Close()
			})
			at(t, wrong, func(t *testing.T) {
				open(t)
				err := w.spool.Sweep(time.Now())
				if before := wrong.Before(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)); before != errors.Is(err, ErrClock) || !before && err != nil {
					t.Errorf("a sweep at %v: %v", wrong, err)
				}
				for _, p := range w.put {
					// It is over at the end of its epoch; the sweep came at wrong, while it was right.
					early := time.Unix(int64(p.Expiry+1)*3600, 0).Sub(right)
					there := w.there(p)
					switch {
					case !there && (sign < 0 || early > jump):
						t.Errorf("the clock at %v: an envelope with %v left has expired", wrong, early)
					case !there:
						expired++
					default:
						kept++
					}
					p.must = there
				}
				w.spool.Close()
			})
			for _, later := range lives {
				at(t, right.Add(later+time.Hour), func(t *testing.T) {
					open(t)
					var keys [][]byte
					for n, k := range w.spool.epochs.keys {
						if n < EpochOf(time.Now(), time.Hour) {
							keys = append(keys, bytes.Clone(k.key[:]))
						}
					}
					if err := w.spool.Sweep(time.Now()); err != nil {
						t.Error(err)
					}
					for _, p := range w.put {
						over := p.Expiry < EpochOf(time.Now(), time.Hour)
						if over && w.there(p) {
							t.Errorf("after the clock was at %v: an envelope that has expired is there", wrong)
						}
						if !over && p.must && !w.there(p) {
							t.Errorf("after the clock was at %v: an envelope is lost", wrong)
						}
					}
					for _, k := range keys {
						if w.fs.Contains("epochs", k) {
							t.Errorf("after the clock was at %v: the key of an expired epoch is on the disk", wrong)
						}
					}
					w.spool.Close()
				})
			}
		}
	}
	t.Logf("%d clocks, 1 minute to 10 years wrong: %d envelopes kept, %d expired early by no more than the jump, none kept past a sweep by the right clock", 2*len(jumps), kept, expired)
}

func (w *world) there(p *promised) bool {
	for _, r := range w.spool.Next(QueueID{}, 0, 100) {
		if bytes.Equal(r.Body, p.Body) {
			return true
		}
	}
	return false
}

// TestClockThatIsYearsWrongTakesNothing: what is put then is refused, so that its
// sender keeps it.
func TestClockThatIsYearsWrongTakesNothing(t *testing.T) {
	right := time.Date(2026, 3, 1, 12, 30, 0, 0, time.UTC)
	for _, years := range []int{-10, 10} {
		w := newWorld(rand.New(rand.NewPCG(1, 9)), disktest.New())
		at(t, right.AddDate(years, 0, 0), func(t *testing.T) {
			if err := w.open(); err != nil {
				t.Fatal(err)
			}
			p := envelope(1)
			p.Expiry = EpochOf(right, time.Hour) + 72
			var got error
			w.spool.Put(QueueID{}, p, func(err error) { got = err })
			synctest.Wait()
			if want := map[int]error{-10: ErrClock, 10: ErrExpiry}[years]; !errors.Is(got, want) {
				t.Errorf("%d years: %v; want %v", years, got, want)
			}
			w.spool.Close()
		})
	}
}

// TestAClockBefore2024StoresNothing: a sweep does not believe it either, and by the right one
// what was put would have expired.
func TestAClockBefore2024StoresNothing(t *testing.T) {
	for when, want := range map[time.Time]error{
		time.Date(2000, 1, 1, 0, 10, 0, 0, time.UTC):    ErrClock, // a board whose clock has no battery
		time.Date(2023, 12, 31, 23, 59, 0, 0, time.UTC): ErrClock,
		time.Date(2024, 1, 1, 0, 1, 0, 0, time.UTC):     nil,
	} {
		w := newWorld(rand.New(rand.NewPCG(1, 8)), disktest.New())
		at(t, when, func(t *testing.T) {
			if err := w.open(); err != nil {
				t.Fatal(err)
			}
			p := envelope(1)
			p.Told = w.spool.Told()
			w.spool.Put(QueueID{}, p, func(err error) {
				if !errors.Is(err, want) {
					t.Errorf("at %v: %v; want %v", when, err, want)
				}
			})
			w.spool.Close()
		})
	}
}

// TestAnEpochEndsWhileMuchIsMoved: on a disk whose syncs take ten minutes.
func TestAnEpochEndsWhileMuchIsMoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin()
		w := &watched{}
		s := &stand{t: t, dir: t.TempDir(), fs: w, max: 1000}
		s.open()
		defer s.slots.Close()
		s.spool.SegmentSize = minSegment
		ends := now() + 1
		for i := range byte(200) {
			p := envelope(i)
			if i%50 > 0 {
				p.Expiry = ends - 1 // they leave segments to be moved
			} else {
				p.Expiry = ends + 40
			}
			s.mustPut(1, p)
		}
		last := envelope(250)
		last.Expiry = ends
		s.mustPut(2, last)
		time.Sleep(time.Hour) // ends begins
		w.fail = func(op string) error {
			if op == "sync" {
				time.Sleep(10 * time.Minute)
			}
			return nil
		}
		if err := s.spool.Sweep(time.Now()); err != nil {
			t.Fatal(err)
		}
		w.fail = nil
		if now() <= ends {
			t.Fatal("nothing was moved for so long")
		}
		if s.spool.Waiting(QueueID{2}) > 0 {
			t.Error("the key of an epoch is there behind its end")
		}
		s.want(4)
		s.spool.Close()
	})
}
