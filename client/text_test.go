package client

import (
	"cmp"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"kin/protocol"
)

// Who reads one session, and knows what was said in it, keeps nothing from being shown that
// is said in another under the same id; and what is the same is shown once.
func TestOneIDInTwoSessions(t *testing.T) {
	const ends = 9 // of the replaced session
	type piece struct {
		session      int // 1: the one in use; 0: the one that it replaced; -1: an earlier one
		index, count uint16
		text         string
		kind         byte
	}
	for name, c := range map[string]struct {
		came []piece
		want []string
	}{
		"the same":                      {[]piece{{0, 0, 0, "a", 0}, {1, 0, 0, "a", 0}}, []string{"a"}},
		"another":                       {[]piece{{0, 0, 0, "x", 0}, {1, 0, 0, "a", 0}}, []string{"x", "a"}},
		"another, late":                 {[]piece{{1, 0, 0, "a", 0}, {0, 0, 0, "x", 0}}, []string{"a", "x"}},
		"the same, twice in one":        {[]piece{{1, 0, 0, "a", 0}, {1, 0, 0, "a", 0}}, []string{"a", "a"}},
		"of a kind that is not known":   {[]piece{{0, 0, 0, "", 9}, {1, 0, 0, "", 0}}, []string{"[newer]", ""}},
		"parts, the same":               {[]piece{{0, 0, 2, "a", 0}, {0, 1, 2, "b", 0}, {1, 0, 2, "a", 0}, {1, 1, 2, "b", 0}}, []string{"ab"}},
		"parts, others":                 {[]piece{{0, 0, 2, "x", 0}, {0, 1, 2, "b", 0}, {1, 0, 2, "a", 0}, {1, 1, 2, "b", 0}}, []string{"xb", "ab"}},
		"a part that is missing":        {[]piece{{0, 0, 2, "a", 0}, {1, 0, 2, "a", 0}, {1, 1, 2, "b", 0}}, []string{"ab"}},
		"a part that is another":        {[]piece{{0, 0, 2, "x", 0}, {1, 0, 2, "a", 0}, {1, 1, 2, "b", 0}}, []string{"ab"}},
		"a part that is another, late":  {[]piece{{1, 0, 2, "a", 0}, {0, 0, 2, "x", 0}, {1, 1, 2, "b", 0}}, []string{"ab"}},
		"a part of another in between":  {[]piece{{0, 0, 2, "a", 0}, {1, 0, 2, "x", 0}, {0, 1, 2, "b", 0}}, []string{"ab"}},
		"by turns, the same":            {[]piece{{0, 0, 2, "a", 0}, {1, 0, 2, "a", 0}, {0, 1, 2, "b", 0}, {1, 1, 2, "b", 0}}, []string{"ab"}},
		"by turns, the same, old first": {[]piece{{1, 0, 2, "a", 0}, {0, 0, 2, "a", 0}, {0, 1, 2, "b", 0}, {1, 1, 2, "b", 0}}, []string{"ab"}},
		"by turns, and the old one ends": {[]piece{{1, 0, 2, "a", 0}, {0, 0, 2, "a", 0}, {0, 1, 2, "b", 0}, {ends, 0, 0, "", 0}, {1, 1, 2, "b", 0}},
			[]string{"ab"}},
		"a part of another count": {[]piece{{1, 0, 2, "a", 0}, {1, 1, 3, "x", 0}, {1, 1, 2, "b", 0}}, []string{"ab"}},
		"of three":                {[]piece{{-1, 0, 0, "x", 0}, {0, 0, 0, "a", 0}, {1, 0, 0, "a", 0}}, []string{"x", "a"}},
		"by turns, others":        {[]piece{{1, 0, 2, "a", 0}, {0, 0, 2, "x", 0}, {0, 1, 2, "b", 0}, {1, 1, 2, "b", 0}}, []string{"xb", "ab"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := lone(t)
			said, at := uuid.New(), time.Now()
			var err error
			for i, piece := range c.came {
				err = errors.Join(err, p.update(nil, func(w *work) error {
					c, err := w.find("G")
					switch {
					case err != nil:
						return err
					case piece.session == ends:
						err := w.endSession(c.Old[1])
						c.Old = c.Old[:1]
						return err
					}
					b := &body{kind: kindText + kind(piece.kind), id: said, seq: uint64(i + 1), sent: at, deadline: at.Add(time.Hour)}
					b.items.index, b.items.count, b.items.text = piece.index, piece.count, []byte(piece.text)
					return w.takeText(c, c.sessions()[min(len(c.Old), 2+piece.session-1)], b)
				}))
			}
			var got []string
			for _, m := range news(t, p) {
				if m.Note != "" {
					m.Text = "[" + m.Note + "]"
				}
				got = append(got, m.Text)
			}
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%q; want %q", got, c.want)
			}
		})
	}
}

// lone is a profile with a contact G, who has two replaced sessions and one in use.
func lone(t *testing.T) *Profile {
	t.Helper()
	p, err := makeProfile(filepath.Join(t.TempDir(), "p"), []byte("x"), cheap, 30*24*time.Hour, &self{Name: "P"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	err = p.update(nil, func(w *work) error {
		c := w.addContact("G")
		for i := range 3 {
			s := &session{ID: newID(), In: inQueue{Receiver: protocol.ID{byte(i + 1)}}}
			c.Old, c.Session = append(c.Old, c.Session), s
		}
		c.Old = c.Old[1:]
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// news is what is new.
func news(t *testing.T, p *Profile) (ms []Message) {
	t.Helper()
	_, err := p.ShowNew("G", func(all []Message) error {
		ms = all
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return ms
}

// A text is shown as from somebody whose identity is checked if each part of it is: not if
// the last of them came once its session was replaced.
func TestEachPartOfATextIsChecked(t *testing.T) {
	for name, c := range map[string]struct {
		replaced, want bool
	}{"all": {false, true}, "but for the last": {true, false}} {
		t.Run(name, func(t *testing.T) {
			p := lone(t)
			said := uuid.New()
			for i := range uint16(2) {
				err := p.update(nil, func(w *work) error {
					c1, err := w.find("G")
					if err != nil {
						return err
					}
					s := c1.Session
					if c.replaced && i > 0 {
						s = c1.Old[len(c1.Old)-1]
					}
					c1.Checked = true
					b := &body{kind: kindText, id: said, seq: uint64(i + 1), sent: w.now, deadline: w.now.Add(time.Hour)}
					b.items.index, b.items.count, b.items.text = i, 2, []byte("a")
					if err := w.takeText(c1, s, b); err != nil {
						return err
					}
					if c.replaced && i == 0 {
						if err := c1.adopt(w, &session{ID: newID()}); err != nil {
							return err
						}
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			rows := 0
			if err := p.view(func(w *work) error {
				return eachRecord(w, tableMessage, func([]byte, *row) error { rows++; return nil })
			}); err != nil || rows != 1 {
				t.Errorf("%d rows, %v", rows, err)
			}
			if ms := news(t, p); len(ms) != 1 || ms[0].IdentityChecked != c.want {
				t.Errorf("%+v; want it checked: %v", ms, c.want)
			}
		})
	}
}

// What stands for a text that can't be shown is as little from somebody whose identity is
// checked, in a replaced session, as a text is.
func TestANoteOfAReplacedSessionIsNotChecked(t *testing.T) {
	p := lone(t)
	err := p.update(nil, func(w *work) error {
		c, err := w.find("G")
		if err != nil {
			return err
		}
		c.Checked = true
		for _, s := range c.sessions() {
			s.Missing.add(1, 1)
			b := &body{kind: kindControl, id: uuid.New(), seq: 2, sent: w.now, deadline: w.now.Add(time.Hour)}
			b.items.takenBack = []uint64{1}
			if err := errors.Join(w.note(c, s, NoteLost, 3), w.takeBody(c, s, b, 0)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []bool
	for _, m := range news(t, p) {
		got = append(got, m.IdentityChecked)
	}
	if want := []bool{false, false, false, false, true, true}; !slices.Equal(got, want) {
		t.Errorf("checked: %v; want %v", got, want)
	}
}

// Who reads one session, and says there what was said in another, but for when or how urgent,
// keeps that from nobody.
func TestWhatIsNotTheSameIsShown(t *testing.T) {
	for name, twist := range map[string]func(*body){
		"urgent": func(b *body) { b.flags = 0 },
		"sent":   func(b *body) { b.sent = b.sent.Add(-7 * 24 * time.Hour) },
		"until":  func(b *body) { b.deadline = b.deadline.Add(-7 * 24 * time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			p := lone(t)
			said := uuid.New()
			for i := range 2 {
				if err := p.update(nil, func(w *work) error {
					c, err := w.find("G")
					if err != nil {
						return err
					}
					b := &body{kind: kindText, id: said, seq: uint64(i + 1), sent: w.now.Truncate(24 * time.Hour), deadline: w.now.Truncate(24 * time.Hour).Add(48 * time.Hour), flags: flagUrgent}
					b.items.text = []byte("meet me at the bridge in an hour")
					if i == 0 {
						twist(b)
					}
					return w.takeText(c, c.sessions()[i+1], b)
				}); err != nil {
					t.Fatal(err)
				}
			}
			if ms := news(t, p); len(ms) != 2 {
				t.Errorf("%d shown: %+v", len(ms), ms)
			}
		})
	}
}

// What came of a text is kept for as long as the rest can come, whatever the days that are
// kept: its receipts are out. Then the rest gets none, and the text never counts as delivered.
func TestPartsOutliveTheRetentionDays(t *testing.T) {
	long := strings.Repeat("x", 2000)
	for name, c := range map[string]struct {
		after time.Duration
		shown string
		state State
	}{"in time": {3 * day, long, StateDelivered}, "too late": {29 * day, NoteLost, StateExpiredUnread}} {
		t.Run(name, func(t *testing.T) {
			inTown(t, func(t *testing.T, w *town) {
				k, _ := w.couple()
				h, err := makeProfile(filepath.Join(t.TempDir(), "h"), []byte("correct horse"), cheap, day, &self{Name: "H"}, w.dial)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(h.Close)
				w.join(k, h, "H")
				sent, err := k.Send(t.Context(), "H", long, SendOptions{QueueOnly: true})
				if err != nil {
					t.Fatal(err)
				}
				parts := outboxOf(t, k)
				w.cut()
				give(t, h, "K", parts[0].Envelope)
				time.Sleep(c.after)
				prepare(t, h)
				give(t, h, "K", parts[1].Envelope)
				give(t, h, "K", parts[1].Envelope)
				prepare(t, h) // what is whole today is kept from today
				var got []string
				if _, err := h.ShowNew("K", func(ms []Message) error { got = append(got, ms[0].Text+ms[0].Note); return nil }); err != nil {
					t.Fatal(err)
				}
				w.want(got, c.shown)
				if err := h.update(nil, func(w *work) error {
					c, err := w.find("K")
					if err == nil {
						_, err = w.sealReceipts(c, c.Session)
					}
					return err
				}); err != nil {
					t.Fatal(err)
				}
				for _, o := range outboxOf(t, h) {
					give(t, k, "H", o.Envelope)
				}
				w.wantState(k, c.state, sent)
			})
		})
	}
}

// outboxOf is what is in the outbox, in the order of its numbers.
func outboxOf(t *testing.T, p *Profile) (ops []*op) {
	t.Helper()
	err := p.view(func(w *work) error {
		return eachRecord(w, tableOutbox, func(_ []byte, o *op) error { ops = append(ops, o); return nil })
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(ops, func(a, b *op) int { return cmp.Compare(a.Seq, b.Seq) })
	return ops
}

// give has a profile take an envelope of a contact's.
func give(t *testing.T, p *Profile, label string, envelope []byte) {
	t.Helper()
	err := p.update(nil, func(w *work) error {
		c, err := w.find(label)
		if err == nil {
			_, err = w.take(c.ID, c.Session.In.Receiver, envelope)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// prepare has a profile do what time asks for.
func prepare(t *testing.T, p *Profile) Report {
	t.Helper()
	var r Report
	if _, err := p.prepare(&r); err != nil {
		t.Fatal(err)
	}
	return r
}
