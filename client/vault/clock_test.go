package vault

import (
	"fmt"
	"testing"
	"time"
)

// TestClockJumps: a clock that goes back, to 1970 if need be, lets nothing disappear; one
// that goes ahead lets nothing disappear that is younger than keep and the jump; and once
// it is right, nothing is left that is older than keep. Of what is stored while
// the clock is wrong, the wrong day counts.
func TestClockJumps(t *testing.T) {
	const days = 40
	kept, gone := 0, 0
	for _, wrong := range []time.Time{time.Unix(0, 0), noon.AddDate(-10, 0, 0), noon.AddDate(0, 0, -1), noon.Add(time.Hour), noon.AddDate(0, 0, 7), noon.AddDate(10, 0, 0)} {
		v, dir := newVault(t)
		update(t, v, func(tx *Tx) error {
			for age := range days {
				if err := putUntil("m", fmt.Sprint(age), "hello", Day(noon)-uint32(age))(tx); err != nil {
					return err
				}
			}
			return nil
		})
		if _, err := v.Disappear(wrong); err != nil {
			t.Fatal(err)
		}
		left := content(t, v, "m")
		for age := range days {
			there := left[fmt.Sprint(age)] == "hello"
			jump := int(Day(wrong)) - int(Day(noon))
			if must := age+jump <= 30; must != there {
				t.Errorf("the clock at %v: a message of %d days is there: %t", wrong, age, there)
			}
			if there {
				kept++
			} else {
				gone++
			}
		}
		// Right again.
		v = reopen(t, dir, v.Key())
		if _, err := v.Disappear(noon); err != nil {
			t.Fatal(err)
		}
		left = content(t, v, "m")
		for age := range days {
			if left[fmt.Sprint(age)] != "" && age > 30 {
				t.Errorf("after the clock was at %v: a message of %d days is there", wrong, age)
			}
		}
		checkSlots(t, v)
	}
	t.Logf("6 clocks, from 1970 to 10 years ahead: %d messages kept, %d disappeared, none earlier than by the jump, none left over", kept, gone)
}

// TestClockThatWentBackRotates: what was deleted does not wait ten years for its rotation.
func TestClockThatWentBackRotates(t *testing.T) {
	v, _ := newVault(t)
	ahead := noon.AddDate(10, 0, 0)
	if err := v.Rotate(ahead); err != nil {
		t.Fatal(err)
	}
	update(t, v, put("t", "a", "1"))
	update(t, v, put("t", "a", "2"))
	if stale(t, v) {
		t.Error("the replaced value can still be read")
	}
}

// TestARotationThatWasCutOffIsDue: a program was killed between two commits of a
// rotation. Before, it counted as done, and a deleted message could be read for an
// hour more than was promised.
func TestARotationThatWasCutOffIsDue(t *testing.T) {
	for cut := 1; ; cut++ {
		v, dir := newVault(t)
		key := v.Key()
		update(t, v, put("t", "a", "1"))
		update(t, v, putUntil("m", "a", "hello", Day(noon)))
		if err := v.Rotate(noon); err != nil {
			t.Fatal(err)
		}
		update(t, v, func(tx *Tx) error { return tx.Delete("m", []byte("a")) })
		update(t, v, func(tx *Tx) error { return tx.Delete("t", []byte("a")) })
		later := noon.Add(2 * time.Hour)
		commits := 0
		v.hook = func(s step) {
			if s == stepDestroyed {
				if commits++; commits == cut {
					panic("killed")
				}
			}
		}
		killed := func() (killed bool) {
			defer func() { killed = recover() != nil }()
			if err := v.Rotate(later); err != nil {
				t.Error(err)
			}
			return false
		}()
		if !killed {
			if cut < 3 {
				t.Fatalf("a rotation of two keys has %d commits", cut-1)
			}
			return
		}
		w := reopen(t, dir, key)
		if err := w.Update(later.Add(time.Minute), put("t", "b", "1")); err != nil {
			t.Fatal(err)
		}
		if stale(t, w) {
			t.Errorf("killed after %d commits, and the next update did not rotate", cut)
		}
		w.Close()
	}
}

// stale tells whether a key is in use under which something was replaced or deleted.
func stale(t fataler, v *Vault) (found bool) {
	t.Helper()
	if err := v.View(func(tx *Tx) error {
		for _, e := range tx.root.slots {
			found = found || e.stale
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return found
}
