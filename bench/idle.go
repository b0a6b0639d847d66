package main

import (
	"fmt"
	"sync"
	"syscall"
	"time"
)

// idle opens connections whose link is up, and divides what the server's memory
// grew by; then the same once each reads a queue of its own.
func idle(n int) error {
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		return err
	}
	lim.Cur = lim.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		return err
	}
	s, err := start("kin")
	if err != nil {
		return err
	}
	defer s.stop()
	if _, err := connect(s, 80); err != nil { // what the first ones alone cost
		return err
	}
	before, err := s.memory()
	if err != nil {
		return err
	}
	all, err := connect(s, n)
	if err != nil {
		return err
	}
	report := func(what string) error {
		time.Sleep(time.Second)
		after, err := s.memory()
		if err == nil {
			fmt.Printf("%d idle connections%s: %d bytes of the relay's RSS each (%.1f MiB before, %.1f after)\n",
				n, what, (after-before)/int64(n), float64(before)/(1<<20), float64(after)/(1<<20))
		}
		return err
	}
	if err := report(""); err != nil {
		return err
	}
	err = eight(n, func(i int) error {
		ids, key, err := all[i].newQueue(s, [32]byte{1})
		if err == nil {
			_, err = all[i].subscribe(ids.Receiver, key)
		}
		return err
	})
	if err != nil {
		return err
	}
	return report(", each with a queue that it reads, the queue's own record included")
}

// eight does n things, eight at a time.
func eight(n int, f func(i int) error) error {
	var all sync.WaitGroup
	errs := make(chan error, 8)
	for w := range 8 {
		all.Go(func() {
			for i := w; i < n; i += 8 {
				if err := f(i); err != nil {
					errs <- err
					return
				}
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

func connect(s *server, n int) ([]*client, error) {
	all := make([]*client, n)
	err := eight(n, func(i int) (err error) {
		all[i], err = dial(s)
		return err
	})
	return all, err
}

// memory is what the server holds when it has given back what it does not use.
func (s *server) memory() (int64, error) {
	for range 3 { // what one collection frees, the next one returns
		if err := s.trim(); err != nil {
			return 0, err
		}
	}
	return s.resident()
}
