//go:build linux

package sim

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/cryptotest"
	"time"
)

var (
	seeds = flag.Int("seeds", 50, "how many seeds to play")
	from  = flag.Uint64("from", 1, "the first of them")
	one   = flag.Uint64("seed", 0, "play this seed alone, and print its trace")
)

// A process plays one seed at a time, on one thread, so that nothing but the seed
// decides: TestMain is such a process when this is in its environment, the seeds
// from, to and step.
const workerEnv = "KIN_SIM_WORKER"

// place is a folder in RAM for profiles and relay.db.
func place(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "kin-sim-")
	if err != nil {
		dir = t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// TestWorker is what worker starts.
func TestWorker(t *testing.T) {
	var begin, end, step uint64
	if n, _ := fmt.Sscanf(os.Getenv(workerEnv), "%d %d %d", &begin, &end, &step); n != 3 {
		t.SkipNow() // nobody's test: TestSeeds runs it
	}
	debug.SetGCPercent(-1) // the collector would choose who runs; it runs between seeds
	dir := place(t)
	cryptotest.SetGlobalRandom(t, 0)
	w := found(t, dir)
	out := json.NewEncoder(os.Stdout)
	for seed := begin; seed < end; seed += step {
		fmt.Printf("seed %d\n", seed)
		trace := io.Writer(io.Discard)
		if end == begin+1 {
			trace = os.Stdout
		}
		home := filepath.Join(dir, "town")
		if err := os.Mkdir(home, 0o700); err != nil {
			t.Fatal(err)
		}
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			cryptotest.SetGlobalRandom(t, seed)
			var r Result
			bubble(t, func(*testing.T) { r = w.play(seed, home, trace) })
			fmt.Print("result ")
			out.Encode(r)
		})
		os.RemoveAll(home)
		runtime.GC()
	}
}

// worker plays seeds in a process of its own, and goes on behind one that ends it.
func worker(t *testing.T, begin, end, step uint64, each func(Result, string)) {
	for begin < end {
		cmd := exec.Command(os.Args[0], "-test.run=^TestWorker$", "-test.timeout=0")
		cmd.Env = append(os.Environ(), "GOMAXPROCS=1", fmt.Sprintf("%s=%d %d %d", workerEnv, begin, end, step))
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		var all bytes.Buffer
		cmd.Stderr = &all
		out, err := cmd.StdoutPipe()
		if err == nil {
			runtime.LockOSThread() // the death signal is the thread's
			err = cmd.Start()
		}
		if err != nil {
			t.Error(err)
			return
		}
		seed, done := begin, false
		var trace strings.Builder
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 16<<20)
		for lines.Scan() {
			line := lines.Text()
			var r Result
			switch {
			case strings.HasPrefix(line, "seed "):
				fmt.Sscanf(line, "seed %d", &seed)
				done = false
				trace.Reset()
			case strings.HasPrefix(line, "result "):
				if err := json.Unmarshal([]byte(line[len("result "):]), &r); err != nil {
					t.Error(err)
				}
				done = true
				each(r, trace.String())
			default:
				trace.WriteString(line + "\n")
			}
		}
		err = cmd.Wait()
		runtime.UnlockOSThread()
		if !done {
			text := trace.String() + all.String()
			each(Result{Seed: seed, Violations: []string{fmt.Sprintf("the process ended: %v\n%s", err, text[max(0, len(text)-6000):])}}, "")
		}
		begin = seed + step
	}
}

// play plays seeds in as many processes as -test.cpu says: with none, as there are CPUs.
func play(t *testing.T, begin, n uint64, each func(Result)) {
	var mu sync.Mutex
	var all sync.WaitGroup
	step := uint64(runtime.GOMAXPROCS(0))
	for i := range step {
		all.Go(func() {
			worker(t, begin+i, begin+n, step, func(r Result, _ string) {
				mu.Lock()
				defer mu.Unlock()
				each(r)
			})
		})
	}
	all.Wait()
}

// Whatever happens in a town, every message that was sent is shown once, in order or
// with a gap told; nobody is told what is not so; and nothing is left behind.
func TestSeeds(t *testing.T) {
	if *one != 0 {
		worker(t, *one, *one+1, 1, func(r Result, trace string) {
			fmt.Print(trace)
			fmt.Printf("seed %d: trace %s\n", r.Seed, r.Hash)
			for _, v := range r.Violations {
				t.Errorf("seed %d: %s", r.Seed, v)
			}
		})
		return
	}
	if testing.Short() {
		*seeds = min(*seeds, 2)
	}
	begun := time.Now()
	counts := map[string]int{}
	var virtual time.Duration
	played, bad := 0, 0
	play(t, *from, uint64(*seeds), func(r Result) {
		played++
		virtual += r.Virtual
		for k, n := range r.Counts {
			counts[k] += n
		}
		if len(r.Violations) > 0 {
			bad++
			t.Errorf("seed %d: %s", r.Seed, strings.Join(r.Violations, "\n\t"))
		}
	})
	if played != *seeds {
		t.Errorf("%d of %d seeds were played", played, *seeds)
	}
	t.Logf("%d seeds, %.0f virtual days, %v: %d with a violation", played, virtual.Hours()/24, time.Since(begun).Round(time.Second), bad)
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		t.Logf("%7d %s", counts[k], k)
	}
}

// The same seed has the same trace, to the nanosecond: a tenth of the seeds, twice.
func TestReplays(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT RUN with -short: the race detector learns nothing from what it has seen")
	}
	n := max(1, *seeds/10)
	hashes := map[uint64]string{}
	for range 2 {
		play(t, *from, uint64(n), func(r Result) {
			if before, ok := hashes[r.Seed]; ok && before != r.Hash {
				t.Errorf("seed %d has the traces %s and %s", r.Seed, before, r.Hash)
			}
			hashes[r.Seed] = r.Hash
		})
	}
	if len(hashes) != n {
		t.Errorf("%d of %d seeds", len(hashes), n)
	}
	t.Logf("%d seeds, twice each, with equal traces", n)
}
