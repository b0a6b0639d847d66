package vault

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
)

// childEnv names the profile that a child process of the test opens and closes.
const childEnv = "KIN_VAULT_TEST_PROFILE"

// stretched is the bytes of memory that its passphrase costs.
const stretched = 64 << 20

func init() { children[childEnv] = openAndClose }

// openAndClose reads a passphrase, opens the profile, looks at all that is in it, and
// closes it, saying so, and then waits for its end.
func openAndClose(dir string) error {
	pass := make([]byte, 32)
	if _, err := io.ReadFull(os.Stdin, pass); err != nil { // no reader between, which would keep it
		return err
	}
	v, err := Open(dir, pass)
	if err != nil {
		return err
	}
	clear(pass)
	var m runtime.MemStats
	if runtime.ReadMemStats(&m); m.HeapSys-m.HeapReleased >= stretched {
		return errors.New("what the passphrase was stretched in is still there")
	}
	read := func(tx *Tx) error {
		for _, table := range []string{"contacts", "inbox", "sessions"} {
			if err := tx.Each(table, func(id, value []byte) error { clear(value); return nil }); err != nil {
				return err
			}
		}
		return nil
	}
	if err := v.View(read); err != nil {
		return err
	}
	fmt.Println("open")
	if _, err := io.ReadFull(os.Stdin, make([]byte, 1)); err != nil {
		return err
	}
	v.Close()
	fmt.Println("closed")
	io.Copy(io.Discard, os.Stdin)
	return nil
}

// TestKeysAreGoneFromMemoryAfterClose: a process that closed its profile holds neither
// the passphrase nor a key nor a record of it. That the keys were there while it was
// open shows that the scan finds them.
func TestKeysAreGoneFromMemoryAfterClose(t *testing.T) {
	dir := t.TempDir()
	pass := make([]byte, 32)
	rand.Read(pass)
	costly := Params{MemoryKiB: stretched >> 10, Time: 1, Threads: 1}
	v, err := Create(dir, pass, costly, keep)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	needles := map[string][]byte{"passphrase": pass, "master key": v.ring.master, "slots key": v.ring.slots, "root key": v.ring.root,
		"names key": v.ring.names, "refs key": v.ring.refs, "sums key": v.ring.sums}
	update(t, v, func(tx *Tx) error {
		for table, put := range map[string]func(b []byte) error{
			"contacts": func(b []byte) error { return tx.Put("contacts", []byte("c"), b) },
			"inbox":    func(b []byte) error { return tx.PutUntil("inbox", []byte("m"), b, Day(noon)) },
			"sessions": func(b []byte) error { return tx.PutRotating("sessions", []byte("s"), b) },
		} {
			b := make([]byte, 500)
			rand.Read(b)
			needles["record of "+table] = b[100:200]
			if err := put(b); err != nil {
				return err
			}
		}
		for i, k := range tx.keys {
			needles[fmt.Sprint("key of slot ", i)] = bytes.Clone(k)
		}
		return nil
	})
	for name, k := range maps.Clone(needles) {
		if len(k) != keySize {
			continue
		}
		for _, pad := range []byte{0x36, 0x5c} { // HMAC keeps a key so
			x := bytes.Clone(k)
			for i := range x {
				x[i] ^= pad
			}
			needles[fmt.Sprintf("%s ^ %x", name, pad)] = x
		}
	}
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), childEnv+"="+dir, "GOGC=off") // nothing is gone by chance
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer c.Wait()
	defer in.Close()
	lines := bufio.NewReader(out)
	say := func(b []byte, want string) {
		t.Helper()
		if _, err := in.Write(b); err != nil {
			t.Fatal(err)
		}
		if line, err := lines.ReadString('\n'); strings.TrimSpace(line) != want {
			t.Fatalf("%q, %v; want %q", line, err, want)
		}
	}
	say(pass, "open")
	if found := scanMemory(t, c.Process.Pid, needles); found["master key"] == 0 {
		t.Fatal("the scan does not find the master key of an open profile")
	}
	say([]byte{'\n'}, "closed")
	found := scanMemory(t, c.Process.Pid, needles)
	for name, n := range found {
		if n > 0 {
			t.Errorf("%s: in memory %d times", name, n)
		}
	}
	t.Logf("%d keys and records looked for after Close", len(needles))
}

// scanMemory counts where each of the needles lies in what a process can write to.
func scanMemory(t *testing.T, pid int, needles map[string][]byte) map[string]int {
	t.Helper()
	areas, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	found := map[string]int{}
	const overlap = 128
	b := make([]byte, 4<<20)
	for line := range strings.Lines(string(areas)) {
		var from, to int64
		var mode string
		fmt.Sscanf(line, "%x-%x %s", &from, &to, &mode)
		if !strings.HasPrefix(mode, "rw") {
			continue
		}
		for at := from; at < to; at += int64(len(b)) - overlap {
			n, _ := mem.ReadAt(b[:min(int64(len(b)), to-at)], at) // a guard page can't be read
			for name, x := range needles {
				found[name] += bytes.Count(b[:n], x)
			}
		}
	}
	return found
}
