package vault

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"
)

var flips = flag.Int("flips", 100, "bits of a profile to flip, each alone; 0 for one in each byte")

// TestFlippedBitAnywhere flips a bit of a profile with records of every kind: it says
// that it is damaged, at Open or when what was hit is read, or it has all that it had, and
// then it can be used. Only a bit in the key of a retention day costs that day's records, as if they had
// disappeared. All bytes that aren't zeros in free slots: -args -flips 0.
func TestFlippedBitAnywhere(t *testing.T) {
	m := newMachine(t)
	dir := filepath.Join(m.empty, "profile")
	v, err := OpenKey(dir, m.key)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		update(t, v, func(tx *Tx) error {
			day := Day(noon) + uint32(i%2)
			return errors.Join(put("a", fmt.Sprint(i), fmt.Sprintf("contact %d", i))(tx), putUntil("b", fmt.Sprint(i), fmt.Sprintf("message %06000d", i), day)(tx),
				putRotating("b", "state", fmt.Sprintf("state %d", i))(tx), put("a", "settings", fmt.Sprint(i))(tx))
		})
	}
	want := contents(t, v)
	v.Close()
	whole := m.disk(m.empty)
	type spot struct {
		file string
		at   int64
	}
	var spots []spot
	for name, b := range files(t, dir) {
		for at := range b {
			// Of free slots the first byte and the last stand for all.
			if block := at / 4096 * 4096; name != slotsName || !zero(b[block:block+4096]) || at%4096 == 0 || at%4096 == 4095 {
				spots = append(spots, spot{name, int64(at)})
			}
		}
	}
	m.r.Shuffle(len(spots), func(i, j int) { spots[i], spots[j] = spots[j], spots[i] })
	if *flips > 0 {
		spots = spots[:min(*flips, len(spots))]
	}
	count := map[string]int{}
	root := filepath.Join(m.dir, "flipped")
	for _, s := range spots {
		if err := errors.Join(os.RemoveAll(root), whole.Store(root)); err != nil {
			t.Fatal(err)
		}
		bit := byte(1) << m.r.IntN(8)
		if err := flip(filepath.Join(root, "profile", s.file), s.at, bit); err != nil {
			t.Fatal(err)
		}
		became, err := flipped(filepath.Join(root, "profile"), m.key, want)
		if err != nil {
			t.Fatalf("bit %#x of byte %d of %s: %v", bit, s.at, s.file, err)
		}
		count[became]++
	}
	t.Logf("%d flipped bits: %v; no other data, no panic", len(spots), count)
	if count["damaged at Open"] == 0 || count["damaged when read"] == 0 {
		t.Error("no damage was seen")
	}
}

func flip(name string, at int64, bit byte) error {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	var b [1]byte
	_, err = f.ReadAt(b[:], at)
	b[0] ^= bit
	_, werr := f.WriteAt(b[:], at)
	return errors.Join(err, werr, f.Close())
}

// contents is all that the profile of this test holds.
func contents(t fataler, v *Vault) map[where]string {
	t.Helper()
	all, err := read(v)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func read(v *Vault) (map[where]string, error) {
	all := map[where]string{}
	err := v.View(func(tx *Tx) error {
		for _, table := range []string{"a", "b"} {
			if err := tx.Each(table, func(id, value []byte) error {
				all[where{table, string(id)}] = string(value)
				return nil
			}); err != nil {
				return err
			}
		}
		return nil
	})
	return all, err
}

// flipped tells what became of a profile.
func flipped(dir string, key []byte, want map[where]string) (became string, err error) {
	v, err := OpenKey(dir, key)
	if errors.Is(err, ErrDamaged) || errors.Is(err, ErrPassphrase) { // with the key, damage to the root looks like another key; Open says ErrDamaged
		return "damaged at Open", nil
	}
	if err != nil {
		return "", err
	}
	defer v.Close()
	got, err := read(v)
	if errors.Is(err, ErrDamaged) {
		return "damaged when read", nil
	}
	if err != nil {
		return "", err
	}
	became = "nothing lost"
	if !maps.Equal(got, want) {
		part := maps.Clone(want)
		for i := range 4 {
			if w := (where{"b", fmt.Sprint(i)}); got[w] == "" && got[where{"b", fmt.Sprint(3 - i)}] != "" {
				delete(part, w)
			}
		}
		if len(part) != len(want)-2 || !maps.Equal(got, part) {
			return "", fmt.Errorf("it opens and holds %d records of %d, or others", len(got), len(want))
		}
		return "a day gone", nil
	}
	// It can be written to, in places that the flipped bit may have made free.
	for i := range 3 {
		if err := v.Update(noon, putRotating("c", "later", fmt.Sprintf("%09000d", i))); err != nil {
			return "", err
		}
	}
	if err := v.Rotate(noon); err != nil {
		return "", err
	}
	w, err := OpenKey(dir, key)
	if err != nil {
		return "", fmt.Errorf("after an update: %w", err)
	}
	defer w.Close()
	if got, err := read(w); err != nil || !maps.Equal(got, want) {
		return "", fmt.Errorf("after an update it holds others: %w", err)
	}
	return became, nil
}

// TestFlippedKeyOfABranch: a branch whose key is not its page's first is damaged at
// Open. bbolt would keep that page beside the one that it writes for it.
func TestFlippedKeyOfABranch(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "profile")
	v, err := Create(dir, passphrase, cheap, keep, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		update(t, v, put("a", fmt.Sprint(i), fmt.Sprintf("%01000d", i)))
	}
	key := v.Key()
	v.Close()
	name := filepath.Join(dir, recordsName)
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	m, err := readMeta(f)
	free := &pages{r: f, taken: make([]bool, m.pages)}
	err = errors.Join(err, free.freelist(m.freelist), f.Close())
	if err != nil {
		t.Fatal(err)
	}
	keys := 0
	for page := int64(2); page < int64(m.pages); page++ {
		b := whole[page*pageSize:][:pageSize]
		if free.taken[page] || le.Uint16(b[8:]) != branchPage {
			continue
		}
		for i := range int64(le.Uint16(b[10:])) {
			e := pageHeaderSize + i*elementSize
			last := page*pageSize + e + int64(le.Uint32(b[e:])) + int64(le.Uint32(b[e+4:])) - 1
			if err := flip(name, last, 1); err != nil {
				t.Fatal(err)
			}
			keys++
			if v, err := OpenKey(dir, key); !errors.Is(err, ErrDamaged) {
				if err == nil {
					v.Close()
				}
				t.Errorf("key %d of page %d: %v; want %v", i, page, err, ErrDamaged)
			}
			if err := os.WriteFile(name, whole, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if keys == 0 {
		t.Fatal("no branch")
	}
}
