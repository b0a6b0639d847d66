package vault

import (
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kin/internal/disk/disktest"
)

var crashes = flag.Int("crashes", 500, "crash images of the vault to look at")

// machine is where programs are traced and images are looked at, in RAM if that can be.
type machine struct {
	t     *testing.T
	dir   string
	empty string // a profile after Create
	key   []byte
	r     *rand.Rand

	lives, images, found int
}

// memory is a folder whose syncs cost nothing, or none for the usual one.
func memory() string {
	const folder = "/dev/shm"
	if _, err := os.Stat(folder); err != nil {
		return ""
	}
	return folder
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	if testing.Short() {
		t.Skip("NOT RUN with -short: of one thread the race detector learns nothing")
	}
	dir, err := os.MkdirTemp(memory(), "kin-vault-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	m := &machine{t: t, dir: dir, empty: filepath.Join(dir, "empty"), r: rand.New(rand.NewPCG(1, 5))}
	v, err := Create(filepath.Join(m.empty, "profile"), passphrase, cheap, historyKeep, nil)
	if err != nil {
		t.Fatal(err)
	}
	m.key = v.Key()
	v.Close()
	return m
}

// life is one of a program, on a disk that it found and leaves.
type life struct {
	seed    uint64
	n, done int
	key     []byte       // none: it begins with Create
	faults  []string     // as Trace takes them
	changed *disktest.FS // what another process makes of the disk once this one has opened the profile
}

// live traces a program that finds a disk; with changed, what it does from then on. Where
// nothing can be traced, the test says so and ends.
func (m *machine) live(l life, found *disktest.FS) ([]disktest.Op, error) {
	root := filepath.Join(m.dir, "live")
	if err := errors.Join(os.RemoveAll(root), os.Mkdir(root, 0o700), found.Store(root)); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, filepath.Join(root, "profile"), hex.EncodeToString(l.key), fmt.Sprint(l.seed), fmt.Sprint(l.n), fmt.Sprint(l.done))
	cmd.Env = append(os.Environ(), driveEnv+"=1")
	if l.changed != nil {
		in, wakes := io.Pipe()
		defer in.Close()
		cmd.Env = append(os.Environ(), driveEnv+"=waits")
		cmd.Stdin = in
		cmd.Stdout = onLine(func(line string) {
			if strings.HasSuffix(line, "waits\n") {
				if err := l.changed.Store(root); err != nil {
					m.t.Error(err)
				}
				wakes.Write([]byte("\n"))
				wakes.Close()
			}
		})
	}
	ops, err := disktest.Trace(cmd, root, l.faults...)
	if errors.Is(err, disktest.ErrNoTrace) {
		m.t.Skipf("NOT RUN: %v", err)
	}
	m.lives++
	if l.changed != nil {
		ops = ops[1+slices.IndexFunc(ops, func(op disktest.Op) bool { return op.Text == "waits" }):]
	}
	return ops, err
}

// onLine is called with what a program writes, up to some end of a line.
type onLine func(string)

func (f onLine) Write(b []byte) (int, error) {
	f(string(b))
	return len(b), nil
}

// image looks at one of the disks that may be found after a power loss now.
func (m *machine) image(d *disktest.FS, check func(dir string) error) error {
	m.images++
	root := filepath.Join(m.dir, "image")
	if err := errors.Join(os.RemoveAll(root), os.Mkdir(root, 0o700)); err != nil {
		return err
	}
	if err := d.AfterPowerLoss(m.r).Store(root); err != nil {
		return err
	}
	return check(filepath.Join(root, "profile"))
}

func (m *machine) disk(root string) *disktest.FS {
	m.t.Helper()
	d, err := disktest.Load(root)
	if err != nil {
		m.t.Fatal(err)
	}
	return d
}

// replay looks at images of every operation of a life, each of them at so many.
func (m *machine) replay(d *disktest.FS, ops []disktest.Op, j *judge, each func(disktest.Op) int) (err error) {
	var done []string
	defer func() {
		m.found += j.found
		if err != nil {
			err = fmt.Errorf("%w, after\n%s", err, strings.Join(done, "\n"))
		}
	}()
	check := j.check
	if j.key == nil {
		check = j.created
	}
	return d.Replay(ops, func(op disktest.Op) error {
		done = append(done, fmt.Sprintf("%s %s%s %d+%d failed %t", op.Kind, op.Name, op.Text, op.At, len(op.Data), op.Failed))
		for range each(op) {
			if err := m.image(d, check); err != nil {
				return err
			}
		}
		if op.Kind == disktest.Mark {
			return j.hear(op.Text, d)
		}
		return nil
	})
}

// twice looks at two images of an operation, and at one where nothing happens.
func twice(op disktest.Op) int {
	if op.Kind == disktest.Mark {
		return 1
	}
	return 2
}

// TestPowerLossAtAnyOperation traces a program that lives through a history of a
// profile, crashes it at every operation, and judges what is found. A life that was
// killed is followed by another, whose power is lost: of a program that starts then, or
// of one that had the profile open. More: -args -crashes 50000.
func TestPowerLossAtAnyOperation(t *testing.T) {
	m := newMachine(t)
	for seed := uint64(1); m.images < *crashes; seed++ {
		if err := m.history(seed); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
	if m.found == 0 {
		t.Error("no replaced value was ever readable: the search finds nothing")
	}
	t.Logf("%d crash images of %d lives, no violation; %d times a value not yet rotated away was found", m.images, m.lives, m.found)
}

func (m *machine) history(seed uint64) error {
	const steps = 12
	h := newHistory(seed, steps)
	l := life{seed: seed, n: steps, key: m.key}
	ops, err := m.live(l, m.disk(m.empty))
	if err != nil {
		return err
	}
	d := m.disk(m.empty)
	if err := m.replay(d, ops, newJudge(h, m.key, 0, m.r), twice); err != nil {
		return err
	}
	if err := d.Equal(filepath.Join(m.dir, "live")); err != nil {
		return fmt.Errorf("the trace missed something: %w", err)
	}
	if err := m.killed(h, l, ops, m.r.IntN(len(ops)), false); err != nil {
		return fmt.Errorf("after a kill: %w", err)
	}
	metas := roots(ops, func(int) bool { return true })
	if err := m.killed(h, l, ops, metas[m.r.IntN(len(metas))], true); err != nil {
		return fmt.Errorf("of the other process, after a kill: %w", err)
	}
	return nil
}

// killed lets a life be killed at one of its operations, and another go on with what
// can be read then, which may not be durable: a new one, or one that had opened the
// profile before the step that was under way.
func (m *machine) killed(h *history, l life, ops []disktest.Op, kill int, other bool) error {
	d, j, before := m.disk(m.empty), newJudge(h, m.key, 0, m.r), m.disk(m.empty)
	killed := errors.New("killed")
	i := 0
	err := d.Replay(ops, func(op disktest.Op) error {
		if op.Kind == disktest.Mark {
			before = d.AfterPowerLoss(m.r)
			if err := j.hear(op.Text, d); err != nil {
				return err
			}
		}
		if i++; i > kill {
			return killed
		}
		return nil
	})
	if !errors.Is(err, killed) {
		return err
	}
	if h.steps[j.hi].kind == "wipe" {
		return nil
	}
	l.done = j.lo
	found, each := d, twice
	if other {
		found, l.changed = before, d
		done := j.lo
		each = func(op disktest.Op) int { // until its first step has returned
			if j.lo > done {
				return 0
			}
			return 2 * twice(op)
		}
	}
	again, err := m.live(l, found)
	if err != nil {
		return err
	}
	return m.replay(d, again, j, each)
}

// roots finds where bbolt's meta page is written and not yet synced, in some steps.
func roots(ops []disktest.Op, in func(step int) bool) (at []int) {
	step := 0
	for i, op := range ops {
		fmt.Sscanf(op.Text, "begin %d", &step)
		if op.Kind == disktest.Write && op.Name == filepath.Join("profile", recordsName) && op.At < 2*pageSize && len(op.Data) == pageSize && in(step) {
			at = append(at, i)
		}
	}
	return at
}

// TestACommitOfAKilledProcessIsNotBuiltUpon: a process was killed before the sync of its
// commit, and another, that had the profile open, commits over the pages that it had freed; then
// the power is lost. Before, the profile might not open. A step that takes no new slot
// shows it: looking for one makes the commit durable.
func TestACommitOfAKilledProcessIsNotBuiltUpon(t *testing.T) {
	m := newMachine(t)
	const seed, steps = 3, 12
	h := newHistory(seed, steps)
	l := life{seed: seed, n: steps, key: m.key}
	ops, err := m.live(l, m.disk(m.empty))
	if err != nil {
		t.Fatal(err)
	}
	at := roots(ops, func(step int) bool {
		return h.steps[step].kind == "update" && !slices.ContainsFunc(h.steps[step].puts, func(w write) bool { return w.use > useData })
	})
	if len(at) == 0 {
		t.Fatal("no such step")
	}
	for _, kill := range at[max(0, len(at)-4):] {
		if err := m.killed(h, l, ops, kill, true); err != nil {
			t.Fatalf("killed at operation %d: %v", kill, err)
		}
	}
	t.Logf("%d kills, %d crash images, no violation", m.lives-1, m.images)
}

// TestPowerLossInCreate: there is a whole profile, or none and one can be made.
func TestPowerLossInCreate(t *testing.T) {
	m := newMachine(t)
	h := newHistory(1, 0)
	ops, err := m.live(life{}, disktest.New())
	if err != nil {
		t.Fatal(err)
	}
	for m.images < min(*crashes, 70) {
		j := newJudge(h, nil, -1, m.r)
		if err := m.replay(disktest.New(), ops, j, twice); err != nil {
			t.Fatal(err)
		}
		if j.lo != 0 {
			t.Fatal("Create has not returned")
		}
	}
	t.Logf("%d crash images, no violation", m.images)
}
