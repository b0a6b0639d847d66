package client

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kin/client/vault"
)

var (
	schedules = flag.Int("schedules", 2000, "schedules of a malicious relay, without a network")
	seed      = flag.Uint64("seed", 0, "the first schedule's number")
)

// perScene is how many schedules begin in the same scene; one scene in longScene
// has a guest who has written 2,700 texts.
const (
	perScene  = 200
	longScene = 40
)

// TestMaliciousRelay has a relay lie in every way that it can, to people who are
// honest, and compares what they then see and store with a model. A schedule is a
// scene, up to 60 steps of people and of the relay, and up to 5 more of its own.
// What runs is the product's receiving and sending, in commits that are not made
// durable; the wire is TestMaliciousRelayOnTheWire's.
func TestMaliciousRelay(t *testing.T) {
	if testing.Short() { // as under the race detector
		*schedules = min(*schedules, 200)
	}
	empty := filepath.Join(t.TempDir(), "empty")
	v, err := vault.Create(empty, []byte("x"), cheap, 30*24*time.Hour, nil)
	if err != nil {
		t.Fatal(err)
	}
	key := v.Key()
	v.Close()
	var mu sync.Mutex
	counts := map[string]int{}
	total, scenes := 0, 0
	var next atomic.Uint64
	next.Store(*seed / perScene)
	end := *seed + uint64(*schedules)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for !t.Failed() {
				n := next.Add(1) - 1
				from, to := max(n*perScene, *seed), min((n+1)*perScene, end)
				if from >= to {
					return
				}
				dir := filepath.Join(t.TempDir(), fmt.Sprint(n))
				c, err := playScene(dir, empty, key, n, from, to)
				os.RemoveAll(dir)
				mu.Lock()
				for kind, k := range c {
					counts[kind] += k
				}
				total += int(to - from)
				scenes++
				mu.Unlock()
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	workers.Wait()
	t.Logf("%d schedules in %d scenes", total, scenes)
	for _, kind := range slices.Sorted(maps.Keys(counts)) {
		t.Logf("%9d %s", counts[kind], kind)
	}
}

var errForget = errors.New("nothing of this is kept")

// playScene makes scene n and plays the schedules from a number to another in it.
func playScene(dir, empty string, key []byte, n, from, to uint64) (map[string]int, error) {
	if err := os.CopyFS(dir, os.DirFS(empty)); err != nil {
		return nil, err
	}
	v, err := vault.OpenKey(dir, key)
	if err != nil {
		return nil, err
	}
	defer v.Close()
	var base *scene
	failed := func(sc *scene, seed uint64) error {
		return fmt.Errorf("%w\nschedule %d:\n  %s\nagain: go test ./client -run 'MaliciousRelay$' -args -seed %d -schedules 1",
			sc.err, seed, strings.Join(sc.trace, "\n  "), seed)
	}
	err = v.Update(dawn, func(tx *vault.Tx) error {
		base = newScene(tx, n, n%longScene == longScene-1)
		for range base.rng.IntN(60) {
			if base.err == nil {
				base.step(45)
			}
		}
		if base.err == nil {
			base.restart()
			base.check()
		}
		if base.err != nil {
			return failed(base, from)
		}
		return nil
	})
	if err != nil {
		return base.counts, err
	}
	counts := base.counts
	for seed := from; seed < to; seed++ {
		err := v.Update(dawn, func(tx *vault.Tx) error {
			sc := base.fork(tx, seed)
			for range 1 + sc.rng.IntN(5) {
				if sc.err == nil {
					sc.step(8)
				}
			}
			if sc.err == nil && seed%64 == 0 && n%longScene != longScene-1 {
				sc.honest()
			}
			if sc.err == nil && seed%16 == 0 {
				sc.restart()
			}
			if sc.err == nil {
				sc.check()
			}
			for kind, k := range sc.counts {
				counts[kind] += k
			}
			if sc.err != nil {
				return failed(sc, seed)
			}
			return errForget
		})
		if !errors.Is(err, errForget) {
			return counts, err
		}
	}
	return counts, nil
}
