package slots

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"testing"

	"kin/internal/disk/disktest"
	"kin/proof/history"
)

var (
	histories = flag.Int("histories", 3000, "histories of the slot file to play")
	historyIn = flag.String("history", "", "file to which they are appended, for kin/proof/checker")
)

// TestPowerLossAtAnyOperation: what Set has promised is there after a kill or a
// power loss, what Destroy or Wipe has promised is in no version of any sector, and
// no slot holds anything that was never set.
func TestPowerLossAtAnyOperation(t *testing.T) {
	var log *history.Log
	if *historyIn != "" {
		var err error
		if log, err = history.Append(*historyIn); err != nil {
			t.Fatal(err)
		}
		defer log.Close()
	}
	for seed := range *histories {
		if log != nil {
			log.Write(history.Event{Kind: history.World, ID: fmt.Sprint(seed)})
		}
		if err := lives(rand.New(rand.NewPCG(uint64(seed), 2)), log); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

func lives(r *rand.Rand, log *history.Log) error {
	const n = 3
	d := disktest.New()
	// tell writes down what happened to the key of a slot, but not what a program does or
	// sees whose disk has stopped: it is dead.
	tell := func(k history.Kind, slot int, key string) {
		if log != nil && !d.Stopped() {
			h := history.Hash([]byte(key))
			log.Write(history.Event{Kind: k, Queue: fmt.Sprint("slot ", slot), ID: h, Hash: h})
		}
	}
	crash := func(state string) {
		if log != nil {
			log.Write(history.Event{Kind: history.Crash, State: state})
		}
	}
	all := map[string]int{} // every key that was ever set, and its slot
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
			tell(history.List, i, "")
			if got != nil {
				tell(history.Deliver, i, string(got))
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
			tell(history.Listed, i, "")
			delete(maybe, i)
		}
		for step := 0; err == nil && step < 6; step++ {
			i := r.IntN(n)
			key := fmt.Sprintf("key %d of %d in life %d, seed %d", step, i, life, r.Uint32())
			switch old, occupied := owed[i]; {
			case r.IntN(12) == 0:
				for i, key := range owed {
					tell(history.Ack, i, key)
				}
				if err = Wipe(d, "keys"); err == nil {
					for i := range n {
						tell(history.Flushed, i, "")
					}
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
				tell(history.Ack, i, old)
				if err = f.Destroy(i); err == nil {
					tell(history.Flushed, i, "")
					destroyed[old] = true
					delete(maybe, i)
				}
			default:
				if len(maybe[i]) > 0 {
					continue
				}
				maybe[i] = append(maybe[i], key)
				all[key] = i
				tell(history.Put, i, key)
				if err = f.Set(i, []byte(key)); err == nil {
					tell(history.OK, i, key)
					owed[i] = key
					delete(maybe, i)
				}
			}
		}
		for key, i := range all {
			if log != nil && d.Contains("keys", []byte(key)) {
				tell(history.Trace, i, key)
			}
		}
		for key := range destroyed {
			if key != "" && d.Contains("keys", []byte(key)) {
				return fmt.Errorf("%q was destroyed and is on the disk", key)
			}
		}
		if r.IntN(3) == 0 {
			d = d.AfterKill()
			crash("kill")
		} else {
			d = d.AfterPowerLoss(r)
			crash("power")
		}
	}
	return nil
}

// TestCreateThatFailed: whatever operations of Create fail, one or some in a row, the next
// program makes a file that keeps its promises.
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
		for seed := range uint64(200) {
			d := disktest.New()
			d.FailFrom(op, 1+int(seed%4), errors.New("I/O error"))
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
