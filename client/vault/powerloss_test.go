package vault

import (
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"kin/internal/disk/disktest"
)

var crashes = flag.Int("crashes", 2000, "crash images of the vault to look at")

// machine is where programs are traced and images are looked at, in RAM if that can be.
type machine struct {
	t     *testing.T
	dir   string
	empty string // a profile after Create
	key   []byte
	r     *rand.Rand

	lives, images, found int
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	base := "/dev/shm"
	if _, err := os.Stat(base); err != nil {
		base = ""
	}
	dir, err := os.MkdirTemp(base, "kin-vault-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	m := &machine{t: t, dir: dir, empty: filepath.Join(dir, "empty"), r: rand.New(rand.NewPCG(1, 5))}
	v, err := Create(filepath.Join(m.empty, "profile"), passphrase, cheap, historyKeep)
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
	key     []byte // none: it begins with Create
	faults  []string
}

// live traces a program that finds disk. It says so and stops the test where that can't be done.
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
	ops, err := disktest.Trace(cmd, root, l.faults...)
	if errors.Is(err, disktest.ErrNoTrace) {
		m.t.Skipf("NOT RUN: %v", err)
	}
	m.lives++
	return ops, err
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

// replay looks at images of every operation of a life.
func (m *machine) replay(d *disktest.FS, ops []disktest.Op, j *judge, each int) (err error) {
	var done []string
	defer func() {
		m.found += j.found
		if err != nil {
			err = fmt.Errorf("%w, after\n%s", err, strings.Join(done, "\n"))
		}
	}()
	return d.Replay(ops, func(op disktest.Op) error {
		done = append(done, fmt.Sprintf("%s %s%s %d+%d", op.Kind, op.Name, op.Text, op.At, len(op.Data)))
		n := each
		if op.Kind == disktest.Mark {
			n = 1
		}
		for range n {
			if err := m.image(d, j.check); err != nil {
				return err
			}
		}
		if op.Kind == disktest.Mark {
			return j.hear(op.Text, d)
		}
		return nil
	})
}

// TestPowerLossAtAnyOperation traces a program that lives through a history of a
// profile, crashes it at every operation, and judges what is found. A life that was
// killed is followed by another, whose power is lost. More: -args -crashes 50000.
func TestPowerLossAtAnyOperation(t *testing.T) {
	m := newMachine(t)
	want := *crashes
	if testing.Short() {
		want = min(want, 500)
	}
	for seed := uint64(1); m.images < want; seed++ {
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
	if err := m.replay(d, ops, newJudge(h, m.key, 0, m.r), 2); err != nil {
		return err
	}
	if err := d.Equal(filepath.Join(m.dir, "live")); err != nil {
		return fmt.Errorf("the trace missed something: %w", err)
	}
	// Killed at some operation, and another life on what can be read then.
	d, j := m.disk(m.empty), newJudge(h, m.key, 0, m.r)
	killed := errors.New("killed")
	kill := m.r.IntN(len(ops))
	err = d.Replay(ops, func(op disktest.Op) error {
		if kill--; kill < 0 {
			return killed
		}
		if op.Kind == disktest.Mark {
			return j.hear(op.Text, d)
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
	again, err := m.live(l, d)
	if err != nil {
		return fmt.Errorf("after a kill: %w", err)
	}
	if err := m.replay(d, again, j, 2); err != nil {
		return fmt.Errorf("after a kill in step %d: %w", j.hi, err)
	}
	return nil
}
