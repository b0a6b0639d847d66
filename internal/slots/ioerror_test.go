package slots

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"syscall"
	"testing"

	"kin/internal/disk/disktest"
)

// TestIOErrorAtEveryOperation: whichever operation fails, the caller is told so with
// the disk's error; once it was repeated, what Set promised is there after a power
// loss, and what Destroy promised is in no version of any sector.
func TestIOErrorAtEveryOperation(t *testing.T) {
	failed, images := 0, 0
	for _, fault := range []error{syscall.EIO, syscall.ENOSPC} {
		for n := 1; ; n++ {
			d := disktest.New()
			d.FailAt(n, fault)
			told, owed, destroyed, err := failing(d, fault)
			if err != nil {
				t.Fatalf("%v at operation %d: %v", fault, n, err)
			}
			if d.Ops() < n {
				break
			}
			failed++
			if told != 1 {
				t.Fatalf("%v at operation %d was told %d times", fault, n, told)
			}
			for _, key := range destroyed {
				if d.Contains("keys", []byte(key)) {
					t.Fatalf("%v at operation %d: %q was destroyed and is on the disk", fault, n, key)
				}
			}
			for seed := range uint64(20) {
				images++
				f, err := Open(d.AfterPowerLoss(rand.New(rand.NewPCG(seed, uint64(n)))), "keys")
				if err != nil {
					t.Fatalf("%v at operation %d, after a power loss: %v", fault, n, err)
				}
				for i, want := range owed {
					if got, err := f.Get(i); err != nil || string(got) != want {
						t.Fatalf("%v at operation %d, after a power loss: slot %d holds %q, %v; want %q", fault, n, i, got, err, want)
					}
				}
			}
		}
	}
	if failed < 40 {
		t.Errorf("only %d operations failed", failed)
	}
	t.Logf("%d failed operations, each told, %d crash images after them, no violation", failed, images)
}

// failing makes and uses a slot file; what fails is repeated as Set's and Destroy's
// rules say.
func failing(d *disktest.FS, fault error) (told int, owed map[int]string, destroyed []string, err error) {
	var f *File
	try := func(do func() error, mend func() error) {
		if err != nil {
			return
		}
		if err = do(); err == nil {
			return
		}
		if !errors.Is(err, fault) {
			err = fmt.Errorf("not the disk's error: %w", err)
			return
		}
		told++
		if err = mend(); err == nil {
			err = do()
		}
	}
	nothing := func() error { return nil }
	try(func() (err error) { f, err = Create(d, "keys", 4); return err }, func() error {
		_, err := Open(d, "keys")
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return err
	})
	set := func(i int, key string) {
		try(func() error { return f.Set(i, []byte(key)) }, func() error { destroyed = append(destroyed, key); return f.Destroy(i) })
	}
	set(0, "the first key")
	set(1, "the second key")
	try(func() error { return f.SetAll(map[int][]byte{2: []byte("the third key"), 3: []byte("the fourth key")}) },
		func() error { return f.Destroy(2, 3) })
	try(func() error { return f.Destroy(0) }, nothing)
	try(func() error { return f.Destroy(2, 3) }, nothing)
	try(f.Renew, nothing)
	try(func() (err error) { f, err = Open(d, "keys"); return err }, nothing)
	set(0, "the fifth key")
	destroyed = []string{"the first key", "the third key", "the fourth key"}
	return told, map[int]string{0: "the fifth key", 1: "the second key"}, destroyed, err
}

// TestAWipeThatIsRepeatedBelievesNoCache: one of a wipe's operations fails, and it is done
// again. What it then says to be gone is in no version of any sector.
func TestAWipeThatIsRepeatedBelievesNoCache(t *testing.T) {
	for n := 1; ; n++ {
		d := disktest.New()
		f, err := Create(d, "keys", 4)
		if err == nil {
			err = f.Set(2, []byte("a key of an epoch"))
		}
		if err != nil {
			t.Fatal(err)
		}
		d.FailAt(d.Ops()+n, syscall.EIO)
		if err := Wipe(d, "keys"); err == nil {
			if n < 4 { // the mark and a slot, each with its sync
				t.Fatalf("only %d operations failed", n-1)
			}
			return
		}
		if err := Wipe(d, "keys"); err != nil {
			t.Fatalf("operation %d: %v", n, err)
		}
		if d.Contains("keys", []byte("a key of an epoch")) {
			t.Errorf("operation %d failed, and the wipe behind it left the key on the disk", n)
		}
	}
}
