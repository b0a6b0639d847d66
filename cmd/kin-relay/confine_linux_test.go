package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// TestAJournalOfDataIsTold: whether the mount or the file system says so. It needs root and
// loop devices.
func TestAJournalOfDataIsTold(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("NOT RUN: mounting an image takes root")
	}
	for name, x := range map[string]struct {
		tune, options string
		want          bool
	}{
		"ordered":                 {"^journal_data", "loop", false},
		"by the mount":            {"^journal_data", "loop,data=journal", true},
		"by the file system":      {"journal_data", "loop", true},
		"but not by this mount's": {"journal_data", "loop,data=ordered", false},
	} {
		t.Run(name, func(t *testing.T) {
			image, dir := filepath.Join(t.TempDir(), "ext4"), t.TempDir()
			if err := errors.Join(os.WriteFile(image, nil, 0o600), os.Truncate(image, 64<<20)); err != nil {
				t.Fatal(err)
			}
			for _, c := range [][]string{{"mkfs.ext4", "-q", image}, {"tune2fs", "-o", x.tune, image}, {"mount", "-o", x.options, image, dir}} {
				if out, err := exec.Command(c[0], c[1:]...).CombinedOutput(); err != nil {
					t.Skipf("NOT RUN: %v: %v: %s", c, err, out)
				}
			}
			defer exec.Command("umount", dir).Run()
			var told []string
			inspect(dir, func(key string, _ ...any) { told = append(told, key) })
			if got := slices.Contains(told, "relay.check.journal"); got != x.want {
				t.Errorf("told: %v", told)
			}
		})
	}
}
