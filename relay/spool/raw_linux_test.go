package spool

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"kin/internal/disk"
)

// mounted is a folder on an ext4 of its own, and the file that is its device. It
// needs root and loop devices: without them the test says that it can't run.
func mounted(t *testing.T) (dir, image string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT RUN: mounting an image takes root")
	}
	image = filepath.Join(t.TempDir(), "ext4")
	f, err := os.Create(image)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(64 << 20); err != nil {
		t.Fatal(err)
	}
	f.Close()
	dir = t.TempDir()
	for _, c := range [][]string{{"mkfs.ext4", "-q", image}, {"mount", "-o", "loop", image, dir}} {
		if out, err := exec.Command(c[0], c[1:]...).CombinedOutput(); err != nil {
			t.Skipf("NOT RUN: %v: %v: %s", c, err, out)
		}
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	return dir, image
}

// TestNothingIsLeftOnTheRawDevice: after expiry the key of the epoch, and after an
// ACK the record's salt, is nowhere on the device, the journal and free blocks
// included; the envelope itself never was. That both were there before shows that
// the scan finds them.
func TestNothingIsLeftOnTheRawDevice(t *testing.T) {
	dir, image := mounted(t)
	s := &stand{t: t, dir: dir, fs: disk.OS{}, max: 1 << 10}
	s.open()
	defer func() { s.spool.Close(); s.slots.Close() }()
	device := func() []byte {
		b, err := os.ReadFile(image)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for cycle := range 10 {
		var salts [][]byte
		var bodies [][]byte
		expiry := now() + 1 + uint32(cycle)
		for i := range byte(8) {
			p := envelope(i)
			p.ID[1] = byte(cycle)
			p.Expiry = expiry
			s.mustPut(1, p)
			bodies = append(bodies, p.Body)
			e := s.spool.index.find(QueueID{1}, p.ID)
			salt := make([]byte, saltSize)
			if _, err := s.spool.segments[e.segment].file.ReadAt(salt, int64(e.salt)); err != nil {
				t.Fatal(err)
			}
			salts = append(salts, salt)
			if i%2 == 0 {
				s.spool.Ack(QueueID{1}, e.seq)
			}
		}
		key := bytes.Clone(s.spool.epochs.keys[expiry].key[:])
		if raw := device(); !bytes.Contains(raw, key) || !bytes.Contains(raw, salts[7]) {
			t.Fatal("the scan does not find what is there")
		}
		if err := s.spool.Flush(); err != nil {
			t.Fatal(err)
		}
		raw := device()
		for i, salt := range salts {
			if bytes.Contains(raw, salt) != (i%2 == 1) {
				t.Fatalf("cycle %d: the salt of envelope %d, with those of even number acknowledged", cycle, i)
			}
		}
		if err := s.spool.Sweep(time.Now().Add(time.Duration(2+cycle) * time.Hour)); err != nil {
			t.Fatal(err)
		}
		raw = device()
		if bytes.Contains(raw, key) {
			t.Fatalf("cycle %d: the key of an expired epoch is on the device", cycle)
		}
		for _, b := range bodies {
			if bytes.Contains(raw, b[:64]) {
				t.Fatalf("cycle %d: an envelope is on the device", cycle)
			}
		}
	}
}

// TestFullDisk: on a full disk a put is refused as such, nothing that was accepted is
// lost, and when room is there again the spool goes on.
func TestFullDisk(t *testing.T) {
	dir, _ := mounted(t)
	s := &stand{t: t, dir: dir, fs: disk.OS{}, max: 1 << 20}
	s.open()
	defer func() { s.spool.Close(); s.slots.Close() }()
	stored := map[string]bool{}
	var refused error
	for i := 0; refused == nil; i++ {
		if i > 64<<8 {
			t.Fatal("64 MiB took more than it can hold")
		}
		p := envelope(byte(i))
		p.ID[1], p.ID[2] = byte(i>>8), byte(i>>16)
		if refused = s.put(1, p); refused == nil {
			stored[string(p.Body)] = true
		}
	}
	if !errors.Is(refused, ErrFull) {
		t.Fatal(refused)
	}
	all := func() {
		t.Helper()
		found := 0
		for _, r := range s.spool.Next(QueueID{1}, 0, 1<<20) {
			if stored[string(r.Body)] {
				found++
			}
		}
		if found != len(stored) {
			t.Fatalf("%d of %d are there", found, len(stored))
		}
	}
	all()
	s.crash()
	all()
	s.spool.Drop(QueueID{1})
	if err := s.spool.Sweep(time.Now()); err != nil {
		t.Fatal(err)
	}
	s.mustPut(1, envelope(1))
}
