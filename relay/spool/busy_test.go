package spool

import (
	"encoding/binary"
	"errors"
	"testing"
)

// TestADiskThatStandsStillFillsNoMemory: 64 MiB of envelopes wait for it, and nothing more;
// what is refused can be put when it goes on.
func TestADiskThatStandsStillFillsNoMemory(t *testing.T) {
	s := newStand(t)
	p := envelope(1)
	const most = 64 << 20 / 4096
	told := make(chan error, most+1)
	s.spool.writing.Lock() // as a write that does not return
	for n := range uint64(most + 1) {
		binary.BigEndian.PutUint64(p.ID[:], n)
		s.spool.Put(QueueID{byte(n / 100), byte(n / 100 >> 8)}, p, func(err error) { told <- err })
	}
	refused := len(told)
	s.spool.writing.Unlock()
	if refused != 1 {
		t.Fatalf("%d are refused; want the last one", refused)
	}
	if err := <-told; !errors.Is(err, ErrBusy) {
		t.Error(err)
	}
	for range most {
		if err := <-told; err != nil {
			t.Fatal(err)
		}
	}
	s.mustPut(255, p)
}
