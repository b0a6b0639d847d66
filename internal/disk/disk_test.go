package disk

import (
	"path/filepath"
	"testing"
)

// TestNobodyIsAwayAfterwards: what failed is over, too.
func TestNobodyIsAwayAfterwards(t *testing.T) {
	f, err := OS{}.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	use := func() (errs int) {
		b := make([]byte, 1)
		_, werr := f.WriteAt(b, 0)
		_, rerr := f.ReadAt(b, 0)
		for _, err := range []error{werr, rerr, f.Sync()} {
			if err != nil {
				errs++
			}
		}
		return errs
	}
	if n := use(); n != 0 {
		t.Errorf("%d of 3 operations failed", n)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if n := use(); n != 3 {
		t.Errorf("%d of 3 operations on a closed file failed", n)
	}
	if Away() {
		t.Error("somebody is away, and nobody does anything")
	}
}
