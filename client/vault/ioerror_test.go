package vault

import (
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"kin/internal/disk/disktest"
)

var faults = flag.Int("faults", 8, "lives of a vault in which one operation fails, at most; 0 for one at each")

// refusals are what the operating system may say, and how strace is told to let it.
var refusals = []struct{ call, errno, says string }{
	{"pwrite64", "EIO", "input/output error"},
	{"pwrite64", "ENOSPC", "no space left on device"},
	{"ftruncate", "ENOSPC", "no space left on device"},
	{"fdatasync", "EIO", "input/output error"},
	{"fsync", "EIO", "input/output error"},
}

// TestIOErrorAtEveryOperation lets each write and sync of a program fail once: what is
// done says so or is done, the profile goes on, and what was promised survives a power loss
// after it, though the disk has forgotten what its failed sync should have written. All
// operations: -args -faults 0.
func TestIOErrorAtEveryOperation(t *testing.T) {
	m := newMachine(t)
	type fault struct {
		seed, r int
		nth     int
	}
	var all []fault
	const steps = 6
	for seed := range 3 {
		ops, err := m.live(life{seed: uint64(seed), n: steps, key: m.key}, m.disk(m.empty))
		if err != nil {
			t.Fatal(err)
		}
		for r, refusal := range refusals {
			n := 0
			for _, op := range ops {
				if op.Kind == map[string]disktest.Kind{"pwrite64": disktest.Write, "ftruncate": disktest.Resize}[refusal.call] ||
					op.Kind == disktest.Sync && strings.HasSuffix(refusal.call, "sync") {
					n++
				}
			}
			for nth := 1; nth <= n; nth++ {
				all = append(all, fault{seed, r, nth})
			}
		}
	}
	stride := 1
	if *faults > 0 {
		stride = (len(all) + *faults - 1) / *faults
	}
	met, told := 0, 0
	for i := m.r.IntN(stride); i < len(all); i += stride {
		f := all[i]
		refusal := refusals[f.r]
		l := life{seed: uint64(f.seed), n: steps, key: m.key, faults: []string{fmt.Sprintf("%s:error=%s:when=%d", refusal.call, refusal.errno, f.nth)}}
		n, said, err := m.faulty(l, refusal.says)
		if err != nil {
			t.Fatalf("seed %d, %v: %v", f.seed, l.faults, err)
		}
		met += n
		told += said
	}
	if met == 0 || told == 0 {
		t.Error("no fault was met")
	}
	t.Logf("%d operations failed, %d times the program was told, %d crash images after, no violation", met, told, m.images)
}

// TestAKeyWhoseOverwritingFailedIsOverwrittenAgain: each sync that should make a key's
// end durable fails once. Before, the kernel's cache showed the slot blank, and the next
// commit left on the disk what was there.
func TestAKeyWhoseOverwritingFailedIsOverwrittenAgain(t *testing.T) {
	m := newMachine(t)
	const seed, steps = 5, 8
	ops, err := m.live(life{seed: seed, n: steps, key: m.key}, m.disk(m.empty))
	if err != nil {
		t.Fatal(err)
	}
	met, nth := 0, 0
	for i, op := range ops {
		if op.Kind != disktest.Sync || op.Name == "profile" || ops[i-1].Kind == disktest.Resize { // those are fsync
			continue
		}
		nth++
		if w := ops[i-1]; w.Kind != disktest.Write || w.Name != filepath.Join("profile", slotsName) || !zero(w.Data) {
			continue
		}
		n, _, err := m.faulty(life{seed: seed, n: steps, key: m.key, faults: []string{fmt.Sprintf("fdatasync:error=EIO:when=%d", nth)}}, "input/output error")
		if err != nil {
			t.Fatalf("sync %d: %v", nth, err)
		}
		met += n
	}
	if met == 0 {
		t.Error("no such sync failed")
	}
	t.Logf("%d failed syncs of overwritten keys, %d crash images, no violation", met, m.images)
}

// faulty judges a life with a fault. There are more syncs of one kind than of the
// other, so that it may not come.
func (m *machine) faulty(l life, says string) (met, told int, err error) {
	ops, err := m.live(l, m.disk(m.empty))
	if err != nil {
		return 0, 0, err
	}
	for _, op := range ops {
		if op.Failed {
			met++
		}
		if text, ok := strings.CutPrefix(op.Text, "fail "); ok {
			told++
			if !strings.Contains(text, says) {
				return 0, 0, fmt.Errorf("%q, for %q", text, says)
			}
		}
	}
	if met == 0 {
		return 0, 0, nil
	}
	d, since := m.disk(m.empty), 0
	j := newJudge(newHistory(l.seed, l.n), m.key, 0, m.r)
	j.faulty = true
	if err := m.replay(d, ops, j, func(op disktest.Op) int {
		if op.Failed || since > 0 {
			since++
		}
		if since == 0 || since > 60 {
			return 0
		}
		return 1
	}); err != nil {
		return 0, 0, err
	}
	if j.lo != l.n {
		return 0, 0, errors.New("the history did not come to its end")
	}
	return met, told, d.Equal(filepath.Join(m.dir, "live"))
}
