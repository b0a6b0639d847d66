package vault

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestKeysThatCouldNotBeOverwrittenStay: a file that is gone could not be overwritten at
// another try, and its keys would be on the disk for good.
func TestKeysThatCouldNotBeOverwrittenStay(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "profile")
	v, err := Create(dir, []byte("x"), cheap, keep, nil)
	if err != nil {
		t.Fatal(err)
	}
	v.Close()
	path := filepath.Join(dir, slotsName)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.MemfdCreate("keys", unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	_, err = unix.Write(fd, whole)
	if err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_WRITE) // a disk that takes no writes
	}
	if err == nil {
		err = os.Remove(path)
	}
	if err == nil {
		err = os.Symlink(fmt.Sprintf("/proc/self/fd/%d", fd), path)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := Wipe(dir); err == nil {
		t.Fatal("keys that can't be overwritten were wiped")
	}
	if _, err := os.Lstat(path); err != nil {
		t.Fatal("the keys are there, and nothing can overwrite them any more: ", err)
	}
	err = os.Remove(path)
	if err == nil {
		err = os.WriteFile(path, whole, 0o600) // it takes them again
	}
	if err == nil {
		err = Wipe(dir)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(dir); !os.IsNotExist(err) {
		t.Errorf("a second wipe left something: %v", err)
	}
}
