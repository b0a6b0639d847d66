package gauge

import (
	"bufio"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

func pairs(k *Kind, o order) ([]Pair, error) {
	all := make([]Pair, o.Pairs)
	err := Eight(o.Pairs, func(i int) (err error) {
		all[i], err = k.Pair(o.Announced, o.First+i)
		return err
	})
	return all, err
}

// Eight does n things, eight at a time.
func Eight(n int, f func(i int) error) error {
	var all sync.WaitGroup
	errs := make([]error, 8)
	for w := range errs {
		all.Go(func() {
			for i := w; i < n && errs[w] == nil; i += len(errs) {
				errs[w] = f(i)
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

func message() []byte {
	b := make([]byte, Size)
	rand.Read(b)
	return b
}

// throughput has every sender keep Outstanding messages under way.
func throughput(k *Kind, o order) (Result, error) {
	all, err := pairs(k, o)
	if err != nil {
		return Result{}, err
	}
	var count atomic.Int64
	failed := make(chan error, 2*len(all))
	for _, p := range all {
		go func() {
			for {
				if err := p.Receive(func([]byte) { count.Add(1) }); err != nil {
					failed <- err
					return
				}
			}
		}()
		go func() {
			b := message()
			messages := make([][]byte, Outstanding)
			for i := range messages {
				messages[i] = b
			}
			for free := Outstanding; ; {
				err := p.Put(messages[:free])
				if err == nil {
					free, err = p.Answered()
				}
				if err != nil {
					failed <- err
					return
				}
			}
		}()
	}
	for end := time.Now().Add(time.Minute); count.Load() == 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(o.For / 3)
	first, cpu, begun := count.Load(), CPU(o.PID), time.Now()
	time.Sleep(o.For)
	for count.Load() == first && time.Since(begun) < time.Minute { // one that syncs each message may take longer
		time.Sleep(o.For)
	}
	n, took := count.Load()-first, time.Since(begun)
	cpu = CPU(o.PID) - cpu
	select {
	case err := <-failed:
		return Result{}, err
	default:
	}
	if n == 0 {
		return Result{}, errors.New("nothing arrived")
	}
	return Result{Rate: float64(n) / took.Seconds(), CPU: cpu / time.Duration(n)}, nil
}

// latency sends at an even pace, whatever the answers, and takes the time from when
// a message is due until its receiver has it.
func latency(k *Kind, o order) (Result, error) {
	all, err := pairs(k, o)
	if err != nil {
		return Result{}, err
	}
	var mu sync.Mutex
	var took []time.Duration
	begun := time.Now().Add(100 * time.Millisecond)
	failed := make(chan error, 3*len(all))
	var sent sync.WaitGroup
	total := o.Rate * int(o.For/time.Second)
	var arrived atomic.Int64
	for i, p := range all {
		free := make(chan struct{}, Outstanding)
		for range Outstanding {
			free <- struct{}{}
		}
		go func() {
			for {
				err := p.Receive(func(b []byte) {
					t := time.Since(begun) - time.Duration(binary.BigEndian.Uint64(b))
					mu.Lock()
					took = append(took, t)
					mu.Unlock()
					arrived.Add(1)
				})
				if err != nil {
					failed <- err
					return
				}
			}
		}()
		go func() {
			for {
				n, err := p.Answered()
				if err != nil {
					failed <- err
					return
				}
				for range n {
					free <- struct{}{}
				}
			}
		}()
		sent.Go(func() {
			for n := i; n < total; n += len(all) {
				due := time.Duration(n) * time.Second / time.Duration(o.Rate)
				time.Sleep(time.Until(begun.Add(due)))
				<-free
				b := message()
				binary.BigEndian.PutUint64(b, uint64(due))
				if err := p.Put([][]byte{b}); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	sent.Wait()
	for end := time.Now().Add(10 * time.Second); arrived.Load() < int64(total) && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	select {
	case err := <-failed:
		return Result{}, err
	default:
	}
	mu.Lock()
	defer mu.Unlock()
	if len(took) < total {
		return Result{}, fmt.Errorf("%d of %d messages arrived", len(took), total)
	}
	slices.Sort(took)
	return Result{P50: took[len(took)/2], P99: took[len(took)*99/100]}, nil
}

// idle opens connections that only wait, and divides what the server's memory grew
// by. The first hundred, which cost what the first alone cost, are not counted.
func idle(k *Kind, o order) (Result, error) {
	if err := RaiseLimit(); err != nil {
		return Result{}, err
	}
	all := make([]io.Closer, 100+o.Count)
	connect := func(from, to int) (int64, error) {
		err := Eight(to-from, func(i int) (err error) {
			all[from+i], err = k.Connect(o.Announced)
			return err
		})
		if err != nil {
			return 0, err
		}
		time.Sleep(time.Second)
		if err := trim(); err != nil {
			return 0, err
		}
		return Status(o.PID, "VmRSS")
	}
	before, err := connect(0, 100)
	if err != nil {
		return Result{}, err
	}
	after, err := connect(100, len(all))
	return Result{Memory: (after - before) / int64(o.Count)}, err
}

// RaiseLimit lets this process have as many descriptors as it may.
func RaiseLimit() error {
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		return err
	}
	lim.Cur = lim.Max
	return syscall.Setrlimit(syscall.RLIMIT_NOFILE, &lim)
}

// trim has the server give back what it does not use; the parent passes it on.
func trim() error {
	fmt.Println("trim")
	_, err := bufio.NewReader(os.Stdin).ReadString('\n')
	return err
}

// fill stores messages that nobody receives.
func fill(k *Kind, o order) error {
	all, err := pairs(k, o)
	if err != nil {
		return err
	}
	return Eight(len(all), func(i int) error {
		b := message()
		each := o.Count / len(all)
		for sent, answered := 0, 0; answered < each; {
			var more [][]byte
			for len(more)+sent-answered < Outstanding && sent+len(more) < each {
				more = append(more, b)
			}
			sent += len(more)
			if err := all[i].Put(more); err != nil {
				return err
			}
			n, err := all[i].Answered()
			if err != nil {
				return err
			}
			answered += n
		}
		return nil
	})
}
