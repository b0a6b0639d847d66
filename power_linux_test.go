package kin_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// machines lose their power: a folder lies on an ext4 of its own, and what is found is
// what the device holds, without what the kernel has not yet written there. It needs
// root and loop devices.
type machines struct {
	t     *testing.T
	empty string // an ext4 with nothing on it

	mounted map[string]string // folders, and their images
}

func newMachines(t *testing.T) *machines {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT RUN: mounting an image takes root")
	}
	m := &machines{t: t, empty: filepath.Join(t.TempDir(), "empty"), mounted: map[string]string{}}
	if err := os.WriteFile(m.empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(m.empty, 48<<20); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", m.empty).CombinedOutput(); err != nil {
		t.Skipf("NOT RUN: mkfs.ext4: %v: %s", err, out)
	}
	if dir := m.mount(m.empty); dir == "" {
		t.Skip("NOT RUN: a loop device can't be mounted here")
	}
	m.done()
	t.Cleanup(m.done)
	return m
}

// mount copies an image and mounts the copy; "" if that fails.
func (m *machines) mount(image string) string {
	dir, err := os.MkdirTemp("", "kin-power-")
	if err != nil {
		m.t.Error(err)
		return ""
	}
	own := dir + ".ext4"
	mnt := filepath.Join(dir, "disk")
	if err := os.Mkdir(mnt, 0o700); err != nil {
		m.t.Error(err)
		return ""
	}
	for _, c := range [][]string{{"cp", "--sparse=always", image, own}, {"mount", "-o", "loop", own, mnt}} {
		if out, err := exec.Command(c[0], c[1:]...).CombinedOutput(); err != nil {
			m.t.Logf("%v: %v: %s", c, err, out)
			return ""
		}
	}
	m.mounted[mnt] = own
	return mnt
}

func (m *machines) place(folder string) string {
	m.t.Helper()
	mnt := m.mount(m.empty)
	dir := filepath.Join(mnt, "data")
	if err := os.CopyFS(dir, os.DirFS(folder)); err != nil {
		m.t.Fatal(err)
	}
	if out, err := exec.Command("sync", "-f", mnt).CombinedOutput(); err != nil {
		m.t.Fatalf("sync: %v: %s", err, out)
	}
	return dir
}

func (m *machines) found(folder string) string {
	mnt := m.mount(m.mounted[filepath.Dir(folder)])
	return filepath.Join(mnt, "data")
}

func (m *machines) done() {
	for mnt, image := range m.mounted {
		if out, err := exec.Command("umount", mnt).CombinedOutput(); err != nil {
			m.t.Errorf("umount: %v: %s", err, out)
			continue
		}
		os.RemoveAll(filepath.Dir(mnt))
		os.Remove(image)
	}
	clear(m.mounted)
}

// A first contact survives a power loss of the acting client and of the relay
// together, at every piece that passes on the wire.
func TestFirstContactSurvivesPowerLoss(t *testing.T) { everyCut(t, newMachines(t), true) }
