package main

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// TestARelayThatStandsStillIsNotCalledAlive: systemd hears nothing more of it, and starts
// it anew.
func TestARelayThatStandsStillIsNotCalledAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free, told := make(chan bool), 0
		ctx, cancel := context.WithCancel(t.Context())
		go watch(ctx, time.Second, func() { <-free }, func() { told++ })
		time.Sleep(time.Hour)
		if synctest.Wait(); told != 0 {
			t.Errorf("it was called alive %d times", told)
		}
		close(free)
		time.Sleep(10 * time.Second)
		if synctest.Wait(); told < 10 {
			t.Errorf("it goes on, and was called alive %d times in 10 s", told)
		}
		cancel()
	})
}
