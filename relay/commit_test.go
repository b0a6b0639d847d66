package relay

import (
	"errors"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"kin/protocol"
)

// TestANewWhoseCommitFailedIsAnsweredAgain: a commit that fails in the last of its syncs
// leaves the queue in the file, where it shows, and not in RAM. The same ticket and key get
// the same answer, others and a deleted queue's do not.
func TestANewWhoseCommitFailedIsAnsweredAgain(t *testing.T) {
	s := newStand(t, nil)
	p := s.dial()
	b := s.bare(p)
	st := s.relay.store
	st.mu.Lock()
	st.unindex(st.receivers[hashOf(b.receiver)])
	st.mu.Unlock()
	other := *b
	other.rkey = newKey(t)
	s.want(p.code(p.newCmd(&other)), protocol.CodeTicket)
	p.send(p.newCmd(b))
	if ids := next[*protocol.IDs](p); ids.Receiver != b.receiver || ids.Sender != b.sender {
		t.Error("the same ticket and key get another answer")
	}
	if sub := p.sub(b); sub.Code != protocol.CodeOK {
		t.Errorf("SUB: %v", sub.Code)
	}
	s.want(p.code(p.delCmd(b)), protocol.CodeOK)
	s.want(p.code(p.newCmd(b)), protocol.CodeTicket)
}

// TestAnIssueBehindACommitThatFailedIsCommitted: what the file shows is not durable then.
func TestAnIssueBehindACommitThatFailedIsCommitted(t *testing.T) {
	s := newStand(t, nil)
	st := s.relay.store
	commits := func() (id int) {
		st.db.View(func(tx *bbolt.Tx) error { id = tx.ID(); return nil })
		return id
	}
	issue := func() {
		t.Helper()
		if _, code, err := st.issue(s.grant, [][32]byte{{1}}, time.Now()); code != protocol.CodeOK || err != nil {
			t.Fatal(code, err)
		}
	}
	issue()
	before := commits()
	issue()
	if n := commits() - before; n != 0 {
		t.Errorf("an ISSUE that changes nothing takes %d commits", n)
	}
	failed := errors.New("the disk fails")
	if err := st.update(func(*bbolt.Tx) error { return failed }); err != failed {
		t.Fatal(err)
	}
	for range 2 {
		issue()
	}
	if n := commits() - before; n != 1 {
		t.Errorf("two behind a commit that failed take %d commits; want 1", n)
	}
}
