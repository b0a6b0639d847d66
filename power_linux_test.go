package kin_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"kin/client"
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
func TestFirstContactSurvivesPowerLoss(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT RUN with -short: for the race detector the cuts without a power loss are the same")
	}
	everyCut(t, newMachines(t), true)
}

// On a full disk a profile says so and stays as it was; with room again it goes on.
func TestFullDiskUnderAProfile(t *testing.T) {
	m := newMachines(t)
	_, k, g, guestDir := pair(t)
	before, err := g.History("Mina")
	if err != nil {
		t.Fatal(err)
	}
	key := g.Key()
	g.Close()
	dir := m.place(guestDir)
	filler := filepath.Join(filepath.Dir(dir), "filler")
	f, err := os.Create(filler)
	if err != nil {
		t.Fatal(err)
	}
	for size := 1 << 20; size >= 1<<10; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
	f.Close()
	p, err := client.OpenKey(dir, key)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { p.Close(); m.done() }()
	var refused error
	for i := 0; refused == nil && i < 2000; i++ { // the database has some room of its own
		_, refused = p.Send(t.Context(), "Mina", "kept or refused", client.SendOptions{QueueOnly: true})
	}
	if !errors.Is(refused, syscall.ENOSPC) {
		t.Fatalf("%v; want: no space left", refused)
	}
	full, err := p.Status()
	if err != nil {
		t.Fatal("a full disk made the profile unreadable:", err)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Send(t.Context(), "Mina", "room again", client.SendOptions{}); err != nil {
		t.Fatal(err)
	}
	if after, err := p.Status(); err != nil || len(after) != len(full)+1 {
		t.Fatalf("%d outgoing messages where there were %d accepted and one more", len(after), len(full))
	}
	var got int
	for more := true; more; {
		texts, _ := receive(t, k)
		got += len(texts)
		if more = len(texts) > 0; more {
			if _, err := p.Sync(t.Context(), 10*time.Second); err != nil {
				t.Fatal(err)
			}
		}
	}
	if want := len(full) + 1 - len(before); got != want {
		t.Fatalf("%d messages arrived of %d that were accepted", got, want)
	}
}
