//go:build unix

package turns

import (
	"os"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
)

// TestATurnComesAfterWhatHasArrived: who takes one turn after the other keeps nobody
// waiting for whom bytes are here.
func TestATurnComesAfterWhatHasArrived(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	of, err := Open()
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
	most := 0
	for round := range int64(1000) {
		if _, err := w.Write([]byte{0}); err != nil {
			t.Fatal(err)
		}
		n := 0
		for ; heard.Load() == round; n++ {
			of.Wait()
		}
		most = max(most, n)
	}
	if most > 3 {
		t.Errorf("a byte waited for %d turns of somebody else", most)
	}
}

// TestTurnsAreInOrder: nobody is passed over.
func TestTurnsAreInOrder(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // who starts first comes first
	of, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	defer of.Close()
	const people, times = 20, 50
	came := make(chan int, people*times)
	begin := make(chan struct{})
	for i := range people {
		go func() {
			<-begin
			for range times {
				of.Wait()
				came <- i
			}
		}()
	}
	close(begin)
	var rounds [times][]int
	for i := range people * times {
		rounds[i/people] = append(rounds[i/people], <-came)
	}
	for n, round := range rounds {
		if slices.Sort(round); !slices.Equal(round, rounds[0]) || len(slices.Compact(round)) != people {
			t.Fatalf("round %d: %v", n, round)
		}
	}
}
