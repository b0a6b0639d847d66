package vault

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"pgregory.net/rapid"
)

var (
	cheap      = Params{MinMemoryKiB, 1, 1}
	passphrase = []byte("correct horse battery staple")
	noon       = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
)

const keep = 30 * 24 * time.Hour

type fataler interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
}

func newVault(t *testing.T) (*Vault, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "profile")
	v, err := Create(dir, passphrase, cheap, keep, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v, dir
}

func reopen(t fataler, dir string, key []byte) *Vault {
	t.Helper()
	v, err := OpenKey(dir, key)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func update(t fataler, v *Vault, f func(*Tx) error) {
	t.Helper()
	if err := v.Update(noon, f); err != nil {
		t.Fatal(err)
	}
}

func put(table, id, value string) func(*Tx) error {
	return func(tx *Tx) error { return tx.Put(table, []byte(id), []byte(value)) }
}

func putRotating(table, id, value string) func(*Tx) error {
	return func(tx *Tx) error { return tx.PutRotating(table, []byte(id), []byte(value)) }
}

func putUntil(table, id, value string, day uint32) func(*Tx) error {
	return func(tx *Tx) error { return tx.PutUntil(table, []byte(id), []byte(value), day) }
}

// content is all records of a table, as "id=value" joined; "" for none.
func content(t fataler, v *Vault, table string) map[string]string {
	t.Helper()
	m := map[string]string{}
	if err := v.View(func(tx *Tx) error {
		return tx.Each(table, func(id, value []byte) error {
			m[string(id)] = string(value)
			if got, err := tx.Get(table, id); err != nil || !bytes.Equal(got, value) {
				return fmt.Errorf("Get(%q) = %q, %v; Each had %q", id, got, err, value)
			}
			return nil
		})
	}); err != nil {
		t.Fatal(err)
	}
	return m
}

func wantRecord(t fataler, v *Vault, table, id, want string) {
	t.Helper()
	if err := v.View(func(tx *Tx) error {
		got, err := tx.Get(table, []byte(id))
		if err == nil && (string(got) != want || (got == nil) != (want == "")) {
			err = fmt.Errorf("Get(%q, %q) = %q, want %q", table, id, got, want)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

func TestRecords(t *testing.T) {
	v, dir := newVault(t)
	today := Day(noon)
	update(t, v, func(tx *Tx) error {
		return errors.Join(
			put("contacts", "ok", "1")(tx),
			putUntil("inbox", "m1", "hello", today)(tx),
			putRotating("sessions", "s1", "state 1")(tx),
			put("contacts", "", "no id")(tx),
			tx.Put("contacts", []byte("nothing"), nil),
		)
	})
	for _, v := range []*Vault{v, reopen(t, dir, v.Key())} {
		wantRecord(t, v, "contacts", "ok", "1")
		wantRecord(t, v, "contacts", "", "no id")
		wantRecord(t, v, "inbox", "m1", "hello")
		wantRecord(t, v, "sessions", "s1", "state 1")
		wantRecord(t, v, "sessions", "ok", "")
		if m := content(t, v, "contacts"); len(m) != 3 || m["ok"] != "1" || m["nothing"] != "" {
			t.Fatalf("Each: %v", m)
		}
	}
	update(t, v, func(tx *Tx) error {
		return errors.Join(
			put("contacts", "ok", "2")(tx),
			tx.Delete("inbox", []byte("m1")),
			tx.Delete("inbox", []byte("never")),
			putRotating("sessions", "s1", "state 2")(tx),
			putRotating("sessions", "s1", "state 3")(tx),
		)
	})
	for _, v := range []*Vault{v, reopen(t, dir, v.Key())} {
		wantRecord(t, v, "contacts", "ok", "2")
		wantRecord(t, v, "inbox", "m1", "")
		wantRecord(t, v, "sessions", "s1", "state 3")
	}
	if err := v.View(put("contacts", "x", "y")); !errors.Is(err, errReadOnly) {
		t.Fatalf("Put in View: %v", err)
	}
	if err := v.View(putRotating("contacts", "x", "y")); !errors.Is(err, errReadOnly) {
		t.Fatalf("PutRotating in View: %v", err)
	}
	if err := v.View(func(tx *Tx) error { return tx.Delete("contacts", []byte("ok")) }); !errors.Is(err, errReadOnly) {
		t.Fatalf("Delete in View: %v", err)
	}
}

func TestUpdateRollsBack(t *testing.T) {
	v, dir := newVault(t)
	update(t, v, func(tx *Tx) error {
		return errors.Join(put("t", "a", "1")(tx), putRotating("s", "a", "1")(tx))
	})
	before := files(t, dir)
	stop := errors.New("stop")
	err := v.Update(noon, func(tx *Tx) error {
		return errors.Join(put("t", "a", "2")(tx), put("t", "b", "2")(tx), putRotating("s", "a", "2")(tx),
			putUntil("m", "a", "2", 1)(tx), tx.Delete("t", []byte("a")), stop)
	})
	if !errors.Is(err, stop) {
		t.Fatal(err)
	}
	after := files(t, dir)
	for name := range before {
		if !bytes.Equal(before[name], after[name]) {
			t.Errorf("%s changed", name)
		}
	}
	wantRecord(t, v, "t", "a", "1")
	wantRecord(t, v, "s", "a", "1")
	wantRecord(t, v, "t", "b", "")
}

func TestPassphrase(t *testing.T) {
	v, dir := newVault(t)
	update(t, v, put("t", "a", "1"))
	if _, err := Open(dir, []byte("wrong")); !errors.Is(err, ErrPassphrase) {
		t.Fatalf("wrong passphrase: %v", err)
	}
	if _, err := OpenKey(dir, make([]byte, keySize)); !errors.Is(err, ErrPassphrase) {
		t.Fatalf("wrong key: %v", err)
	}
	if _, err := OpenKey(dir, nil); !errors.Is(err, ErrPassphrase) {
		t.Fatalf("no key: %v", err)
	}
	old := files(t, dir)[slotsName][4096*1 : 4096*2]
	for _, next := range []string{"second", "third", ""} {
		if err := v.ChangePassphrase([]byte(next), cheap); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir, passphrase); !errors.Is(err, ErrPassphrase) {
			t.Fatalf("the old passphrase: %v", err)
		}
		w, err := Open(dir, []byte(next))
		if err != nil {
			t.Fatal(err)
		}
		wantRecord(t, w, "t", "a", "1")
		if !bytes.Equal(w.Key(), v.Key()) {
			t.Fatal("the unlocked session's key has changed")
		}
	}
	if bytes.Contains(files(t, dir)[slotsName], old[10:140]) {
		t.Fatal("the old wrapped key is still in the file")
	}
}

func TestCreateMakesNothingIfItFails(t *testing.T) {
	base := t.TempDir()
	blocked := filepath.Join(base, "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	full := filepath.Join(base, "full")
	// A folder where a file should come: the last step but one fails.
	if err := os.MkdirAll(filepath.Join(full, newName, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]func() error{
		"memory": func() error {
			_, err := Create(filepath.Join(base, "a", "b"), passphrase, Params{MinMemoryKiB - 1, 1, 1}, keep, nil)
			return err
		},
		"keep": func() error {
			_, err := Create(filepath.Join(base, "a"), passphrase, cheap, time.Hour, nil)
			return err
		},
		"keep long": func() error {
			_, err := Create(filepath.Join(base, "a"), passphrase, cheap, MaxKeep+1, nil)
			return err
		},
		"in a file": func() error { _, err := Create(filepath.Join(blocked, "p"), passphrase, cheap, keep, nil); return err },
		"a file":    func() error { _, err := Create(blocked, passphrase, cheap, keep, nil); return err },
		"obstacle":  func() error { _, err := Create(full, passphrase, cheap, keep, nil); return err },
		"first": func() error {
			_, err := Create(filepath.Join(base, "a"), passphrase, cheap, keep, func(*Tx) error { return errClosed })
			return err
		},
	} {
		if err := f(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	var got []string
	filepath.WalkDir(base, func(path string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(base, path)
		got = append(got, filepath.ToSlash(rel))
		return nil
	})
	if want := ". file full full/records.new full/records.new/x"; strings.Join(got, " ") != want {
		t.Errorf("left behind: %q", got)
	}
}

func TestCreateMakesParentsAndTakesThemAway(t *testing.T) {
	base := t.TempDir()
	undo, err := makeFolder(filepath.Join(base, "a", "b", "c"))
	if err != nil {
		t.Fatal(err)
	}
	undo()
	if es, _ := os.ReadDir(base); len(es) != 0 {
		t.Fatal("a folder is left")
	}
}

func TestCreateOverAProfile(t *testing.T) {
	v, dir := newVault(t)
	update(t, v, put("t", "a", "1"))
	if _, err := Create(dir, passphrase, cheap, keep, nil); !errors.Is(err, ErrExists) {
		t.Fatalf("error %v", err)
	}
	wantRecord(t, reopen(t, dir, v.Key()), "t", "a", "1")
}

func TestCreateAfterACrashOfCreateOrWipe(t *testing.T) {
	src, dir := newVault(t)
	src.Close()
	whole := files(t, dir)
	for name, left := range map[string]map[string][]byte{
		"lock only":      {lockName: nil},
		"slots begun":    {lockName: nil, slotsName: make([]byte, 9999)},
		"slots":          {lockName: nil, slotsName: whole[slotsName]},
		"records begun":  {lockName: nil, slotsName: whole[slotsName], newName: whole[recordsName][:5000]},
		"records unread": {lockName: nil, slotsName: whole[slotsName], newName: whole[recordsName]},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			writeFiles(t, dir, left)
			if Exists(dir) {
				t.Fatal("Exists")
			}
			if _, err := Open(dir, passphrase); !errors.Is(err, ErrNotFound) {
				t.Fatalf("Open: %v", err)
			}
			v, err := Create(dir, passphrase, cheap, keep, nil)
			if err != nil {
				t.Fatal(err)
			}
			update(t, v, put("t", "a", "1"))
		})
	}
	// A wipe that got as far as the mark.
	wiped := t.TempDir()
	writeFiles(t, wiped, whole)
	mark := []byte("kin slots: wiped")
	b := bytes.Clone(whole[slotsName])
	copy(b[512:], mark)
	writeFiles(t, wiped, map[string][]byte{slotsName: b})
	if _, err := Open(wiped, passphrase); !errors.Is(err, ErrWiped) {
		t.Fatalf("Open: %v", err)
	}
	v, err := Create(wiped, passphrase, cheap, keep, nil)
	if err != nil {
		t.Fatal(err)
	}
	update(t, v, put("t", "a", "1"))
}

func TestOpenNothing(t *testing.T) {
	for _, dir := range []string{t.TempDir(), filepath.Join(t.TempDir(), "none")} {
		if _, err := Open(dir, passphrase); !errors.Is(err, ErrNotFound) {
			t.Errorf("Open: %v", err)
		}
		if _, err := OpenKey(dir, make([]byte, keySize)); !errors.Is(err, ErrNotFound) {
			t.Errorf("OpenKey: %v", err)
		}
		if err := Wipe(dir); !errors.Is(err, ErrNotFound) {
			t.Errorf("Wipe: %v", err)
		}
	}
}

func TestACopyWithoutTheLockFileOpens(t *testing.T) {
	v, dir := newVault(t)
	update(t, v, put("t", "a", "1"))
	if err := os.Remove(filepath.Join(dir, lockName)); err != nil {
		t.Fatal(err)
	}
	wantRecord(t, reopen(t, dir, v.Key()), "t", "a", "1")
}

func TestClosed(t *testing.T) {
	v, _ := newVault(t)
	v.Close()
	if err := v.Update(noon, put("t", "a", "1")); !errors.Is(err, errClosed) {
		t.Fatalf("Update: %v", err)
	}
	if err := v.ChangePassphrase(nil, cheap); !errors.Is(err, errClosed) {
		t.Fatalf("ChangePassphrase: %v", err)
	}
	if v.Key() != nil {
		t.Fatal("a key after Close")
	}
}

// A profile that another process replaced by an older copy of itself while this
// one had it open.
func TestGenerationNeverGoesBack(t *testing.T) {
	v, dir := newVault(t)
	old := files(t, dir)
	update(t, v, put("t", "a", "1"))
	writeFiles(t, dir, old)
	if err := v.Update(noon, put("t", "a", "2")); !errors.Is(err, ErrDamaged) {
		t.Fatalf("error %v", err)
	}
}

// The vault is a map of maps, whatever the history of opens and rotations, and
// every slot is accounted for.
func TestAgainstAMap(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT RUN with -short: of one thread the race detector learns nothing")
	}
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp(memory(), "kin-vault-")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		v, err := Create(dir, passphrase, cheap, keep, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { v.Close() }()
		type where struct{ table, id string }
		type what struct {
			value string
			day   int // 0: not a message's
		}
		want := map[where]what{}
		now := noon
		table := rapid.SampledFrom([]string{"", "a", "b"})
		id := rapid.SampledFrom([]string{"", "1", "2", "3", "4", "5", "6", "7"})
		value := rapid.SliceOfN(rapid.Byte(), 1, 9000)
		t.Repeat(map[string]func(*rapid.T){
			"update": func(t *rapid.T) {
				next := map[where]what{}
				for k, w := range want {
					next[k] = w
				}
				fail := rapid.IntRange(0, 4).Draw(t, "fail") == 0
				stop := errors.New("stop")
				err := v.Update(now, func(tx *Tx) error {
					for range rapid.IntRange(0, 5).Draw(t, "operations") {
						k := where{table.Draw(t, "table"), id.Draw(t, "id")}
						b := value.Draw(t, "value")
						var err error
						switch rapid.IntRange(0, 3).Draw(t, "kind") {
						case 0:
							err = tx.Delete(k.table, []byte(k.id))
							delete(next, k)
						case 1:
							err = tx.Put(k.table, []byte(k.id), b)
							next[k] = what{string(b), 0}
						case 2:
							err = tx.PutRotating(k.table, []byte(k.id), b)
							next[k] = what{string(b), 0}
						case 3:
							day := int(Day(now)) - rapid.IntRange(0, 3).Draw(t, "age")
							err = tx.PutUntil(k.table, []byte(k.id), b, uint32(day))
							next[k] = what{string(b), day}
						}
						if err != nil {
							return err
						}
					}
					if fail {
						return stop
					}
					return nil
				})
				if fail != errors.Is(err, stop) || !fail && err != nil {
					t.Fatal(err)
				}
				if !fail {
					want = next
				}
			},
			"reopen": func(t *rapid.T) {
				key := v.Key()
				v.Close()
				v = reopen(t, dir, key)
			},
			"rotate": func(t *rapid.T) {
				if err := v.Rotate(now); err != nil {
					t.Fatal(err)
				}
			},
			"disappear": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(0, 20*24).Draw(t, "hours")) * time.Hour)
				gone := 0
				for k, w := range want {
					if w.day != 0 && w.day+30 < int(Day(now)) {
						delete(want, k)
						gone++
					}
				}
				if n, err := v.Disappear(now); err != nil || n != gone {
					t.Fatalf("Disappear = %d, %v; want %d", n, err, gone)
				}
			},
			"": func(t *rapid.T) {
				n := 0
				for _, tab := range []string{"", "a", "b"} {
					for i, got := range content(t, v, tab) {
						if w, ok := want[where{tab, i}]; !ok || w.value != got {
							t.Fatalf("%q %q = %q", tab, i, got)
						}
						n++
					}
				}
				if n != len(want) {
					t.Fatalf("%d records, want %d", n, len(want))
				}
				checkSlots(t, v)
			},
		})
	})
}

// slotFile is where checkSlots reads it to.
var slotFile [(1 + slotCount) * 4096]byte

// checkSlots fails unless the slots that hold anything are those that the root
// names.
func checkSlots(t fataler, v *Vault) {
	t.Helper()
	if err := v.View(func(tx *Tx) error {
		f, err := os.Open(v.path(slotsName))
		if err != nil {
			return err
		}
		defer f.Close()
		if _, err := io.ReadFull(f, slotFile[:]); err != nil {
			return err
		}
		for i, e := range tx.root.slots {
			if blank := zero(slotFile[(1+i)*4096:][:4096]); blank != (e.use == useNone) {
				return fmt.Errorf("slot %d: blank %t, use %d", i, blank, e.use)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// files reads the files of a folder.
func files(t fataler, dir string) map[string][]byte {
	t.Helper()
	m := map[string][]byte{}
	es, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range es {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		m[e.Name()] = b
	}
	return m
}

func writeFiles(t fataler, dir string, m map[string][]byte) {
	t.Helper()
	for name, b := range m {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// A profile of a later version is named as such and left as it is.
func TestNewerVersion(t *testing.T) {
	v, dir := newVault(t)
	key := v.Key()
	v.Close()
	name := filepath.Join(dir, recordsName)
	db, err := openBolt(name, false, 0)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(bolt *bbolt.Tx) error {
		b := bolt.Bucket(bucketName)
		later := bytes.Clone(b.Get(headKey)[:3])
		later[0]++
		sum := sha256.Sum256(later)
		return b.Put(headKey, append(later, sum[:headSize-3]...))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, passphrase); !errors.Is(err, ErrNewer) {
		t.Errorf("with the passphrase: %v", err)
	}
	if _, err := OpenKey(dir, key); !errors.Is(err, ErrNewer) {
		t.Errorf("with the key: %v", err)
	}
	if after, err := os.ReadFile(name); err != nil || !bytes.Equal(before, after) {
		t.Error("the profile was changed")
	}
}
