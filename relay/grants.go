package relay

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"kin/protocol"
	"kin/relay/spool"
)

type ticket struct {
	Expires int64
	Key     *[32]byte `json:",omitempty"` // H of the receiver's key that used it
}

type grant struct {
	Name    string // the first characters of its hash
	Total   int
	Left    int
	Made    int64
	Expires int64
	Revoked bool
}

// day is the beginning of a day in Unix seconds: a time to the second would tell
// which tickets, and so which queues, were made together.
func day(t time.Time) int64 { return t.Unix() / 86400 * 86400 }

func (s *store) expiredTickets(now time.Time) (out [][]byte, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketTickets).ForEach(func(k, v []byte) error {
			var t ticket
			err := parse(k, v, &t)
			if err == nil && now.Unix() >= t.Expires {
				out = append(out, bytes.Clone(k))
			}
			return err
		})
	})
	return out, err
}

// newGrant makes a grant of so many queues.
func (s *store) newGrant(queues int, life time.Duration, now time.Time) (protocol.ID, error) {
	var id protocol.ID
	if err := spool.CheckClock(now); err != nil {
		return id, err
	}
	rand.Read(id[:])
	h := hashOf(id)
	g := &grant{Name: fmt.Sprintf("%x", h[:4]), Total: queues, Left: queues, Made: day(now), Expires: day(now.Add(life)) + 86400}
	return id, s.update(func(tx *bbolt.Tx) error { return put(tx, bucketGrants, h[:], g) })
}

func (s *store) grants() ([]grant, error) {
	var out []grant
	err := s.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketGrants).ForEach(func(k, b []byte) error {
			var g grant
			err := parse(k, b, &g)
			out = append(out, g)
			return err
		})
	})
	return out, err
}

// ErrNoGrant is returned for a grant that is not there.
var ErrNoGrant = errors.New("no such grant")

func (s *store) revokeGrant(name string) error {
	return s.update(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketGrants).Cursor()
		for k, v := c.First(); k != nil; k, v = c.Next() {
			var g grant
			if err := parse(k, v, &g); err != nil {
				return err
			}
			if g.Name == name {
				g.Revoked = true
				return put(tx, bucketGrants, append([]byte{}, k...), &g)
			}
		}
		return fmt.Errorf("%w: %q", ErrNoGrant, name)
	})
}

const ticketLife = 30 * 24 * time.Hour

// ticket finds a ticket by its hash; nil if there is none.
func (s *store) ticket(h [32]byte) (t *ticket, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		t, err = get[ticket](tx, bucketTickets, h[:])
		return err
	})
	return t, err
}

// errUnchanged ends a transaction without the two syncs of a commit.
var errUnchanged = errors.New("nothing to commit")

// issue inserts the tickets that are missing and charges the grant for them, in one
// commit. What is refused commits nothing: it may come from anybody.
func (s *store) issue(id protocol.ID, hashes [][32]byte, now time.Time) (left int, code protocol.Code, err error) {
	if err := spool.CheckClock(now); err != nil {
		return 0, 0, err
	}
	h := hashOf(id)
	err = s.update(func(tx *bbolt.Tx) error {
		g, err := get[grant](tx, bucketGrants, h[:])
		if err != nil {
			return err
		}
		if g == nil || g.Revoked || now.Unix() >= g.Expires {
			code = protocol.CodeGrant
			return errUnchanged
		}
		var missing [][32]byte
		for _, t := range hashes {
			if tx.Bucket(bucketTickets).Get(t[:]) == nil {
				missing = append(missing, t)
			}
		}
		if len(missing) > g.Left {
			code = protocol.CodeGrant
			return errUnchanged
		}
		g.Left -= len(missing)
		left = g.Left
		if len(missing) == 0 && !s.unsure {
			return errUnchanged
		}
		for _, t := range missing {
			if err := put(tx, bucketTickets, t[:], &ticket{Expires: day(now.Add(ticketLife))}); err != nil {
				return err
			}
		}
		return put(tx, bucketGrants, h[:], g)
	})
	if err == errUnchanged {
		err = nil
	}
	return left, code, err
}
