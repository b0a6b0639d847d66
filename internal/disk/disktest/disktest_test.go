package disktest

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// What was cut off and grew again is zeros, and stays so when the power fails after
// the next sync.
func TestCutOffAndGrownIsZeros(t *testing.T) {
	d := New()
	f, err := d.Create("f")
	if err != nil {
		t.Fatal(err)
	}
	write := func(b []byte) {
		t.Helper()
		if _, err := f.WriteAt(b, 0); err != nil {
			t.Fatal(err)
		}
	}
	then := func(step func() error) {
		t.Helper()
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	write(bytes.Repeat([]byte{1}, 4096))
	then(f.Sync)
	then(func() error { return d.SyncDir(".") })
	then(func() error { return f.Truncate(1000) })
	then(func() error { return f.Truncate(4096) })
	then(f.Sync)
	g, err := d.AfterPowerLoss(rand.New(rand.NewPCG(1, 1))).Open("f")
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4096)
	if _, err := g.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	if want := append(bytes.Repeat([]byte{1}, 1000), make([]byte, 3096)...); !bytes.Equal(b, want) {
		t.Fatal("something came back")
	}
}
