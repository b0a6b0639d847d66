package vault

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

var cycles = flag.Int("cycles", 10, "cycles of replace, delete, disappear and rotate")

// mounted is a folder on an ext4 of its own, and the file that is its device. It
// needs root and loop devices: without them the test says that it can't run.
func mounted(t *testing.T) (dir, image string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT RUN: mounting an image takes root")
	}
	image = filepath.Join(t.TempDir(), "ext4")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 32<<20); err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	for _, c := range [][]string{{"mkfs.ext4", "-q", "-b", "4096", image}, {"mount", "-o", "loop", image, dir}} {
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

// thief has the raw device and the passphrase, and tries every key and every record
// that is anywhere on it: in free blocks, in the journal, in files; in these once more
// as they are read, for a page of several blocks need not lie together on the device.
type thief struct {
	raw  []byte
	ring ring
	days []uint32 // that may have had a key

	keys   map[string]bool
	values map[string]bool
}

func newThief(t *testing.T, image, profile string, passphrase []byte, days []uint32) *thief {
	t.Helper()
	x := &thief{days: days, keys: map[string]bool{}, values: map[string]bool{}}
	for _, name := range []string{image, filepath.Join(profile, "records")} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		x.raw = append(x.raw, b...)
	}
	for _, p := range x.slots(passphraseSize) {
		if master, err := unwrapMaster(p, passphrase); err == nil {
			x.ring = newRing(master)
		}
	}
	if x.ring.master == nil {
		return x
	}
	x.findKeys()
	x.findRecords()
	return x
}

// slots are what looks like a slot with a payload of n bytes, in any sector.
func (x *thief) slots(n int) (out [][]byte) {
	for at := 0; at+512 <= len(x.raw); at += 512 {
		if b := x.raw[at:]; int(binary.BigEndian.Uint16(b)) == n && b[2] == wrapVersion {
			out = append(out, b[2:2+n])
		}
	}
	return out
}

// findKeys tries what may be a wrapped key as every slot, of every use and day.
func (x *thief) findKeys() {
	for _, p := range x.slots(wrappedSize) {
		for i := range slotCount {
			for _, e := range []entry{{use: useData}, {use: useRotating}} {
				if k, err := x.ring.unwrap(i, e, p); err == nil {
					x.keys[string(k)] = true
				}
			}
			for _, day := range x.days {
				if k, err := x.ring.unwrap(i, entry{use: useDay, day: day}, p); err == nil {
					x.keys[string(k)] = true
				}
			}
		}
	}
}

// findRecords tries every element of what may be a leaf of the database with every
// key.
func (x *thief) findRecords() {
	for at := 0; at+pageSize <= len(x.raw); at += 512 {
		b := x.raw[at:]
		if le.Uint16(b[8:]) != leafPage {
			continue
		}
		end := min(len(b), (1+int(min(le.Uint32(b[12:]), 1000)))*pageSize)
		for i := range int(min(le.Uint16(b[10:]), 1000)) {
			e := pageHeaderSize + i*elementSize
			if e+elementSize > end {
				break
			}
			pos, ksize, vsize := le.Uint32(b[e+4:]), le.Uint32(b[e+8:]), le.Uint32(b[e+12:])
			name, err := slice(b[:end], e, pos, ksize)
			if err != nil || len(name) != nameSize {
				continue
			}
			stored, err := slice(b[:end], e, pos+ksize, vsize)
			if err != nil {
				continue
			}
			f, err := x.ring.refOf(stored)
			if err != nil {
				continue
			}
			for k := range x.keys {
				if _, value, err := x.ring.openRecord([]byte(k), name, f, stored); err == nil {
					x.values[string(value)] = true
				}
			}
		}
	}
}

// TestNothingComesBackFromTheRawDevice: with the raw device, the journal and free
// blocks included, and the passphrase, no ratchet state that was replaced, no message
// that was deleted or has disappeared and no contact that was changed comes back after
// a rotation; a passphrase that was changed opens nothing. That what is still kept comes back
// shows that the thief's ways work, and so does what was deleted and not yet rotated.
func TestNothingComesBackFromTheRawDevice(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT RUN with -short: of one thread the race detector learns nothing")
	}
	mnt, image := mounted(t)
	dir := filepath.Join(mnt, "profile")
	pass := []byte("passphrase 0")
	v, err := Create(dir, pass, cheap, MinKeep, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { v.Close() }()
	now := noon
	live, gone := map[string]string{}, map[string]bool{} // by record; values
	var days []uint32
	var dead [][]byte                // payloads of slots that were destroyed
	const messages, deleted = 60, 20 // a day
	set := func(tx *Tx, record string, put func(value []byte) error) error {
		value := make([]byte, 200)
		rand.Read(value)
		if old, ok := live[record]; ok {
			gone[old] = true
		}
		live[record] = string(value)
		return put(value)
	}
	drop := func(record string) { gone[live[record]] = true; delete(live, record) }
	look := func(pass []byte) *thief { return newThief(t, image, dir, pass, days[max(0, len(days)-4):]) }
	taken := func() map[string]bool { // payloads in the slot file
		all := map[string]bool{}
		s, err := openSlots(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		for i := range slotCount {
			if p, err := s.Get(i); err != nil {
				t.Fatal(err)
			} else if p != nil {
				all[string(p)] = true
			}
		}
		return all
	}
	commit := func(f func(*Tx) error) {
		t.Helper()
		if err := v.Update(now, f); err != nil {
			t.Fatal(err)
		}
	}
	early := 0 // what was deleted and came back before the rotation, as it may
	for cycle := range *cycles {
		now = now.Add(24 * time.Hour)
		days = append(days, Day(now))
		message := func(day, i int) string { return fmt.Sprintf("message %d of day %d", i, day) }
		commit(func(tx *Tx) error {
			err := errors.Join(
				set(tx, "contact", func(b []byte) error { return tx.Put("contacts", []byte("c"), b) }),
				set(tx, "state", func(b []byte) error { return tx.PutRotating("sessions", []byte("s"), b) }))
			for i := range messages {
				m := message(cycle, i)
				err = errors.Join(err, set(tx, m, func(b []byte) error { return tx.PutUntil("inbox", []byte(m), b, Day(now)) }))
			}
			return err
		})
		before := taken()
		state := live["state"]
		commit(func(tx *Tx) error {
			return set(tx, "state", func(b []byte) error { return tx.PutRotating("sessions", []byte("s"), b) })
		})
		x := look(pass)
		if x.values[state] {
			t.Fatalf("cycle %d: a replaced ratchet state came back at once", cycle)
		}
		commit(func(tx *Tx) error {
			for i := range deleted {
				if err := tx.Delete("inbox", []byte(message(cycle, i*messages/deleted))); err != nil {
					return err
				}
			}
			return nil
		})
		x = look(pass)
		for i := range deleted {
			m := message(cycle, i*messages/deleted)
			if x.values[live[m]] {
				early++
			}
			drop(m)
		}
		for i := range messages { // of the day that disappears
			if m := message(cycle-2, i); live[m] != "" {
				drop(m)
			}
		}
		if _, err := v.Disappear(now); err != nil {
			t.Fatal(err)
		}
		if err := v.Rotate(now); err != nil {
			t.Fatal(err)
		}
		if cycle%5 == 4 {
			old := pass
			pass = fmt.Appendf(nil, "passphrase %d", cycle)
			if err := v.ChangePassphrase(pass, cheap); err != nil {
				t.Fatal(err)
			}
			if look(old).ring.master != nil {
				t.Fatalf("cycle %d: a passphrase that was changed still opens the profile", cycle)
			}
		}
		after := taken()
		for p := range before {
			if !after[p] {
				dead = append(dead, []byte(p))
			}
		}
		x = look(pass)
		for record, value := range live {
			if !x.values[value] {
				t.Fatalf("cycle %d: the thief does not find %q", cycle, record)
			}
		}
		for value := range gone {
			if x.values[value] {
				t.Fatalf("cycle %d: something that was deleted or replaced came back", cycle)
			}
		}
		for _, p := range dead {
			if bytes.Contains(x.raw, p[len(p)-48:]) {
				t.Fatalf("cycle %d: a destroyed slot's payload is on the device", cycle)
			}
		}
		dead = dead[max(0, len(dead)-40):]
	}
	if early == 0 {
		t.Error("nothing came back before its rotation: the thief's ways were not put to the test")
	}
	t.Logf("%d cycles: %d records replaced, deleted or disappeared, 0 came back after the rotation (%d before it)", *cycles, len(gone), early)
}
