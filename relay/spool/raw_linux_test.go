package spool

import (
	"bytes"
	"crypto/rand"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"kin/internal/disk"
	"kin/protocol"
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

var cycles = flag.Int("cycles", 10, "cycles of put, acknowledge and expire on the raw device")

// TestNothingIsLeftOnTheRawDevice: after expiry the key of the epoch, and after an
// ACK the record's salt, is nowhere on the device, the journal and free blocks
// included; the envelope, its record's key and the ids of queue and message never were.
// That key and salts were there before shows that the scan finds them.
func TestNothingIsLeftOnTheRawDevice(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT RUN with -short: its threads are those of TestModel")
	}
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
	looked := 0
	for cycle := range *cycles {
		var salts, secrets [][]byte
		var q QueueID
		rand.Read(q[:])
		secrets = append(secrets, q[:])
		expiry := now() + 1 + uint32(cycle)
		for i := range byte(8) {
			p := Put{Expiry: expiry, Body: make([]byte, protocol.EnvelopeSize)}
			rand.Read(p.ID[:])
			rand.Read(p.Body)
			done := make(chan error, 1)
			s.spool.Put(q, p, func(err error) { done <- err })
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			e := s.spool.index.find(q, p.ID)
			salt := make([]byte, saltSize)
			if _, err := s.spool.segments[e.segment].file.ReadAt(salt, int64(e.salt)); err != nil {
				t.Fatal(err)
			}
			salts = append(salts, salt)
			g := s.spool.segments[e.segment]
			key := recordKey(&s.spool.epochs.keys[expiry].key, salt, g.id, g.id+uint64(e.batch), int(e.index))
			secrets = append(secrets, p.ID[:], p.Body[:64], p.Body[2000:2064], key[:])
			if i%2 == 0 {
				s.spool.Ack(q, e.seq)
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
		for _, b := range secrets {
			if bytes.Contains(raw, b) {
				t.Fatalf("cycle %d: an envelope, its key or an id is on the device", cycle)
			}
		}
		looked += len(salts) + len(secrets) + 1
	}
	t.Logf("%d cycles of 8 envelopes: %d keys, salts, envelopes and ids looked for, 0 found", *cycles, looked)
}

// TestFullDisk: on a full disk a put is refused as such, nothing that was accepted is
// lost, and when room is there again the spool goes on.
func TestFullDisk(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT RUN with -short: its threads are those of TestModel")
	}
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
	s.spool.Drop(QueueID{1}, func(error) {})
	if err := s.spool.Sweep(time.Now()); err != nil {
		t.Fatal(err)
	}
	s.mustPut(1, envelope(1))
}
