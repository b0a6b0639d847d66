package relay

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"kin/protocol"
)

// TestWhatIsDroppedIsOverwritten: with the next sweep nothing is in relay.db of an invite's
// blob that was used, nor of a queue that was deleted; but for who still reads it.
func TestWhatIsDroppedIsOverwritten(t *testing.T) {
	s := newStand(t, nil)
	p := s.dial()
	st := s.relay.store
	kept := s.queue(p, true)
	var parts, records [][]byte
	var boxes []*box
	for range 10 {
		b := s.bare(p)
		blob := make([]byte, protocol.EnvelopeSize)
		rand.Read(blob)
		var location protocol.ID
		rand.Read(location[:])
		s.want(p.code(p.offerCmd(b, 24, location, blob)), protocol.CodeOK)
		record, err := json.Marshal(hashOf(b.receiver))
		if err != nil {
			t.Fatal(err)
		}
		text := base64.StdEncoding.EncodeToString(blob)
		for ; len(text) >= 64; text = text[64:] {
			parts = append(parts, []byte(text[:64]))
		}
		records, boxes = append(records, record), append(boxes, b)
	}
	left := func(all [][]byte) (n int) {
		t.Helper()
		if err := s.relay.sweepOnce(time.Now()); err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(filepath.Join(s.relay.cfg.Dir, "relay.db"))
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range all {
			if bytes.Contains(raw, one) {
				n++
			}
		}
		return n
	}
	if n := left(parts); n != len(parts) {
		t.Fatalf("%d of %d parts of blobs are there", n, len(parts))
	}
	reader, err := st.db.Begin(false)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range boxes {
		s.want(p.code(p.firstCmd(b, b.skey, 1, sealed(1))), protocol.CodeOK)
	}
	if n := left(parts); n == 0 {
		t.Error("what somebody reads is overwritten")
	}
	if err := reader.Rollback(); err != nil {
		t.Fatal(err)
	}
	if n := left(parts); n != 0 {
		t.Errorf("%d of %d parts of used blobs are there", n, len(parts))
	}
	h := hashOf(boxes[0].receiver)
	st.mu.Lock()
	err = st.delete(st.receivers[h])
	st.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	if n := left(records[:1]); n != 0 {
		t.Error("the record of a deleted queue is there")
	}
	if n := left(records); n != len(records)-1 {
		t.Errorf("%d of %d other records are there", n, len(records)-1)
	}
	checked(t, st.db)
	if n := s.left(); n != 10 { // of a deleted queue a start drops what waits
		t.Errorf("%d of 10 envelopes after a start", n)
	}
	s.want(p.code(p.putCmd(kept, 1, sealed(1))), protocol.CodeOK)
}

// checked fails the test if bbolt finds anything wrong.
func checked(t *testing.T, db *bbolt.DB) {
	t.Helper()
	if err := db.View(func(tx *bbolt.Tx) error {
		for err := range tx.Check() {
			t.Error(err)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// TestOverwritingBesideOthers: who commits and who reads meanwhile, and the next start, meets
// whole records.
func TestOverwritingBesideOthers(t *testing.T) {
	name := filepath.Join(t.TempDir(), "relay.db")
	s, err := openStore(name, true, 1)
	if err != nil {
		t.Fatal(err)
	}
	s.db.NoSync = true
	bucket := []byte("records")
	if err := s.update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucket(bucket)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	whole := func(tx *bbolt.Tx) error {
		return tx.Bucket(bucket).ForEach(func(k, v []byte) error {
			if len(v) == 0 || v[0] == 0 || bytes.Count(v, v[:1]) != len(v) {
				t.Errorf("record %x is not whole", k)
			}
			return nil
		})
	}
	var work sync.WaitGroup
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for i := range 300 {
			if err := s.update(func(tx *bbolt.Tx) error {
				key, b := []byte{byte(i * 7 % 50)}, tx.Bucket(bucket)
				if i%3 == 2 {
					return b.Delete(key)
				}
				return b.Put(key, bytes.Repeat([]byte{byte(1 + i%255)}, 100+i*37%9000))
			}); err != nil {
				t.Error(err)
			}
		}
	}()
	for range 2 {
		work.Go(func() {
			for {
				select {
				case <-ended:
					return
				default:
				}
				if err := s.db.View(whole); err != nil {
					t.Error(err)
				}
			}
		})
	}
	work.Go(func() {
		for {
			select {
			case <-ended:
				return
			default:
			}
			if err := s.overwriteFree(); err != nil {
				t.Error(err)
			}
		}
	})
	work.Wait()
	if err := s.overwriteFree(); err != nil {
		t.Error(err)
	}
	checked(t, s.db)
	if err := s.db.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = openStore(name, true, 1); err != nil {
		t.Fatal(err)
	}
	defer s.db.Close()
	checked(t, s.db)
	if err := s.db.View(whole); err != nil {
		t.Error(err)
	}
}
