package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"kin/bench/gauge"
	"kin/internal/disk"
	"kin/internal/slots"
	"kin/protocol"
	"kin/relay"
	"kin/relay/spool"
)

// noSync is a disk that is filled without waiting for it; what lies in the files is
// the same.
type noSync struct{ disk.OS }

type noSyncFile struct{ disk.File }

func (n noSync) Create(name string) (disk.File, error) {
	f, err := n.OS.Create(name)
	return noSyncFile{f}, err
}

func (noSyncFile) Sync() error { return nil }

// contents are what lies in the spool of a relay that does not run: envelopes of 100 a
// queue, put with so many under way, 1 making a batch of each; and between every two of
// them one that was collected, or none.
type contents struct {
	what      string
	n, under  int
	collected bool
}

// fill makes them.
func (c contents) fill(dir string) error {
	db, err := bbolt.Open(filepath.Join(dir, "relay.db"), 0o600, nil)
	if err != nil {
		return err
	}
	defer db.Close()
	var keys map[string]json.RawMessage
	var key [32]byte
	var numbers uint64
	name := []byte("keys")
	err = db.View(func(tx *bbolt.Tx) error {
		err := json.Unmarshal(tx.Bucket(name).Get(name)[sumSize:], &keys)
		return errors.Join(err, json.Unmarshal(keys["Spool"], &key), json.Unmarshal(keys["Numbers"], &numbers))
	})
	if err != nil {
		return err
	}
	epochs := filepath.Join(dir, "epochs")
	f, err := slots.Open(disk.OS{}, epochs)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = slots.Create(disk.OS{}, epochs, 352)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	s, err := spool.Open(spool.Config{FS: noSync{}, Dir: filepath.Join(dir, "spool"), Key: key, Slots: f, Epoch: time.Hour,
		Reserve: func(n, _ uint64) (uint64, error) { numbers += n; return numbers - n + 1, nil }})
	if err != nil {
		return err
	}
	free := make(chan error, c.under)
	for range c.under {
		free <- nil
	}
	var failed error
	each := 1 // puts for one that stays
	if c.collected {
		each = 2
	}
	for i := range c.n * each {
		failed = errors.Join(failed, <-free)
		p := spool.Put{Expiry: spool.EpochOf(time.Now(), time.Hour) + 1 + rand.Uint32N(336), Body: make([]byte, protocol.EnvelopeSize)}
		binary.BigEndian.PutUint64(p.ID[:], uint64(i))
		q := queueOf(i / each % c.queues())
		if i%each == 1 {
			binary.BigEndian.PutUint64(q[8:], uint64(i)) // of its own
			s.Put(q, p, func(err error) {
				for _, r := range s.Next(q, 0, 1) {
					s.Ack(q, r.Sequence)
				}
				free <- err
			})
			continue
		}
		s.Put(q, p, func(err error) { free <- err })
	}
	for range c.under {
		failed = errors.Join(failed, <-free)
	}
	if err := errors.Join(failed, s.Close()); err != nil {
		return err
	}
	keys["Numbers"], _ = json.Marshal(numbers)
	return db.Update(func(tx *bbolt.Tx) error {
		for i := range c.queues() {
			q := queueOf(i)
			sender := q
			sender[31] = 1
			if err := put(tx, []byte("queues"), q[:], map[string]any{"Receiver": q, "Sender": sender}); err != nil {
				return err
			}
		}
		return put(tx, name, name, keys)
	})
}

// sumSize is how much of a SHA-256 stands before each record of relay.db.
const sumSize = 16

// put writes a record as docs/spool-format.md says.
func put(tx *bbolt.Tx, bucket, key []byte, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(append(bytes.Clone(key), b...))
	return tx.Bucket(bucket).Put(key, append(sum[:sumSize], b...))
}

// queues is how many hold what stays.
func (c contents) queues() int { return c.n/100 + 1 }

func queueOf(i int) (q spool.QueueID) {
	binary.BigEndian.PutUint64(q[:], uint64(i))
	return q
}

// ownStart prints how long a relay takes from the start of its process until it
// listens, with many envelopes stored, and what they take on the disk.
func ownStart(o *options) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	const batches, alone, between = "in batches of up to 512", "in a batch each", ", one collected between every two"
	for _, c := range []contents{
		{batches, o.stored, 1024, false}, {alone, o.stored, 1, false},
		{batches + between, o.stored, 1024, true}, {alone + between, o.stored, 1, true},
	} {
		if err := c.start(self, o.rounds); err != nil {
			return err
		}
	}
	return nil
}

// start prints how long a relay with these takes.
func (c contents) start(self string, rounds int) error {
	dir, err := os.MkdirTemp("", "kin-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	r, err := relay.Open(relay.Config{Dir: dir}) // makes its keys
	if err != nil {
		return err
	}
	if err := r.Shutdown(context.Background()); err != nil {
		return err
	}
	if err := c.fill(dir); err != nil {
		return err
	}
	took, bytes, err := starts(contender{program: self, kind: "kin"}, dir, rounds)
	if err == nil {
		fmt.Printf("kin, %d stored %s: %s; %.2f bytes of disk a payload byte\n", c.n, c.what, took, float64(bytes)/float64(c.n)/gauge.Size)
	}
	return err
}

// starts starts a server several times with what is in dir, and returns how long it
// took until it was ready, and what the files take.
func starts(c contender, dir string, rounds int) (string, int64, error) {
	bytes, err := size(dir)
	if err != nil {
		return "", 0, err
	}
	var took []float64
	for range rounds {
		begun := time.Now()
		s, err := gauge.Start(c.program, c.kind, dir)
		if err != nil {
			return "", 0, err
		}
		took = append(took, time.Since(begun).Seconds())
		if err := s.Stop(); err != nil {
			return "", 0, err
		}
	}
	return fmt.Sprintf("ready after %.2f s (%.2f to %.2f)", median(took), slices.Min(took), slices.Max(took)), bytes, nil
}

// size is what the files below a folder take.
func size(dir string) (n int64, err error) {
	err = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			n += info.Size()
		}
		return err
	})
	return n, err
}
