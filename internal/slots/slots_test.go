package slots

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"kin/internal/disk"

	"pgregory.net/rapid"
)

func create(t *testing.T, n int) (*File, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys")
	f, err := Create(disk.OS{}, path, n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f, path
}

func mustSet(t *testing.T, f *File, i int, payload string) {
	t.Helper()
	if err := f.Set(i, []byte(payload)); err != nil {
		t.Fatal(err)
	}
}

func wantGet(t *testing.T, f *File, i int, want string) {
	t.Helper()
	got, err := f.Get(i)
	if err != nil || string(got) != want || (want == "") != (got == nil) {
		t.Fatalf("Get(%d) = %q, %v; want %q", i, got, err, want)
	}
}

func TestSetGetDestroy(t *testing.T) {
	onDisk, _ := create(t, 3)
	for name, f := range map[string]*File{"disk": onDisk, "memory": Memory(3)} {
		t.Run(name, func(t *testing.T) {
			if f.Len() != 3 {
				t.Fatalf("Len() = %d", f.Len())
			}
			wantGet(t, f, 2, "")
			mustSet(t, f, 2, "a key")
			wantGet(t, f, 2, "a key")
			wantGet(t, f, 1, "")
			if err := f.Set(2, []byte("other")); !errors.Is(err, ErrOccupied) {
				t.Fatalf("Set on an occupied slot: %v", err)
			}
			wantGet(t, f, 2, "a key")
			for range 2 {
				if err := f.Destroy(2, 0); err != nil {
					t.Fatal(err)
				}
				wantGet(t, f, 2, "")
			}
			mustSet(t, f, 2, "next")
			wantGet(t, f, 2, "next")
			for _, i := range []int{-1, 3} {
				if _, err := f.Get(i); err == nil {
					t.Fatalf("Get(%d): no error", i)
				}
				if err := f.Set(i, []byte("x")); err == nil {
					t.Fatalf("Set(%d): no error", i)
				}
				if err := f.Destroy(i); err == nil {
					t.Fatalf("Destroy(%d): no error", i)
				}
			}
			for _, n := range []int{0, MaxPayload + 1} {
				if err := f.Set(0, make([]byte, n)); err == nil {
					t.Fatalf("Set of %d bytes: no error", n)
				}
			}
			mustSet(t, f, 0, string(bytes.Repeat([]byte{7}, MaxPayload)))
		})
	}
}

// Blanks tells of every slot what is in the file, over the edges of its reads.
func TestBlanks(t *testing.T) {
	const n = 2*run + 7
	onDisk, path := create(t, n)
	for name, f := range map[string]*File{"disk": onDisk, "memory": Memory(n)} {
		t.Run(name, func(t *testing.T) {
			full := map[int]bool{0: true, run - 1: true, run: true, 2*run + 6: true}
			for i := range full {
				mustSet(t, f, i, "a key")
			}
			if name == "disk" { // half a write: no key, and not blank
				torn, err := os.OpenFile(path, os.O_WRONLY, 0)
				if err != nil {
					t.Fatal(err)
				}
				defer torn.Close()
				if _, err := torn.WriteAt([]byte{1}, (1+run+5)*4096+4095); err != nil {
					t.Fatal(err)
				}
				full[run+5] = true
			}
			got, err := f.Blanks()
			if err != nil || len(got) != n {
				t.Fatalf("%d slots, %v", len(got), err)
			}
			for i, blank := range got {
				if blank == full[i] {
					t.Errorf("slot %d: blank %v", i, blank)
				}
			}
		})
	}
}

func TestDestroyGoesOnPastABadNumber(t *testing.T) {
	f, _ := create(t, 2)
	mustSet(t, f, 1, "key")
	if err := f.Destroy(9, 1); err == nil {
		t.Fatal("no error")
	}
	wantGet(t, f, 1, "")
}

func TestDestroyLeavesNothingInTheFile(t *testing.T) {
	f, path := create(t, 4)
	before, _ := os.ReadFile(path)
	key := bytes.Repeat([]byte("MARKER!!"), MaxPayload/8)
	mustSet(t, f, 3, string(key))
	if raw, _ := os.ReadFile(path); !bytes.Contains(raw, key) {
		t.Fatal("the marker was never in the file")
	}
	if err := f.Destroy(3); err != nil {
		t.Fatal(err)
	}
	if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
		t.Fatal("the file differs from a new one")
	}
}

func TestGetReadsWhatAnotherProcessWrote(t *testing.T) {
	f, path := create(t, 2)
	g, err := Open(disk.OS{}, path)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	mustSet(t, f, 1, "key")
	wantGet(t, g, 1, "key")
	if err := g.Destroy(1); err != nil {
		t.Fatal(err)
	}
	wantGet(t, f, 1, "")
}

func TestCreateRefusesAnExistingFile(t *testing.T) {
	f, path := create(t, 2)
	mustSet(t, f, 0, "key")
	if _, err := Create(disk.OS{}, path, 2); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("error %v", err)
	}
	wantGet(t, f, 0, "key")
	other := filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(other, []byte("not ours"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(disk.OS{}, other, 2); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("error %v", err)
	}
	if b, _ := os.ReadFile(other); string(b) != "not ours" {
		t.Fatal("the file was changed")
	}
	for _, n := range []int{0, -1, MaxSlots + 1} {
		if _, err := Create(disk.OS{}, filepath.Join(t.TempDir(), "f"), n); err == nil {
			t.Fatalf("Create of %d slots: no error", n)
		}
	}
}

func TestUnfinishedCreateCountsAsNone(t *testing.T) {
	for _, size := range []int{0, 1, slotSize, slotSize + 1, 3 * slotSize} {
		path := filepath.Join(t.TempDir(), "keys")
		if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(disk.OS{}, path); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("Open of %d zeros: %v", size, err)
		}
		f, err := Create(disk.OS{}, path, 2)
		if err != nil {
			t.Fatal(err)
		}
		mustSet(t, f, 1, "key")
		f.Close()
	}
}

// A flipped bit anywhere is either an error of Open or costs one slot; no slot
// ever yields other bytes than were set.
func TestFlippedBit(t *testing.T) {
	f, path := create(t, 2)
	mustSet(t, f, 0, "first key")
	mustSet(t, f, 1, "second key")
	f.Close()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	flip := filepath.Join(t.TempDir(), "keys")
	for off := 0; off < len(raw); off += 1 + off%7*off%13 {
		b := bytes.Clone(raw)
		b[off] ^= 1 << (off % 8)
		if err := os.WriteFile(flip, b, 0o600); err != nil {
			t.Fatal(err)
		}
		g, err := Open(disk.OS{}, flip)
		if off < slotSize {
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewer) {
				t.Fatalf("flip at %d: Open: %v", off, err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("flip at %d: %v", off, err)
		}
		hit := off/slotSize - 1
		wantGet(t, g, hit, "")
		wantGet(t, g, 1-hit, []string{"first key", "second key"}[1-hit])
		g.Close()
	}
}

func TestTruncatedFile(t *testing.T) {
	f, path := create(t, 3)
	mustSet(t, f, 0, "key")
	f.Close()
	raw, _ := os.ReadFile(path)
	for _, n := range []int{1, 7, 31, 32, 511, 512, 600, slotSize - 1, slotSize, slotSize + 1, 2 * slotSize, len(raw) - 1} {
		cut := filepath.Join(t.TempDir(), "keys")
		if err := os.WriteFile(cut, raw[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(disk.OS{}, cut); !errors.Is(err, ErrDamaged) {
			t.Fatalf("Open of %d bytes: %v", n, err)
		}
		if _, err := Create(disk.OS{}, cut, 3); !errors.Is(err, fs.ErrExist) {
			t.Fatalf("Create over %d bytes: %v", n, err)
		}
	}
	long := append(bytes.Clone(raw), 0)
	cut := filepath.Join(t.TempDir(), "keys")
	os.WriteFile(cut, long, 0o600)
	if _, err := Open(disk.OS{}, cut); !errors.Is(err, ErrDamaged) {
		t.Fatalf("Open of a longer file: %v", err)
	}
}

func TestNewerVersion(t *testing.T) {
	b := header(2)
	b[11]++
	b = resum(b)
	if _, err := parseHeader(b); !errors.Is(err, ErrNewer) {
		t.Fatalf("error %v", err)
	}
	b[11] = 0
	if _, err := parseHeader(resum(b)); !errors.Is(err, ErrDamaged) {
		t.Fatalf("version 0: error %v", err)
	}
}

func TestOpenMissing(t *testing.T) {
	if _, err := Open(disk.OS{}, filepath.Join(t.TempDir(), "keys")); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("error %v", err)
	}
}

func TestSwappedBlocksAreNoKeys(t *testing.T) {
	f, path := create(t, 2)
	mustSet(t, f, 0, "key")
	raw, _ := os.ReadFile(path)
	copy(raw[2*slotSize:], raw[slotSize:2*slotSize])
	os.WriteFile(path, raw, 0o600)
	wantGet(t, f, 0, "key")
	wantGet(t, f, 1, "")
}

func TestWipe(t *testing.T) {
	f, path := create(t, 100)
	for i := range 100 {
		mustSet(t, f, i, "MARKER")
	}
	if err := f.Wiped(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := Wipe(disk.OS{}, path); err != nil {
			t.Fatal(err)
		}
	}
	if raw, _ := os.ReadFile(path); bytes.Contains(raw, []byte("MARKER")) {
		t.Fatal("a key survived")
	}
	if err := f.Wiped(); !errors.Is(err, ErrWiped) {
		t.Fatalf("Wiped() = %v", err)
	}
	if _, err := Open(disk.OS{}, path); !errors.Is(err, ErrWiped) {
		t.Fatalf("Open: %v", err)
	}
	if _, err := Create(disk.OS{}, path, 2); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("Create: %v", err)
	}
	// Another process that has it open and sets a key all the same.
	if err := f.Set(5, []byte("MARKER")); !errors.Is(err, ErrWiped) {
		t.Fatalf("Set: %v", err)
	}
	if raw, _ := os.ReadFile(path); bytes.Contains(raw, []byte("MARKER")) {
		t.Fatal("a key set after Wipe survived")
	}
}

func TestWipeOfADamagedFile(t *testing.T) {
	for _, size := range []int{0, 1, 600, slotSize, 2*slotSize + 9} {
		path := filepath.Join(t.TempDir(), "keys")
		os.WriteFile(path, bytes.Repeat([]byte("MARKER"), size/6+1)[:size], 0o600)
		if err := Wipe(disk.OS{}, path); err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		if raw, _ := os.ReadFile(path); len(raw) > slotSize && bytes.Contains(raw[slotSize:], []byte("MARKER")) {
			t.Fatalf("%d bytes: a key survived", size)
		}
	}
}

func resum(b []byte) []byte {
	sum := sumOf(b[:headerSize-sumSize])
	return append(b[:headerSize-sumSize:headerSize-sumSize], sum...)
}

// The file behaves as a map of slots, through any history of opens.
func TestAgainstAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "slots")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		path := filepath.Join(dir, "keys")
		const n = 4
		f, err := Create(disk.OS{}, path, n)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { f.Close() }()
		want := map[int]string{}
		slot := rapid.IntRange(0, n-1)
		t.Repeat(map[string]func(*rapid.T){
			"set": func(t *rapid.T) {
				i := slot.Draw(t, "slot")
				p := rapid.SliceOfN(rapid.Byte(), 1, MaxPayload).Draw(t, "payload")
				err := f.Set(i, p)
				if _, taken := want[i]; taken != errors.Is(err, ErrOccupied) || !taken && err != nil {
					t.Fatalf("Set(%d): %v", i, err)
				} else if !taken {
					want[i] = string(p)
				}
			},
			"destroy": func(t *rapid.T) {
				is := rapid.SliceOf(slot).Draw(t, "slots")
				if err := f.Destroy(is...); err != nil {
					t.Fatal(err)
				}
				for _, i := range is {
					delete(want, i)
				}
			},
			"reopen": func(t *rapid.T) {
				f.Close()
				if f, err = Open(disk.OS{}, path); err != nil {
					t.Fatal(err)
				}
			},
			"": func(t *rapid.T) {
				for i := range n {
					if got, err := f.Get(i); err != nil || string(got) != want[i] {
						t.Fatalf("Get(%d) = %x, %v", i, got, err)
					}
				}
			},
		})
	})
}

func FuzzParseSlot(f *testing.F) {
	f.Add(uint16(3), make([]byte, slotSize))
	f.Add(uint16(3), appendSlot(nil, 3, []byte("key")))
	f.Add(uint16(0), appendSlot(nil, 0, make([]byte, MaxPayload)))
	f.Fuzz(func(t *testing.T, i uint16, b []byte) {
		b = append(b, make([]byte, slotSize)...)[:slotSize]
		p := parseSlot(int(i), b)
		if p == nil {
			return
		}
		if again := appendSlot(nil, int(i), p); !bytes.Equal(again, bytes.TrimRight(b, "\x00")) &&
			!bytes.Equal(append(again, make([]byte, slotSize-len(again))...), b) {
			t.Fatal("what parses does not marshal to the same")
		}
	})
}

func FuzzParseHeader(f *testing.F) {
	f.Add(header(1))
	f.Add(header(MaxSlots))
	f.Fuzz(func(t *testing.T, b []byte) {
		if n, err := parseHeader(b); err == nil && !bytes.Equal(header(n), b) {
			t.Fatal("what parses does not marshal to the same")
		} else if err != nil && n != 0 {
			t.Fatal("a count with an error")
		}
	})
}

func sumOf(b []byte) []byte {
	sum := sha256.Sum256(b)
	return sum[:sumSize]
}
