package vault

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"kin/internal/disk/disktest"
)

// judge says whether a profile that was found keeps what a history's program has
// promised until then. It knows the master key, as an enemy may.
type judge struct {
	h    *history
	key  []byte
	ring ring
	r    *rand.Rand

	lo, hi     int    // the last step that returned, and the one that is under way
	generation uint64 // the last that was said
	bound      int    // what is gone after this step can't be read
	faulty     bool   // a disk that failed may delay bound by an update

	raw    [(1 + slotCount) * 4096]byte // the slot file that was read last
	seen   map[string]bool              // what was in slots, and is there
	erased map[string]int               // what was in slots: after which step it was not
	found  int                          // old values that could still be read, and might
}

func newJudge(h *history, key []byte, done int, r *rand.Rand) *judge {
	return &judge{h: h, key: key, ring: newRing(bytes.Clone(key)), r: r, lo: done, hi: done, bound: done,
		seen: map[string]bool{}, erased: map[string]int{}}
}

// hear takes a line that the program wrote.
func (j *judge) hear(line string, d *disktest.FS) error {
	var k int
	var generation uint64
	word, rest, _ := strings.Cut(line, " ")
	if n, _ := fmt.Sscan(rest, &k, &generation); word == "begin" && n != 1 || word != "begin" && word != "fail" && n != 2 {
		return fmt.Errorf("%q", line)
	}
	switch word {
	case "begin":
		j.hi = k
		return nil
	case "fail":
		j.faulty = true
		return nil
	case "at":
		j.lo = max(j.lo, k)
	case "done":
		if !j.faulty {
			j.bound = k
		} else if j.h.steps[k].kind == "update" {
			j.bound = j.lo
		}
		j.lo = k
	}
	j.generation = generation
	return j.slots(d)
}

// slots looks which keys are no more: they must be in no version of any sector.
func (j *judge) slots(d *disktest.FS) error {
	now := map[string]bool{}
	if f, err := d.Open(filepath.Join("profile", slotsName)); err == nil {
		size, _ := f.Size()
		b := make([]byte, 512)
		for at := int64(4096); at+4096 <= size; at += 4096 {
			if _, err := f.ReadAt(b, at); err != nil {
				return err
			}
			if s := string(b[16:128]); strings.Trim(s, "\x00") != "" {
				now[s] = true
			}
		}
	}
	for s := range j.seen {
		if !now[s] {
			j.erased[s] = j.lo
		}
	}
	j.seen = now
	for s, k := range j.erased {
		if k > j.bound {
			continue
		}
		if d.Contains(slotsName, []byte(s)) {
			return fmt.Errorf("a key that was destroyed with step %d is on the disk after step %d", k, j.lo)
		}
		delete(j.erased, s)
	}
	return nil
}

// check judges the profile in dir, and leaves it changed.
func (j *judge) check(dir string) error {
	if err := j.unreadable(dir, j.bound, 0); err != nil {
		return err
	}
	wiping := j.h.steps[max(j.hi, 0)].kind == "wipe"
	v, err := OpenKey(dir, j.key)
	if err != nil && wiping {
		return j.wiped(dir, err)
	}
	if err != nil {
		return fmt.Errorf("the profile does not open: %w", err)
	}
	defer v.Close()
	if wiping && j.lo == j.hi {
		return errors.New("a wiped profile opens")
	}
	step, err := j.content(v)
	if wiping && j.faulty && errors.Is(err, ErrDamaged) { // the mark could not be written, and keys die all the same
		return j.wiped(dir, err)
	}
	if err != nil {
		return err
	}
	if v.seen < j.generation {
		return fmt.Errorf("generation %d after %d", v.seen, j.generation)
	}
	if err := j.unreadable(dir, j.bound, step); err != nil {
		return fmt.Errorf("after it was opened, %w", err)
	}
	if err := j.strangers(v); err != nil {
		return err
	}
	changing := j.hi > j.lo && j.h.steps[j.hi].kind == "passphrase"
	if changing || j.r.IntN(32) == 0 {
		err := j.passphrases(dir, changing)
		if wiping && j.faulty && errors.Is(err, ErrDamaged) {
			return j.wiped(dir, err)
		}
		if err != nil {
			return err
		}
	}
	if j.r.IntN(16) == 0 && !wiping {
		return j.goesOn(v, dir, step)
	}
	return nil
}

// content compares the records with the states in which they may be, and tells in
// which they are.
func (j *judge) content(v *Vault) (step int, err error) {
	found := map[where]string{}
	err = v.View(func(tx *Tx) error {
		for _, table := range []string{"a", "b", progress.table} {
			if err := tx.Each(table, func(id, value []byte) error {
				found[where{table, string(id)}] = string(value)
				return nil
			}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	for step = j.lo; step <= max(j.lo, j.hi); step++ {
		if same(found, j.h.states[step]) {
			return step, nil
		}
	}
	kind := j.h.steps[max(j.hi, 0)].kind
	wiping := kind == "wipe" && j.faulty                // the mark could not be written, and keys die all the same
	if j.hi > j.lo && (kind == "disappear" || wiping) { // day by day
		part := maps.Clone(j.h.states[j.hi])
		if wiping {
			for w, v := range j.h.states[j.lo] {
				if v.use != useDay {
					part[w] = v
				}
			}
		}
		for w, v := range j.h.states[j.lo] {
			for x := range found {
				if o := j.h.states[j.lo][x]; o != nil && v.use == useDay && o.use == useDay && o.day == v.day {
					part[w] = v
				}
			}
		}
		if same(found, part) {
			return j.lo, nil
		}
	}
	return 0, fmt.Errorf("the records are neither those after step %d nor those of step %d (%s): progress %q", j.lo, j.hi, j.h.steps[j.hi].kind, found[progress])
}

func same(found map[where]string, want map[where]*version) bool {
	return maps.EqualFunc(found, want, func(text string, v *version) bool { return text == v.text })
}

// unreadable searches what the disk holds, the free pages and all slots included,
// for values that must be gone: after step bound, and when the profile was opened,
// what PutRotating had stored and step replaced.
func (j *judge) unreadable(dir string, bound, step int) error {
	keys := j.keys(dir)
	for _, name := range []string{recordsName, newName} {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			continue
		}
		for _, v := range j.h.versions {
			if v.dead == 0 || v.dead > max(j.lo, j.hi) || !j.readable(v, keys, raw) {
				continue
			}
			if v.gone > 0 && (v.gone <= bound || v.use == useRotating && v.dead <= step) {
				return fmt.Errorf("what step %d replaced can be read: %.40q, gone after %d", v.dead, v.text, v.gone)
			}
			j.found++
		}
	}
	return nil
}

// keys are all that any slot yields.
func (j *judge) keys(dir string) map[ref][]byte {
	keys := map[ref][]byte{}
	j.read(dir)
	days := map[uint32]bool{}
	for _, v := range j.h.versions {
		days[v.day] = true
	}
	for i := range slotCount {
		payload := j.slot(i)[2:][:wrappedSize]
		if zero(payload) {
			continue
		}
		take := func(e entry, r ref) {
			if k, err := j.ring.unwrap(i, e, payload); err == nil {
				keys[r] = append(keys[r], k...)
			}
		}
		take(entry{use: useData}, ref{use: useData})
		take(entry{use: useRotating}, ref{useRotating, uint32(i)})
		for day := range days {
			take(entry{use: useDay, day: day}, ref{useDay, day})
		}
	}
	return keys
}

// read reads the slot file; what isn't there is zeros.
func (j *judge) read(dir string) {
	n := 0
	if f, err := os.Open(filepath.Join(dir, slotsName)); err == nil {
		n, _ = io.ReadFull(f, j.raw[:])
		f.Close()
	}
	clear(j.raw[n:])
}

func (j *judge) slot(i int) []byte { return j.raw[(i+1)*4096:][:4096] }

// readable tells whether a value can be opened, wherever its name stands.
func (j *judge) readable(v *version, keys map[ref][]byte, raw []byte) bool {
	name := j.ring.name(v.table, []byte(v.id))
	size := refSize + sealOverhead + 4 + len(v.id) + len(v.text)
	for at := 0; ; at++ {
		i := bytes.Index(raw[at:], name)
		if i < 0 {
			return false
		}
		at += i
		if at+nameSize+size > len(raw) {
			continue
		}
		stored := raw[at+nameSize:][:size]
		f, err := j.ring.refOf(stored)
		if err != nil {
			continue
		}
		for k := keys[f]; len(k) > 0; k = k[keySize:] {
			if _, text, err := j.ring.openRecord(k[:keySize], name, f, stored); err == nil && string(text) == v.text {
				return true
			}
		}
	}
}

// strangers: no slot holds anything that the root does not name.
func (j *judge) strangers(v *Vault) error {
	return v.View(func(tx *Tx) error {
		for i, e := range tx.root.slots {
			if e.use == useNone && !zero(j.slot(i)) {
				return fmt.Errorf("slot %d holds something that no commit names", i)
			}
		}
		return nil
	})
}

// passphrases: one opens the profile, the old one or the new one.
func (j *judge) passphrases(dir string, changing bool) error {
	may := [][]byte{j.h.passphrase(j.lo)}
	if changing {
		may = append(may, j.h.passphrase(j.hi))
	}
	n := 0
	for _, p := range may {
		v, err := Open(dir, p)
		switch {
		case err == nil:
			v.Close()
			n++
		case !errors.Is(err, ErrPassphrase):
			return err
		}
	}
	if n != 1 {
		return fmt.Errorf("%d of %d passphrases open the profile", n, len(may))
	}
	return nil
}

// goesOn: the profile takes another update, and after a rotation nothing that was
// replaced can be read.
func (j *judge) goesOn(v *Vault, dir string, step int) error {
	now := j.h.steps[max(j.lo, j.hi)].now
	if _, err := v.Disappear(now); err != nil {
		return err
	}
	if err := v.Update(now, putRotating("later", "x", "y")); err != nil {
		return err
	}
	if err := v.Rotate(now); err != nil {
		return err
	}
	keys := j.keys(dir)
	raw, err := os.ReadFile(filepath.Join(dir, recordsName))
	if err != nil {
		return err
	}
	for _, o := range j.h.versions {
		if o.dead > 0 && o.dead <= step && j.readable(o, keys, raw) {
			return fmt.Errorf("the profile went on and was rotated, and what step %d replaced can be read", o.dead)
		}
	}
	w, err := OpenKey(dir, j.key)
	if err != nil {
		return err
	}
	defer w.Close()
	_, err = j.content(w)
	if err != nil {
		return fmt.Errorf("the profile went on, and then: %w", err)
	}
	return nil
}

// wiped judges a profile that does not open, for Wipe has begun: it can be wiped
// again, and another made in its place.
func (j *judge) wiped(dir string, err error) error {
	switch {
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrWiped):
	case errors.Is(err, ErrDamaged) && j.lo < j.hi: // some of its files are removed
	default:
		return err
	}
	if err := Wipe(dir); err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("wiped again: %w", err)
	}
	if j.r.IntN(16) > 0 {
		return nil
	}
	v, err := Create(dir, passphrase, cheap, historyKeep, nil)
	if err != nil {
		return fmt.Errorf("made anew: %w", err)
	}
	v.Close()
	return nil
}

// created judges a profile of which Create has begun: there is a whole one, or
// none, and then it can be made.
func (j *judge) created(dir string) error {
	v, err := Open(dir, passphrase)
	if errors.Is(err, ErrNotFound) && j.lo < 0 {
		v, err = Create(dir, passphrase, cheap, historyKeep, first.do)
	}
	if err != nil {
		return err
	}
	defer v.Close()
	if err := v.View(func(tx *Tx) error {
		got, err := tx.Get(first.table, []byte(first.id))
		if err == nil && string(got) != first.text {
			err = fmt.Errorf("a profile without what is first in it: %q", got)
		}
		return err
	}); err != nil {
		return err
	}
	if err := v.Update(noon, put("t", "a", "1")); err != nil {
		return err
	}
	if v.seen != 2 {
		return fmt.Errorf("generation %d", v.seen)
	}
	return nil
}
