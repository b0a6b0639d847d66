package client

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kin/client/vault"
)

// inScene runs f with a host who has been joined and their guest, people 0 and 1.
// The scene's model looks at everything that is stored at the end.
func inScene(t *testing.T, f func(*scene)) {
	v, err := vault.Create(filepath.Join(t.TempDir(), "p"), []byte("x"), cheap, 30*24*time.Hour, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	err = v.Update(dawn, func(tx *vault.Tx) error {
		sc := newScene(tx, 0, false)
		sc.gives(0, 1)
		f(sc)
		sc.restart()
		sc.check()
		return sc.err
	})
	if err != nil {
		t.Error(err)
	}
}

// gives delivers letters to a person.
func (sc *scene) gives(i int, seqs ...uint64) {
	for _, seq := range seqs {
		if sc.err == nil {
			sc.give(i, &sc.peer(i).letters[seq-1], "gives")
		}
	}
}

// history is what a person sees: texts, notes in brackets, a gap as stars before it.
func (sc *scene) history(t *testing.T, i int) string {
	t.Helper()
	c, err := sc.w.contact(sc.people[i].who)
	if err != nil {
		t.Fatal(err)
	}
	rows, _, err := sc.w.rows(c.ID, func(r *row) bool { return r.In && r.complete() })
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, r := range rows {
		m := r.message(sc.w, c)
		text := strings.Repeat("*", m.Gap) + m.Text
		if m.Note != "" {
			text += "[" + m.Note + "]"
		}
		out = append(out, text)
	}
	return strings.Join(out, " ")
}

func wantHistory(t *testing.T, sc *scene, i int, want string) {
	t.Helper()
	if got := sc.history(t, i); got != want {
		t.Errorf("the history is %.80q, should be %.80q", got, want)
	}
}

// A relay that keeps two texts back and gives the receipt behind them does not hide
// that they are missing.
func TestReceiptHidesNoGap(t *testing.T) {
	inScene(t, func(sc *scene) {
		sc.write(1, "one", DefaultUntil) // 2
		sc.write(1, "two", DefaultUntil) // 3
		sc.write(0, "hello", DefaultUntil)
		sc.gives(1, 1)
		sc.tell(1) // 4
		sc.write(1, "three", DefaultUntil)
		sc.gives(0, 4, 5)
		wantHistory(t, sc, 0, "**three")
		sc.gives(0, 2)
		wantHistory(t, sc, 0, "*three one")
	})
}

// A gap stands before every text that was whole after it: what was begun before, and
// overtaken, is shown where it became whole.
func TestGapStandsBeforeAnOvertakenText(t *testing.T) {
	inScene(t, func(sc *scene) {
		sc.write(1, "lost", DefaultUntil)                 // 2
		long := strings.Repeat("long ", 2*fragmentSize/5) // 3 and 4
		sc.write(1, long, DefaultUntil)                   //
		sc.write(1, "overtakes", DefaultUntil)            // 5
		sc.gives(0, 3, 5, 4)
		wantHistory(t, sc, 0, "*overtakes "+long)
		sc.gives(0, 2)
		wantHistory(t, sc, 0, "overtakes "+long+" lost")
	})
}

// A relay that keeps back a piece of a long text does not hide that it is missing.
func TestPieceHidesNoGap(t *testing.T) {
	inScene(t, func(sc *scene) {
		long := strings.Repeat("x", 3000)
		sc.write(1, long, DefaultUntil) // 2, 3 and 4
		sc.write(1, "short", DefaultUntil)
		sc.gives(0, 2, 4, 5)
		wantHistory(t, sc, 0, "*short")
		sc.gives(0, 3)
		wantHistory(t, sc, 0, "short "+long)
	})
}

// A message whose key died is told as lost once, however often a relay gives it.
func TestLostIsToldOnce(t *testing.T) {
	inScene(t, func(sc *scene) {
		sc.write(1, "one", DefaultUntil)
		sc.write(1, "two", DefaultUntil)
		sc.gives(0, 3)
		wantHistory(t, sc, 0, "*two")
		sc.pass(15 * 24 * time.Hour)
		sc.age()
		wantHistory(t, sc, 0, "two [lost]")
		sc.gives(0, 2, 2, 2)
		wantHistory(t, sc, 0, "two [lost]")
	})
}

// A message that comes 2,048 later than its turn does not make a newer one unknown:
// that one's repeat is no loss and nothing for the quarantine.
func TestLateMessageHidesNoDuplicate(t *testing.T) {
	inScene(t, func(sc *scene) {
		sc.fill(1, 2100)
		sc.gives(0, 2, 4, 2060, 3+2048, 3)
		before := sc.history(t, 0)
		sc.gives(0, 3+2048, 3+2048)
		wantHistory(t, sc, 0, before)
		if r := sc.people[0]; r.quarantined != 0 || r.lost != 0 {
			t.Errorf("%d in quarantine, %d lost", r.quarantined, r.lost)
		}
	})
}

// The keys of what was skipped die in a session that was replaced, too: a relay that
// says for ever that something waits there does not keep them alive.
func TestSkippedKeysOfAReplacedSessionDie(t *testing.T) {
	inScene(t, func(sc *scene) {
		sc.write(1, "one", DefaultUntil)
		sc.write(1, "two", DefaultUntil)
		sc.gives(0, 3)
		c, err := sc.w.contact(sc.people[0].who)
		if err != nil {
			t.Fatal(err)
		}
		c.Session, c.Old = nil, []*session{c.Session}
		sc.pass(15 * 24 * time.Hour)
		sc.age()
		c.Session, c.Old = c.Old[0], nil
		wantHistory(t, sc, 0, "two [lost]")
		sc.gives(0, 2)
	})
}
