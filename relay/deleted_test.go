package relay

import (
	"context"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"kin/internal/disk"
	"kin/protocol"
)

// left is how many envelopes a relay finds that starts from a copy of the folder as it is
// now, as after a kill.
func (s *stand) left() int {
	s.t.Helper()
	dir := s.t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(s.relay.cfg.Dir)); err != nil {
		s.t.Fatal(err)
	}
	r, err := Open(Config{Dir: dir})
	if err != nil {
		s.t.Fatal(err)
	}
	defer r.Shutdown(context.Background())
	return r.Status().Envelopes
}

// TestWhatADeletedQueueHeldIsGone: when its DEL is answered; and at a start, if the relay is
// killed before that.
func TestWhatADeletedQueueHeldIsGone(t *testing.T) {
	s := newStand(t, nil)
	p := s.dial()
	a, b := s.queue(p, true), s.queue(p, true) // each with a first envelope
	s.want(p.code(p.putCmd(b, 1, sealed(1))), protocol.CodeOK)
	if n := s.left(); n != 3 {
		t.Fatalf("%d of 3 are there", n)
	}
	s.want(p.code(p.delCmd(b)), protocol.CodeOK)
	if n := s.left(); n != 1 {
		t.Errorf("%d are left of what one queue holds that was not deleted", n)
	}
	st := s.relay.store
	st.mu.Lock()
	err := st.delete(st.receivers[hashOf(a.receiver)])
	st.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	if n := s.left(); n != 0 {
		t.Errorf("%d are left in queues that were deleted", n)
	}
}

// TestWhatIsErasedIsNotNotedForEver: a sweep forgets a deleted queue in which nothing waits.
func TestWhatIsErasedIsNotNotedForEver(t *testing.T) {
	s := newStand(t, nil)
	p := s.dial()
	a, b := s.queue(p, true), s.bare(p)
	s.want(p.code(p.offerCmd(b, 48, protocol.ID{4}, sealed(8))), protocol.CodeOK) // its record stays
	for _, b := range []*box{a, b} {
		s.want(p.code(p.delCmd(b)), protocol.CodeOK)
	}
	noted := func() (n int) {
		s.relay.store.db.View(func(tx *bbolt.Tx) error {
			n = tx.Bucket(bucketDeleted).Stats().KeyN
			return nil
		})
		return n
	}
	if n := noted(); n != 2 {
		t.Errorf("%d of 2 deleted queues are noted", n)
	}
	if err := s.relay.sweepOnce(time.Now()); err != nil {
		t.Fatal(err)
	}
	if n := noted(); n != 0 {
		t.Errorf("%d queues are noted of which nothing is left", n)
	}
}

// unreadable is a disk whose segments can't be read.
type unreadable struct{ disk.OS }

type unreadableFile struct{ disk.File }

func (u unreadable) Open(name string) (disk.File, error) {
	f, err := u.OS.Open(name)
	if strings.HasSuffix(name, ".seg") {
		f = unreadableFile{f}
	}
	return f, err
}

func (unreadableFile) ReadAt([]byte, int64) (int, error) { return 0, syscall.EIO }

// TestWhatAStartCouldNotReadIsErasedByALaterOne: a queue was deleted meanwhile.
func TestWhatAStartCouldNotReadIsErasedByALaterOne(t *testing.T) {
	s := newStand(t, nil)
	p := s.dial()
	b := s.queue(p, true) // with a first envelope
	dir := s.relay.cfg.Dir
	stop := func() {
		p.ws.Close()
		s.server.Close()
		if err := s.relay.Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	s = newStand(t, func(c *Config) { c.Dir, c.FS = dir, unreadable{} })
	p = s.dial()
	s.want(p.code(p.delCmd(b)), protocol.CodeOK)
	if err := s.relay.sweepOnce(time.Now()); err != nil {
		t.Fatal(err)
	}
	stop()
	if n := found(t, dir); n != 0 {
		t.Errorf("%d envelopes are left in a queue that was deleted", n)
	}
}

// TestAQueueWhoseDelFailedIsThere: its mark alone erases nothing.
func TestAQueueWhoseDelFailedIsThere(t *testing.T) {
	s := newStand(t, nil)
	b := s.queue(s.dial(), true) // with a first envelope
	if err := s.relay.store.update(s.relay.store.receivers[hashOf(b.receiver)].markDeleted); err != nil {
		t.Fatal(err)
	}
	if n := s.left(); n != 1 {
		t.Errorf("%d of 1 envelope is there", n)
	}
}
