package slots

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"testing"

	"kin/internal/disk/disktest"
)

// TestPowerLossAtAnyOperation: what Set has promised is there after a kill or a
// power loss, what Destroy or Wipe has promised is in no version of any sector, and
// no slot holds anything that was never set.
func TestPowerLossAtAnyOperation(t *testing.T) {
	for seed := range uint64(3000) {
		if err := lives(rand.New(rand.NewPCG(seed, 2))); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

func lives(r *rand.Rand) error {
	const n = 3
	d := disktest.New()
	var made, wiped bool
	owed := map[int]string{}       // Set has returned
	maybe := map[int][]string{}    // Set or Destroy was under way
	destroyed := map[string]bool{} // Destroy or Wipe has returned
	for life := range 6 {
		d.StopAt(d.Ops() + 1 + r.IntN(12))
		f, err := Open(d, "keys")
		if errors.Is(err, fs.ErrNotExist) && !made {
			f, err = Create(d, "keys", n)
		}
		switch {
		case err == nil && !wiped:
			made = true
		case err == nil:
			return errors.New("a wiped file opens")
		case !errors.Is(err, ErrWiped) && !errors.Is(err, disktest.ErrStopped):
			return fmt.Errorf("life %d: %w", life, err)
		}
		for i := 0; err == nil && i < n; i++ {
			got, gerr := f.Get(i)
			if gerr != nil {
				break
			}
			if want, ok := owed[i]; ok && string(got) != want {
				return fmt.Errorf("slot %d holds %q, and Set had promised %q", i, got, want)
			}
			if got != nil && owed[i] != string(got) && !slices.Contains(maybe[i], string(got)) {
				return fmt.Errorf("slot %d holds %q", i, got)
			}
			if got == nil { // gone for good, since Open has synced; a torn one is destroyed
				blank, berr := f.Blank(i)
				if berr != nil || !blank && f.Destroy(i) != nil {
					break
				}
			} else {
				owed[i] = string(got)
			}
			delete(maybe, i)
		}
		for step := 0; err == nil && step < 6; step++ {
			i := r.IntN(n)
			key := fmt.Sprintf("key %d of %d in life %d, seed %d", step, i, life, r.Uint32())
			switch old, occupied := owed[i]; {
			case r.IntN(12) == 0:
				if err = Wipe(d, "keys"); err == nil {
					wiped = true
					for i := range n {
						destroyed[owed[i]] = true
					}
				}
				for i := range n {
					maybe[i] = append(maybe[i], owed[i])
				}
				clear(owed)
				if err == nil {
					err = ErrWiped
				}
			case occupied:
				maybe[i] = append(maybe[i], old)
				delete(owed, i)
				if err = f.Destroy(i); err == nil {
					destroyed[old] = true
					delete(maybe, i)
				}
			default:
				if len(maybe[i]) > 0 {
					continue
				}
				maybe[i] = append(maybe[i], key)
				if err = f.Set(i, []byte(key)); err == nil {
					owed[i] = key
					delete(maybe, i)
				}
			}
		}
		for key := range destroyed {
			if key != "" && d.Contains("keys", []byte(key)) {
				return fmt.Errorf("%q was destroyed and is on the disk", key)
			}
		}
		if r.IntN(3) == 0 {
			d = d.AfterKill()
		} else {
			d = d.AfterPowerLoss(r)
		}
	}
	return nil
}

// TestCreateThatFailed: whatever operation of Create fails, the next program makes a
// file that keeps its promises.
func TestCreateThatFailed(t *testing.T) {
	for op := 1; ; op++ {
		fails := disktest.New()
		fails.FailAt(op, errors.New("I/O error"))
		if _, err := Create(fails, "keys", 2); err == nil {
			if op < 5 {
				t.Fatalf("Create does %d operations", op)
			}
			return
		}
		for seed := range uint64(50) {
			d := disktest.New()
			d.FailAt(op, errors.New("I/O error"))
			Create(d, "keys", 2)
			d = d.AfterKill()
			f, err := Open(d, "keys")
			if errors.Is(err, fs.ErrNotExist) {
				f, err = Create(d, "keys", 2)
			}
			if err != nil {
				t.Fatalf("operation %d failed, then: %v", op, err)
			}
			if err := f.Set(1, []byte("key")); err != nil {
				t.Fatal(err)
			}
			f, err = Open(d.AfterPowerLoss(rand.New(rand.NewPCG(seed, 3))), "keys")
			if err != nil {
				t.Fatalf("operation %d failed, and after a power loss: %v", op, err)
			}
			if got, err := f.Get(1); err != nil || string(got) != "key" {
				t.Fatalf("operation %d failed, and after a power loss the key is %q, %v", op, got, err)
			}
		}
	}
}
