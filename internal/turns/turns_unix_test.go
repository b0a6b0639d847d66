//go:build unix

package turns

import (
	"os"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// TestATurnComesAfterWhatHasArrived: who takes one turn after the other keeps nobody
// waiting for whom bytes are here.
func TestATurnComesAfterWhatHasArrived(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	of, err := Open(0, func() bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	defer of.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var heard atomic.Int64
	go func() {
		for b := make([]byte, 1); ; heard.Add(1) {
			if _, err := r.Read(b); err != nil {
				return
			}
		}
	}()
	defer w.Close()
	var waited []int // one may be long: of a thread that the system let wait
	for round := range int64(1000) {
		if _, err := w.Write([]byte{0}); err != nil {
			t.Fatal(err)
		}
		n := 0
		for ; heard.Load() == round; n++ {
			of.Wait()
		}
		waited = append(waited, n)
	}
	slices.Sort(waited)
	if n := waited[len(waited)/2]; n > 3 {
		t.Errorf("half of the bytes waited for %d turns of somebody else, and more", n)
	}
}

// TestATurnAsksWhoIsAway: threads that come back from the disk run before a turn is over,
// which takes asking at each whether there are any; but who asked the poller a moment ago
// need not do so again.
func TestATurnAsksWhoIsAway(t *testing.T) {
	for every, want := range map[time.Duration]int{0: 10, time.Hour: 1} {
		asked := 0
		of, err := Open(every, func() bool { asked++; return true })
		if err != nil {
			t.Fatal(err)
		}
		defer of.Close()
		for range 10 {
			of.Wait()
		}
		if asked != want {
			t.Errorf("every %v: asked %d times in 10 turns, want %d", every, asked, want)
		}
	}
}
