package vault

import (
	"encoding/binary"
	"errors"
	"testing"
	"time"
)

// A profile that takes no new record takes new states of the old ones, Steps in a commit,
// and the days as they come.
func TestAFullProfileGoesOn(t *testing.T) {
	v, _ := newVault(t)
	key := func(n int) []byte { return binary.BigEndian.AppendUint16(nil, uint16(n)) }
	states := func(from, n int) error {
		return v.Update(noon, func(tx *Tx) error {
			for i := range n {
				if err := tx.PutRotating("session", key(from+i), []byte("state")); err != nil {
					return err
				}
			}
			return nil
		})
	}
	n := 0
	for _, step := range []int{100, 10, 1} {
		for ; ; n += step {
			if err := states(n, step); errors.Is(err, ErrFull) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
	}
	for day := range 3 * keep / (24 * time.Hour) {
		now := noon.Add(24 * time.Hour * day)
		err := v.Update(now, putUntil("message", "id", "update", Day(now)))
		if err == nil {
			err = states(0, Steps)
		}
		if err != nil {
			t.Fatalf("day %d with %d sessions: %v", day, n, err)
		}
		if _, err := v.Disappear(now); err != nil {
			t.Fatal(err)
		}
	}
}
