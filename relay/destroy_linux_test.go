package relay

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// TestDestroyOnAMountPoint: the folder stays, for it can't be removed, and nothing in it. It
// needs root.
func TestDestroyOnAMountPoint(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
		t.Skip("NOT RUN: a mount takes root:", err)
	}
	defer unix.Unmount(dir, 0)
	if err := os.CopyFS(dir, os.DirFS(stopped(t))); err != nil {
		t.Fatal(err)
	}
	if err := Destroy(dir); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v are left, %v", left, err)
	}
}
