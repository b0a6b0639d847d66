package vault

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/blake2b"
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
	if testing.Short() {
		t.Skip("NOT RUN with -short: of one thread the race detector learns nothing")
	}
	dir := t.TempDir()
	pass := make([]byte, 32)
	rand.Read(pass)
	costly := Params{MemoryKiB: stretched >> 10, Time: 1, Threads: 1}
	v, err := Create(dir, pass, costly, keep, nil)
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
	head := make([]byte, passphraseHeadSize)
	if err := v.View(func(tx *Tx) error {
		wrapped, err := tx.slots.Get(tx.root.slot(usePassphrase, 0))
		copy(head, wrapped)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	needles["key from the passphrase"] = stretch(pass, head, costly)
	needles["H0"], needles["what BLAKE2b chains to H0"] = startOfArgon2id(t, pass, head, costly)
	c := startChild(t, childEnv+"="+dir)
	c.say(pass, "open")
	if found := scanMemory(t, c.pid, needles); found["master key"] == 0 {
		t.Fatal("the scan does not find the master key of an open profile")
	}
	c.say([]byte{'\n'}, "closed")
	found := scanMemory(t, c.pid, needles)
	for name, n := range found {
		if n > 0 {
			t.Errorf("%s: in memory %d times", name, n)
		}
	}
	t.Logf("%d keys and records looked for after Close", len(needles))
}

// startOfArgon2id is H0 (RFC 9106, section 3.2), with which the key can be made, and the
// state of BLAKE2b before its last block, from which H0 follows.
func startOfArgon2id(t *testing.T, pass, head []byte, p Params) (h0, chained []byte) {
	t.Helper()
	var b []byte
	for _, n := range []uint32{uint32(p.Threads), keySize, p.MemoryKiB, p.Time, 0x13, 2, uint32(len(pass))} {
		b = le.AppendUint32(b, n)
	}
	salt := padded(head[passphraseHeadSize-saltSize:], len(pass))
	b = le.AppendUint32(append(b, pass...), uint32(len(salt)))
	b = append(append(b, salt...), make([]byte, 8)...)
	h, err := blake2b.New512(nil)
	if err != nil {
		t.Fatal(err)
	}
	h.Write(b)
	state, err := h.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	for words := state[len("b2b"):][:64]; len(words) > 0; words = words[8:] { // as they lie in memory
		chained = le.AppendUint64(chained, binary.BigEndian.Uint64(words))
	}
	return h.Sum(nil), chained
}

// stretchEnv has a child process stretch a passphrase, with the padded salt or without.
const stretchEnv = "KIN_VAULT_TEST_STRETCH"

func init() { children[stretchEnv] = stretchOnce }

func stretchOnce(how string) error {
	pass, salt := make([]byte, 32), make([]byte, saltSize)
	for _, b := range [][]byte{pass, salt} {
		if _, err := io.ReadFull(os.Stdin, b); err != nil {
			return err
		}
	}
	if how == "padded" {
		salt = padded(salt, len(pass))
	}
	argon2.IDKey(pass, salt, 1, MinMemoryKiB, 1, keySize)
	clear(pass)
	fmt.Println("stretched")
	io.Copy(io.Discard, os.Stdin)
	return nil
}

// TestArgon2idKeepsNoPassphrase: with the padded salt nothing of a passphrase is left
// in memory, even where none is collected or given back. That it is there without the
// padding, and that what BLAKE2b chains is there with it, shows that the scan finds them.
func TestArgon2idKeepsNoPassphrase(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT RUN with -short: of one thread the race detector learns nothing")
	}
	found := map[string]map[string]int{}
	for _, how := range []string{"bare", "padded"} {
		pass, head := make([]byte, 32), make([]byte, passphraseHeadSize)
		rand.Read(pass)
		salt := head[passphraseHeadSize-saltSize:]
		rand.Read(salt)
		needles := map[string][]byte{}
		for i := 0; i < len(pass); i += 8 {
			needles["passphrase"+strconv.Itoa(i)] = pass[i:][:8]
		}
		_, needles["chained"] = startOfArgon2id(t, pass, head, Params{MinMemoryKiB, 1, 1})
		c := startChild(t, stretchEnv+"="+how)
		c.say(slices.Concat(pass, salt), "stretched")
		found[how] = scanMemory(t, c.pid, needles)
	}
	for what, n := range found["padded"] {
		if what != "chained" && n > 0 {
			t.Errorf("%s is in memory %d times", what, n)
		}
	}
	if found["bare"]["passphrase0"] == 0 || found["padded"]["chained"] == 0 {
		t.Error("the scan does not find what is there")
	}
}

// child is this test program as a process of its own, without a collector that runs by
// chance.
type child struct {
	t     *testing.T
	pid   int
	in    io.Writer
	lines *bufio.Reader
}

func startChild(t *testing.T, env string) *child {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), env, "GOGC=off")
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
	t.Cleanup(func() { in.Close(); c.Wait() })
	return &child{t, c.Process.Pid, in, bufio.NewReader(out)}
}

// say writes to the child and waits for its line.
func (c *child) say(b []byte, want string) {
	c.t.Helper()
	if _, err := c.in.Write(b); err != nil {
		c.t.Fatal(err)
	}
	if line, err := c.lines.ReadString('\n'); strings.TrimSpace(line) != want {
		c.t.Fatalf("%q, %v; want %q", line, err, want)
	}
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
