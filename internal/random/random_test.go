package random

import (
	"testing"
	"testing/cryptotest"
	"time"
)

// The same randomness makes the same moments, all of them in range.
func TestBelow(t *testing.T) {
	run := func() (out [1000]time.Duration) {
		cryptotest.SetGlobalRandom(t, 1)
		for i := range out {
			if out[i] = Below(time.Second); out[i] < 0 || out[i] >= time.Second {
				t.Fatal(out[i])
			}
		}
		return out
	}
	one := run()
	if one != run() {
		t.Error("not the same again")
	}
	var sum time.Duration
	for _, d := range one {
		sum += d
	}
	if mean := sum / 1000; mean < 450*time.Millisecond || mean > 550*time.Millisecond {
		t.Errorf("mean of %v below a second", mean)
	}
	if d := Below(1); d != 0 {
		t.Error(d)
	}
}
