package vault

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strconv"
)

// driveEnv makes the test binary the program that lives through a history: the one
// that is traced. Its arguments are the profile's folder, the master key (none: it begins
// with Create), the seed and length of the history, and the last step that an
// earlier life is known to have done. If the variable is "waits", it opens the profile and
// then waits for a line.
const driveEnv = "KIN_VAULT_DRIVE"

// driver says on its standard output what it begins and what has returned.
type driver struct {
	dir  string
	key  []byte
	h    *history
	v    *Vault
	done int

	waited bool
}

func drive(args []string) error {
	seed, err1 := strconv.ParseUint(args[2], 10, 64)
	n, err2 := strconv.Atoi(args[3])
	done, err3 := strconv.Atoi(args[4])
	key, err4 := hex.DecodeString(args[1])
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return err
	}
	d := &driver{dir: args[0], key: key, h: newHistory(seed, n), done: done}
	for failures := 0; ; failures++ {
		err := d.live()
		if err == nil || failures == 4 {
			return err
		}
		fmt.Println("fail", err)
	}
}

// live goes on with the history from where the profile is.
func (d *driver) live() (err error) {
	if d.v == nil && len(d.key) == 0 {
		fmt.Println("begin 0")
		if d.v, err = Create(d.dir, passphrase, cheap, historyKeep, first.do); err != nil {
			return err
		}
		d.key = d.v.Key()
		fmt.Println("done 0", d.v.seen)
	}
	if d.v == nil {
		if d.v, err = OpenKey(d.dir, d.key); err != nil {
			return err
		}
	}
	// In a commit, though nothing is changed: what is read is durable.
	at := 0
	err = d.v.commit(func(tx *Tx) error {
		b, err := tx.Get(progress.table, []byte(progress.id))
		at, _ = strconv.Atoi(string(b))
		return err
	})
	if err != nil {
		return err
	}
	fmt.Println("at", at, d.v.seen)
	if os.Getenv(driveEnv) == "waits" && !d.waited {
		fmt.Println("waits")
		fmt.Scanln()
		d.waited = true
	}
	for k := max(at, d.done) + 1; k < len(d.h.steps); k++ {
		fmt.Println("begin", k)
		if err := d.step(k); err != nil {
			return err
		}
		d.done = k
		if d.h.steps[k].kind == "wipe" {
			fmt.Println("done", k, 0)
			return nil
		}
		fmt.Println("done", k, d.v.seen)
	}
	return nil
}

func (d *driver) step(k int) (err error) {
	s := d.h.steps[k]
	switch s.kind {
	case "update":
		return d.v.Update(s.now, func(tx *Tx) error {
			for _, w := range s.puts {
				if err := w.do(tx); err != nil {
					return err
				}
			}
			return nil
		})
	case "rotate":
		return d.v.Rotate(s.now)
	case "disappear":
		_, err := d.v.Disappear(s.now)
		return err
	case "passphrase":
		return d.v.ChangePassphrase(d.h.passphrase(k), cheap)
	case "reopen":
		d.v.Close()
		d.v = nil
		d.v, err = OpenKey(d.dir, d.key)
		return err
	case "wipe":
		if err := Wipe(d.dir); err != nil {
			fmt.Println("fail", err)
			if err := Wipe(d.dir); !errors.Is(err, ErrNotFound) {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("no step %q", s.kind)
}

func (w *write) do(tx *Tx) error {
	id, text := []byte(w.id), []byte(w.text)
	switch w.use {
	case useData:
		return tx.Put(w.table, id, text)
	case useDay:
		return tx.PutUntil(w.table, id, text, w.day)
	case useRotating:
		return tx.PutRotating(w.table, id, text)
	}
	return tx.Delete(w.table, id)
}
