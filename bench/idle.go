package main

import (
	"fmt"
	"sync"
	"syscall"
	"time"
)

// idle opens connections whose link is up, and divides what the server's memory
// grew by.
func idle(n int) error {
	var lim syscall.Rlimit
	syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim)
	lim.Cur = lim.Max
	syscall.Setrlimit(syscall.RLIMIT_NOFILE, &lim)
	s, err := start("kin")
	if err != nil {
		return err
	}
	defer s.stop()
	connect := func(n int) error {
		var all sync.WaitGroup
		errs := make(chan error, 8)
		for range 8 {
			all.Go(func() {
				for range n / 8 {
					c, err := dial(s)
					if err != nil {
						errs <- err
						return
					}
					keep(c)
				}
			})
		}
		all.Wait()
		select {
		case err := <-errs:
			return err
		default:
			return nil
		}
	}
	memory := func() (int64, error) {
		for range 3 { // what a collection frees, the next one returns
			if err := s.trim(); err != nil {
				return 0, err
			}
		}
		return s.resident()
	}
	if err := connect(80); err != nil { // what the first ones alone cost
		return err
	}
	before, err := memory()
	if err != nil {
		return err
	}
	if err := connect(n); err != nil {
		return err
	}
	time.Sleep(time.Second)
	after, err := memory()
	if err != nil {
		return err
	}
	fmt.Printf("%d idle connections: %d bytes of the relay's RSS each (%.1f MiB before, %.1f after)\n",
		n, (after-before)/int64(n), float64(before)/(1<<20), float64(after)/(1<<20))
	return nil
}

var (
	keptMu sync.Mutex
	kept   []*client
)

func keep(c *client) {
	c.buf, c.out = [3][]byte{}, nil
	keptMu.Lock()
	defer keptMu.Unlock()
	kept = append(kept, c)
}
